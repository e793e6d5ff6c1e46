"""Channels: several rooms over one connection.

A client with `?channels=true` opens channels. Each channel is like a connection of its own, with the same user. In both
directions a `Channel` message says to which channel the messages after it belong. Channel 0 is the connection itself.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from studyroom.shared.contract.ids import RoomIdField
from studyroom.shared.contract.parts import Part

CHANNEL_MAX = 2**31 - 1


class ChannelPayload(Part):
    channel: int = Field(ge=0, le=CHANNEL_MAX)


class OpenChannelPayload(Part):
    channel: int = Field(ge=1, le=CHANNEL_MAX)
    """The client chooses the number. It is free again after `ChannelClosed`."""
    room: RoomIdField | None = None
    """The room that the client is about to join there, as `?room=` in the address of a connection."""


class CloseChannelPayload(Part):
    channel: int = Field(ge=1, le=CHANNEL_MAX)
    close_code: Literal[1000, 1001] = 1000
    """Has the meaning of the code of a close frame."""


class ChannelClosedPayload(Part):
    channel: int
    close_code: int
    """A close code, with the same meaning as for a connection."""
    reason: str


class Channel(Part):
    """All further messages in this direction belong to this channel, until the next `Channel`."""

    type: Literal["Channel"] = "Channel"
    payload: ChannelPayload


class OpenChannel(Part):
    """The server answers with `Welcome` in the channel, or with `ChannelClosed`."""

    type: Literal["OpenChannel"] = "OpenChannel"
    payload: OpenChannelPayload


class CloseChannel(Part):
    """Leaves the room of the channel, as a close frame does for a connection. The answer is `ChannelClosed`."""

    type: Literal["CloseChannel"] = "CloseChannel"
    payload: CloseChannelPayload


class ChannelClosed(Part):
    """The channel has ended, or was refused. The last message about it."""

    type: Literal["ChannelClosed"] = "ChannelClosed"
    payload: ChannelClosedPayload


ChannelMessage = Channel | OpenChannel | CloseChannel
"""The messages of clients that are about channels."""

_MESSAGES: TypeAdapter[ChannelMessage] = TypeAdapter(
    Annotated[ChannelMessage, Field(discriminator="type")], config=ConfigDict(hide_input_in_errors=True)
)
_OTHER_TYPE = {"json_invalid", "union_tag_invalid", "union_tag_not_found", "model_attributes_type", "dict_type"}


class InvalidChannelMessage(ValueError):
    """A message about a channel is not valid. `str()` names the field, and repeats nothing of the input."""


def decode_channel_message(text: str) -> ChannelMessage | None:
    """Return the message; None if it is of another type. Raises InvalidChannelMessage."""
    try:
        return _MESSAGES.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] in _OTHER_TYPE and not first["loc"]:
            return None
        message_type, *path = (str(part) for part in first["loc"])
        reason = f"{message_type}: {'.'.join(path) or 'message'}: {first['msg']}"
        raise InvalidChannelMessage(reason) from None


def knows_channels(parameter: str | None) -> bool:
    """Return whether a client wants channels, by the value of `?channels=` in its address."""
    return parameter == "true"
