"""The documents service: answers what a shared document has and a gateway has not, and makes snapshots of long logs.

Replicas are equal. JetStream has the truth, and each replica a cache of documents that it reads from their logs.
"""
