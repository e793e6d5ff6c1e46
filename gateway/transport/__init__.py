"""Reads and writes the sockets of WebSockets, with one watcher for all of them."""
