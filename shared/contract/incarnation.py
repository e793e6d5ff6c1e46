"""The identity of a stream, also after its storage has lost its newest messages.

After a power cut, a restored volume or a rolled back machine, a stream has the same creation time but lacks its newest
messages. New messages then get sequences that other messages had before. A process that finds a stream shorter than
before writes a record to a bucket, by compare-and-set. The commit time of that record is the new epoch for all
processes, also for those that never saw the lost messages (docs/decisions/0017).
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Record:
    """The newest stored record about a stream."""

    created: str
    """The creation time of the stream that the record is about; empty if the record was removed or is invalid."""
    began: str
    """The commit time of the record, RFC 3339."""
    sequence: int
    """The sequence of the record in its bucket, for compare-and-set."""

    @classmethod
    def decode(cls, data: bytes, sequence: int, began: str) -> Self:
        try:
            created = json.loads(data)["created"]
        except (ValueError, KeyError, TypeError):
            created = ""
        return cls(created if isinstance(created, str) else "", began, sequence)


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a stream. If the same sequence may mean different messages, the epochs differ."""

    created: str = ""
    """The creation time of the stream, RFC 3339; empty for a stream that is not known yet."""
    record: Record | None = None
    """The newest record, which may be about an earlier stream of this name."""

    @property
    def epoch(self) -> str:
        """The time at which the stream was created, or last found shorter than before (RFC 3339)."""
        record = self._own_record
        return record.began if record is not None else self.created

    def lacks(self, known: Self) -> bool:
        """Return whether the record in `known` is missing now, so it was lost together with the newest messages."""
        before, now = known._own_record, self._own_record
        if known.created != self.created or before is None:
            return False
        return now is None or datetime.fromisoformat(now.began) < datetime.fromisoformat(before.began)

    @property
    def expected(self) -> int:
        """The sequence that a compare-and-set of the next record must expect."""
        return self.record.sequence if self.record is not None else 0

    @property
    def _own_record(self) -> Record | None:
        return self.record if self.record is not None and self.record.created == self.created else None


def encode_record(created: str) -> bytes:
    """Return the value of a record about the stream with this creation time."""
    return json.dumps({"created": created}).encode()


def rfc3339(nanoseconds: int) -> str:
    """Format a Unix time in nanoseconds."""
    seconds, fraction = divmod(nanoseconds, _SECOND_NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def is_same_time(one: str, other: str) -> bool:
    """Compare two times (RFC 3339), whose fractions may have different numbers of digits."""
    return datetime.fromisoformat(one) == datetime.fromisoformat(other)
