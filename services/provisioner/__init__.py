"""Creates streams and buckets, keeps their configuration, and recreates them if NATS comes back without them."""
