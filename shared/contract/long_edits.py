"""Edits of documents that are too long for one message of NATS.

A gateway stores the parts of such an edit on a subject of its own (`document_subjects.document_edit`). Then it stores
an empty update in the log, with the header `headers.LONG_EDIT` that names the parts, and readers apply the edit in its
place. So an edit has one place in the order of the log, and counts as a whole or not at all. An empty update without
the header changes nothing.
"""

from typing import NamedTuple, Self

from studyroom.shared.contract.ids import canonical_uuid

NAMED_MAX_CHARS = 8192
PARTS_MAX = 512


class LongEdit(NamedTuple):
    """Where the parts of an edit are."""

    id: str
    """A UUID."""
    parts: tuple[int, ...]
    """Their sequences in the stream, in order."""

    def encode(self) -> str:
        return f"{self.id} {','.join(map(str, self.parts))}"

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises ValueError."""
        edit, _, listed = text.partition(" ")
        parts = tuple(map(int, listed.split(",", PARTS_MAX)))
        if len(parts) > PARTS_MAX:
            raise ValueError(f"an edit has more than {PARTS_MAX} parts")
        return cls(canonical_uuid(edit), parts)
