"""Makes one event of all edits of a document within some seconds. Pure."""

from dataclasses import dataclass, field

from studyroom.services.hooks.positions import Position
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.ids import RoomId

Document = tuple[RoomId, DocumentName]


@dataclass(slots=True)
class Edited:
    """A document with edits that have no event yet."""

    before: Position
    """The position in the source before the first of these edits."""
    due: float
    """When the event is made, in the loop's time."""
    last: int
    """The sequence of the newest of these edits."""
    time: str
    """When it was stored, RFC 3339."""


@dataclass(slots=True)
class SavedDocuments:
    wait_seconds: float
    _edited: dict[Document, Edited] = field(default_factory=dict)
    """In the order in which the events are due."""

    def edit(self, document: Document, sequence: int, time: str, *, before: Position, now: float) -> None:
        """Take in an edit. `before`: the position before it. `now`: the loop's time."""
        edited = self._edited.get(document)
        if edited is None:
            self._edited[document] = Edited(before, now + self.wait_seconds, sequence, time)
        else:
            edited.last, edited.time = sequence, time

    def next_due(self, now: float) -> tuple[Document, Edited] | None:
        """Return a document whose event is due; None if there is none. Call `made` when the event is in the log."""
        for document, edited in self._edited.items():
            return (document, edited) if edited.due <= now else None
        return None

    def made(self, document: Document) -> None:
        del self._edited[document]

    @property
    def all_made_up_to(self) -> Position | None:
        """The position up to which there is an event of every edit; None if there is one of all that were read."""
        waiting = (edited.before for edited in self._edited.values())
        return min(waiting, key=lambda position: position.sequence, default=None)
