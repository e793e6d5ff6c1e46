"""The base of all parts of messages of the client protocol."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of a message. Unknown fields are ignored, because a newer peer may send more fields.

    Errors do not repeat the input, because they are for logs.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )


def is_none(value: object) -> bool:
    """For fields that are left out if they have no value."""
    return value is None
