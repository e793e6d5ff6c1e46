"""The bases of messages: of those of the client protocol, and of those that services store or send each other."""

from typing import Self

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of a message of the client protocol.

    Unknown fields are ignored, because a newer peer may send more fields. Errors do not repeat the input, because they
    are for logs.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )


class JsonMessage(BaseModel):
    """A message of services, as JSON. Unknown fields are ignored, and errors do not repeat the input, as in `Part`."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    def encode(self) -> bytes:
        return self.__pydantic_serializer__.to_json(self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises pydantic's ValidationError, which is a ValueError."""
        return cls.model_validate_json(data)


def is_none(value: object) -> bool:
    """For fields that are left out if they have no value."""
    return value is None
