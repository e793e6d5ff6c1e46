"""Shared documents over HTTP: for backends, and for users whose access token grants them."""
