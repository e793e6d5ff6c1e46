"""The bus: the connection to NATS. Only these modules know nats-py."""
