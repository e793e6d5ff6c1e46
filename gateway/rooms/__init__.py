"""The members of a room on this gateway, and what they are sent."""
