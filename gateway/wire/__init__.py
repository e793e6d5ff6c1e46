"""Bytes and frames: the socket of a client, the heads of HTTP requests, and the upgrade to WebSocket."""
