"""The retention of a room: how long its messages and the versions of its documents are kept."""

from typing import Self

from pydantic import BaseModel, ConfigDict


class Retention(BaseModel):
    """The value of a key in the bucket. The key has the room."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    by: str
    """`key` and the name of the API key."""
    messages_seconds: int | None = None
    """How long messages are kept; None for as long as those of all rooms."""
    versions_seconds: int | None = None
    """How long versions of documents are kept; None for ever."""

    def encode(self) -> bytes:
        return self.__pydantic_serializer__.to_json(self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises ValueError."""
        return cls.model_validate_json(data)
