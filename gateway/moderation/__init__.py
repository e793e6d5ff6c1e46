"""Bans and removals: read from their bucket, and carried out here."""
