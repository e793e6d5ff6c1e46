"""NATS headers that processes agree on: JetStream's own, and ours."""

from collections.abc import Mapping

SEQUENCE = "Nats-Sequence"
"""Of a message that was republished or read: its sequence in the stream."""
LAST_SEQUENCE = "Nats-Last-Sequence"
"""Of a republished message: the sequence of the one before it on its subject, 0 for none. Of a message in a batch that
was read: the sequence of the one before it in the batch."""
SUBJECT = "Nats-Subject"
"""Of a message in a batch that was read."""
PENDING = "Nats-Num-Pending"
"""Of a message in a batch that was read: how many more there are, in the batch or behind it."""
STATUS = "Status"
"""NATS's answer without a message: 204 for the end of a batch, 404, 503 and others for what went wrong."""
TIME = "Nats-Time-Stamp"
"""Of a message that was republished or read: when it was committed, RFC 3339."""
MESSAGE_ID = "Nats-Msg-Id"
"""Deduplication id within the stream's window."""
TTL = "Nats-TTL"
"""Whole seconds after which JetStream removes the message by itself (NATS ADR-43)."""
EXPECTED_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
"""Compare-and-set: the last sequence of the subject, 0 for none."""

INGRESS = "Studyroom-Ingress"
"""Unix microseconds at which the gateway read the message from its author."""

_OPERATION = "KV-Operation"
_ROLLUP = "Nats-Rollup"
_MARKER_REASON = "Nats-Marker-Reason"


def removal(ttl_seconds: int) -> dict[str, str]:
    """Removes a key in a bucket that takes no rollups: what is stored instead says so, until the TTL (NATS ADR-8)."""
    return {_OPERATION: "DEL", TTL: str(ttl_seconds)}


def purge(marker_ttl_seconds: int) -> dict[str, str]:
    """Removes a key with one event, where rollups are allowed; what is left goes after the TTL (NATS ADR-8, ADR-43)."""
    return {_OPERATION: "PURGE", _ROLLUP: "sub", TTL: str(marker_ttl_seconds)}


def is_removal(headers: Mapping[str, str]) -> bool:
    """Of a change of a key: it was deleted or purged, or it expired."""
    return _OPERATION in headers or _MARKER_REASON in headers
