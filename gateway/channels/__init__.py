"""Several rooms over one connection: a connection that has channels, each of which is a connection to the gateway."""
