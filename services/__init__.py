"""The chassis every process stands on: settings, bus, admin endpoint, logs, lifecycle, tasks, command line.

Not a folder of services: `gateway/` and `presence/` are the services. Only what is part of running any of them
lives here, the provisioner of streams and buckets included (`services/provisioner/`).
"""
