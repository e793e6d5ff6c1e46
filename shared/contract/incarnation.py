"""Which of the streams that had the same name and creation time: the identity of a stream whose storage went back.

After a power cut, a restored volume or a rolled back machine a stream is created when it was, and has lost its newest
messages. Sequences from before mean other messages in it. A process that finds a stream shorter than it was writes a
record into a bucket, by compare-and-set, and the time at which that record was committed is the new epoch, for all
processes, also for those that never saw the lost messages (docs/decisions/0017).
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Record:
    """The newest record about a stream, as it is stored."""

    created: str
    """Creation time of the stream that it is about. Empty when the record was removed, or is not ours."""
    began: str
    """When the record was committed, RFC 3339."""
    sequence: int
    """In the bucket of records, for compare-and-set."""

    @classmethod
    def decode(cls, data: bytes, sequence: int, began: str) -> Self:
        try:
            created = json.loads(data)["created"]
        except (ValueError, KeyError, TypeError):
            created = ""
        return cls(created if isinstance(created, str) else "", began, sequence)


@dataclass(frozen=True, slots=True)
class Identity:
    """Of a stream. Two streams with sequences that mean different messages have different epochs."""

    created: str = ""
    """RFC 3339. Empty for a stream that is not known yet."""
    record: Record | None = None
    """The newest one, whatever stream it is about."""

    @property
    def epoch(self) -> str:
        """When the stream was created, or when it was last found shorter than before (RFC 3339)."""
        record = self._own_record
        return record.began if record is not None else self.created

    def lacks(self, known: Self) -> bool:
        """The record that was `known` of this stream is missing: it was lost together with the tail."""
        before, now = known._own_record, self._own_record
        if known.created != self.created or before is None:
            return False
        return now is None or datetime.fromisoformat(now.began) < datetime.fromisoformat(before.began)

    @property
    def expected(self) -> int:
        """The sequence that a compare-and-set of the next record has to expect."""
        return self.record.sequence if self.record is not None else 0

    @property
    def _own_record(self) -> Record | None:
        return self.record if self.record is not None and self.record.created == self.created else None


def encode_record(created: str) -> bytes:
    """The value of a record about the stream that was created then."""
    return json.dumps({"created": created}).encode()


def rfc3339(nanoseconds: int) -> str:
    """Of a Unix time."""
    seconds, fraction = divmod(nanoseconds, _SECOND_NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
