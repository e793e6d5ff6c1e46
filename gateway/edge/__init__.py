"""Admission of handshakes and HTTP requests: host names, origins, client addresses, rate and connection limits."""
