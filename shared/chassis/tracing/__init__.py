"""Traces of sampled messages and requests, by OpenTelemetry (docs/decisions/0058)."""
