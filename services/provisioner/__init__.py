"""Creates the streams and buckets, keeps their configuration, and recreates them when NATS comes back without."""
