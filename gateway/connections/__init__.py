"""Connections of clients: the session of each, its limits, and the heartbeat of all."""
