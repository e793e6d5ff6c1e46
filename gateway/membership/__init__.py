"""Memberships: joins, leaves, the lease of this gateway, and repairs where presence and this gateway differ."""
