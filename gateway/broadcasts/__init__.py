"""Broadcast events of a room: those that wait for a flush or a slow reader, and their exchange between gateways."""
