"""One client: its connection, its session, and what it may send."""
