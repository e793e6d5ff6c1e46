"""Moderation: follows the bucket of bans and commands, and carries out commands on this gateway."""
