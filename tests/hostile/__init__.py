"""Clients that mean harm: what they get, and that nobody else notices."""
