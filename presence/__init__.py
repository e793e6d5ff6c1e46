"""The presence service: owns join, leave, cursor and roster. The only writer of the presence bucket.

Replicas are equal. The truth is in JetStream; a replica holds a mirror of it.
"""
