"""Graceful drain and load shedding: how a gateway lets its clients go."""
