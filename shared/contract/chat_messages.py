"""Messages of the client protocol about chat: messages, and what changes them later.

An edit and a reaction are entries of the room's chat like messages. They have a `seq` in the same order, an id for
retries, and follow the same rules for gaps and resumes.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from studyroom.shared.contract.ids import MessageId, MessageIdField, UserIdField
from studyroom.shared.contract.parts import Part, is_none
from studyroom.shared.contract.text import is_blank, is_disruptive

MENTIONS_MAX = 20
REACTION_MAX_CHARS = 32


def _visible(text: str) -> str:
    if is_blank(text) or is_disruptive(text):
        raise ValueError("a reaction needs a visible character, and has no controls and line ends")
    return text


def _distinct(users: list[str]) -> list[str]:
    return list(dict.fromkeys(users))


Mentions = Annotated[list[UserIdField], Field(max_length=MENTIONS_MAX), AfterValidator(_distinct)]
Reaction = Annotated[str, Field(min_length=1, max_length=REACTION_MAX_CHARS), AfterValidator(_visible)]


# --- messages of clients -----------------------------------------------------------------------------------


class ChatSendPayload(Part):
    content: str
    id: MessageIdField | None = None
    """An id that the client chooses. Retries with the same id are stored once."""
    reply_to: MessageIdField | None = Field(default=None, exclude_if=is_none)
    """The id of the message that this one replies to."""
    mentions: Mentions | None = Field(default=None, exclude_if=is_none)
    """The users that the message mentions. They need not be in the room."""


class EditChatPayload(Part):
    target_id: MessageIdField
    """The id of the message to edit."""
    target_seq: int = Field(ge=1, le=2**63 - 1)
    """The position of that message."""
    content: str
    id: MessageIdField | None = None
    """An id of this edit that the client chooses. Retries with the same id are stored once."""
    mentions: Mentions | None = Field(default=None, exclude_if=is_none)
    """The users that the message mentions from now on."""


class DeleteChatPayload(Part):
    target_id: MessageIdField
    """The id of the message to delete."""
    target_seq: int = Field(ge=1, le=2**63 - 1)
    """The position of that message."""


class ReactToChatPayload(Part):
    target_id: MessageIdField
    """The id of the message to react to."""
    target_seq: int = Field(ge=1, le=2**63 - 1)
    """The position of that message."""
    reaction: Reaction
    """An emoji or a short text."""
    is_on: bool
    """False to take the reaction back."""
    id: MessageIdField | None = None
    """An id of this reaction that the client chooses. Retries with the same id are stored once."""


class ChatSend(Part):
    type: Literal["Chat"] = "Chat"
    payload: ChatSendPayload


class EditChat(Part):
    """Replaces the content of an own chat message."""

    type: Literal["EditChat"] = "EditChat"
    payload: EditChatPayload


class DeleteChat(Part):
    """Deletes an own chat message. May be repeated."""

    type: Literal["DeleteChat"] = "DeleteChat"
    payload: DeleteChatPayload


class ReactToChat(Part):
    """Adds a reaction to a chat message, or takes it back."""

    type: Literal["ReactToChat"] = "ReactToChat"
    payload: ReactToChatPayload


ChangeOfChat = EditChat | DeleteChat | ReactToChat


def id_for_errors(message: object) -> MessageId | None:
    """Return the id by which an error names this message of a client; None for messages that are not about chat."""
    match message:
        case ChatSend(payload=payload) | EditChat(payload=payload) | ReactToChat(payload=payload):
            return payload.id
        case DeleteChat(payload=target):
            return target.target_id
        case _:
            return None


# --- messages of the server --------------------------------------------------------------------------------


class ReactionSummary(Part):
    reaction: str
    count: int
    """How many users have reacted so."""
    user_ids: list[UserIdField]
    """The first of these users."""


class ChatPayload(Part):
    user_id: UserIdField
    username: str
    content: str
    timestamp: int
    """Unix seconds."""
    id: MessageIdField
    reply_to: MessageIdField | None = Field(default=None, exclude_if=is_none)
    """The id of the message that this one replies to. It may be gone."""
    mentions: list[UserIdField] | None = Field(default=None, exclude_if=is_none)
    """The users that the message mentions."""
    edited_at: int | None = Field(default=None, exclude_if=is_none)
    """When its author edited it last, in Unix seconds. The content is the edited one."""
    reactions: list[ReactionSummary] | None = Field(default=None, exclude_if=is_none)
    """The reactions so far, in the order in which they came first."""
    seq: int
    """The position in the room's chat. Positions grow within an epoch, not always by one."""


class ChatDeletedPayload(Part):
    id: MessageIdField
    """The id of the deleted message. Other authors may have chosen the same id, but `deleted_seq` is unique."""
    deleted_seq: int
    """The position of the deleted message."""
    resets: bool | None = Field(default=None, exclude_if=is_none)
    """True if something else than a message was deleted, such as a reaction. Then the chat of the room begins again: a
    `ChatReset` follows, and no resume from before succeeds."""
    seq: int
    """The position of this notice, which is ordered like a message."""


class ChatEditedPayload(Part):
    user_id: UserIdField
    """The author of the message."""
    target_id: MessageIdField
    """The id of the edited message."""
    target_seq: int
    """The position of the edited message."""
    content: str
    """The content of the message from now on."""
    timestamp: int
    """Unix seconds."""
    id: MessageIdField
    """The id of this edit."""
    mentions: list[UserIdField] | None = Field(default=None, exclude_if=is_none)
    """The users that the message mentions from now on."""
    seq: int
    """The position of this edit, which is ordered like a message."""


class ChatReactionPayload(Part):
    user_id: UserIdField
    """The user that reacts."""
    target_id: MessageIdField
    """The id of the message."""
    target_seq: int
    """The position of the message."""
    reaction: str
    is_on: bool
    """False if the user has taken the reaction back."""
    id: MessageIdField
    """The id of this reaction."""
    seq: int
    """The position of this reaction, which is ordered like a message."""


class Chat(Part):
    """A stored chat message. Its author receives it too, as the acknowledgement."""

    type: Literal["Chat"] = "Chat"
    payload: ChatPayload


class ChatDeleted(Part):
    """A message was deleted: clients stop showing it, and nobody receives it again."""

    type: Literal["ChatDeleted"] = "ChatDeleted"
    payload: ChatDeletedPayload


class ChatEdited(Part):
    """The author of a message has edited it. The author receives it too, as the acknowledgement."""

    type: Literal["ChatEdited"] = "ChatEdited"
    payload: ChatEditedPayload


class ChatReaction(Part):
    """A user has reacted to a message, or has taken a reaction back. The user receives it too."""

    type: Literal["ChatReaction"] = "ChatReaction"
    payload: ChatReactionPayload
