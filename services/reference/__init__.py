"""Generates reference documents: the AsyncAPI document of the client protocol."""
