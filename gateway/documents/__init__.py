"""Shared documents: the wire of y-websocket and of Hocuspocus, and the documents that this gateway hosts."""
