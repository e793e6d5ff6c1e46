"""Names of NATS headers, those of JetStream and Studyroom's own."""

from collections.abc import Mapping

SEQUENCE = "Nats-Sequence"
"""The sequence of a republished or read message in the stream."""
LAST_SEQUENCE = "Nats-Last-Sequence"
"""In a republished message, the sequence of the message before it on its subject, 0 for none. In a message of a batch
read, the sequence of the message before it in the batch (NATS ADR-31)."""
SUBJECT = "Nats-Subject"
"""The subject of a message of a batch read."""
PENDING = "Nats-Num-Pending"
"""The number of matching messages after this message of a batch read, in the batch and beyond."""
STATUS = "Status"
"""The status of an answer without a message: 204 for the end of a batch, 404, 503 and others for errors."""
TIME = "Nats-Time-Stamp"
"""The commit time (RFC 3339) of a republished or read message."""
MESSAGE_ID = "Nats-Msg-Id"
"""The id by which the stream deduplicates messages within its window."""
TTL = "Nats-TTL"
"""Whole seconds after which JetStream removes the message (NATS ADR-43)."""
EXPECTED_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
"""The last sequence of the subject that a compare-and-set expects, 0 for none."""
EXPECTED_LAST = "Nats-Expected-Last-Sequence"
"""The last sequence of the whole stream that a compare-and-set expects, 0 for an empty one."""

ENDED = "Studyroom-Ended"
"""In a change of a member, the id of the membership whose leave is the cause."""
INGRESS = "Studyroom-Ingress"
"""The time at which the gateway received the message from its author, in Unix microseconds."""
TRACEPARENT = "traceparent"
"""The trace and the span of the sender, if it is sampled (W3C Trace Context)."""
AUTHOR = "Studyroom-Author"
"""In an update of a document, the ids of the users who made it, separated by commas."""
LONG_EDIT = "Studyroom-Edit"
"""In an empty update in the log of a document, the parts of the edit in its place (`long_edits`)."""

_OPERATION = "KV-Operation"
_ROLLUP = "Nats-Rollup"
_MARKER_REASON = "Nats-Marker-Reason"


def removal(ttl_seconds: int) -> dict[str, str]:
    """Return headers that delete a key of a bucket without rollups. The delete marker stays until its TTL (ADR-8)."""
    return {_OPERATION: "DEL", TTL: str(ttl_seconds)}


def purge(marker_ttl_seconds: int) -> dict[str, str]:
    """Return headers that purge a key of a bucket with rollups. The marker stays until its TTL (ADR-8, ADR-43)."""
    return {_OPERATION: "PURGE", _ROLLUP: "sub", TTL: str(marker_ttl_seconds)}


def is_removal(headers: Mapping[str, str]) -> bool:
    """Return whether a change of a key is a deletion, a purge or an expiry."""
    return _OPERATION in headers or _MARKER_REASON in headers
