"""The retention of a room: how long its messages and the versions of its documents are kept."""

from studyroom.shared.contract.parts import JsonMessage


class Retention(JsonMessage):
    """The value of a key in the bucket. The key has the room."""

    by: str
    """`key` and the name of the API key."""
    messages_seconds: int | None = None
    """How long messages are kept; None for as long as those of all rooms."""
    versions_seconds: int | None = None
    """How long versions of documents are kept; None for ever."""
