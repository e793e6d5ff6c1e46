"""Joins and leaves, the lease of this gateway, and the repair of both with presence."""
