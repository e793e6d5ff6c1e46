"""Connections of clients whose network blocks WebSockets: a stream of events down, and requests up."""
