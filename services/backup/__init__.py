"""Backs up the streams that nothing else can make again, and restores them."""
