"""Hostile clients: the answers they get, and that nobody else notices."""
