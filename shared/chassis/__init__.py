"""The parts that every process runs on: settings, logs, metrics, HTTP, tasks, start and stop."""
