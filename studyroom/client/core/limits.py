"""Whether a message is within the limits of the server."""

from studyroom.client.values import Limits
from studyroom.shared.contract.chat_messages import ChatSend, EditChat
from studyroom.shared.contract.messages import ClientMessage, WelcomePayload, encode

_NONE = Limits()


def stated_limits(welcome: WelcomePayload) -> Limits:
    """Return the limits that `Welcome` names, with the defaults for the others."""
    return Limits(
        welcome.message_max_bytes or _NONE.message_bytes,
        welcome.chat_max_chars or _NONE.chat_chars,
        _NONE.history_length if welcome.history_on_join is None else welcome.history_on_join,
        welcome.living_chat is True,
    )


def excess(message: ClientMessage, limits: Limits) -> str | None:
    """Return by how much the message is too long, or None for a message that the server takes."""
    if isinstance(message, ChatSend | EditChat) and (chars := len(message.payload.content)) > limits.chat_chars:
        return f"the message has {chars} characters, the maximum is {limits.chat_chars}"
    size = len(encode(message))
    return (
        None if size <= limits.message_bytes else f"the message has {size} bytes, the maximum is {limits.message_bytes}"
    )
