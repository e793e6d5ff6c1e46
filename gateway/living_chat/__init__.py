"""Edits, deletions by authors, and reactions: checks and stores them, and finds those of older messages."""
