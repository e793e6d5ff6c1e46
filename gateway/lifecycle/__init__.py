"""Graceful drain and load shedding: how a gateway asks clients to connect to another gateway."""
