"""Erasure: removes what is stored of a user or of a room, and records who had it removed and when."""
