"""The presence service: carries out joins and leaves, and answers with rosters. It alone writes the presence bucket.

Replicas are equal. JetStream has the truth, and each replica a mirror of it.
"""
