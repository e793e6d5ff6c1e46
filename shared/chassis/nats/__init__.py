"""The bus: the connection to NATS, and the only modules that know nats-py."""
