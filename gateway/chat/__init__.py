"""Chat messages: published, stored, fetched, resumed and deleted."""
