"""Chat messages, tombstones, edits and reactions as the stream stores them.

The stream stores and republishes the message for clients without its `seq`, which only the commit assigns. The gateway
inserts the `seq` in place of the closing braces, so it parses nothing on the way out.

A tombstone deletes a message. It is stored, ordered and delivered like any message of the room. The deleted message is
then erased from the stream. Edits and reactions are entries too, and name the message that they change.
"""

import re
from collections.abc import Sequence

from studyroom.shared.contract.chat_messages import (
    Chat,
    ChatDeleted,
    ChatDeletedPayload,
    ChatEdited,
    ChatEditedPayload,
    ChatPayload,
    ChatReaction,
    ChatReactionPayload,
    ChatSendPayload,
    EditChatPayload,
    ReactToChatPayload,
)
from studyroom.shared.contract.ids import MessageId, UserId

CHAT_CHAR_MAX_BYTES = 6
"""The most that one character takes in JSON. A control character is escaped as `\\u0001`."""
CHAT_OVERHEAD_BYTES = 2500
"""The most that surrounds the content: headers, a name of 100 such characters, and 20 users that it mentions."""
_SEQ_ZERO = b',"seq":0}}'
_TOMBSTONE = b'{"type":"ChatDeleted"'
_CHANGES = b'{"type":"ChatEdited"', b'{"type":"ChatReaction"'
_TARGET = re.compile(rb'"target_seq":(\d+)')
_DELETED = re.compile(rb'"deleted_seq":(\d+)')
_RESETS = b'"resets":true'
_USER = re.compile(rb'"user_id":"([0-9a-f-]{36})"')
"""The user of an entry. It is never a part of the text, in which quotation marks are escaped."""


def encode_stored(
    user: UserId,
    username: str,
    content: str,
    timestamp: int,
    message: MessageId,
    *,
    reply_to: MessageId | None = None,
    mentions: Sequence[UserId] | None = None,
) -> bytes:
    """Return a chat message as the stream stores it. `timestamp`: Unix seconds."""
    payload = ChatPayload.model_construct(
        user_id=user,
        username=username,
        content=content,
        timestamp=timestamp,
        id=message,
        reply_to=reply_to,
        mentions=list(mentions) if mentions else None,
        seq=0,
    )
    return _without_sequence(Chat.model_construct(payload=payload))


def encode_sent(user: UserId, username: str, sent: ChatSendPayload, timestamp: int, message: MessageId) -> bytes:
    """Return the message of a client as the stream stores it. `timestamp`: Unix seconds."""
    reply_to, mentions = sent.reply_to, sent.mentions
    return encode_stored(user, username, sent.content, timestamp, message, reply_to=reply_to, mentions=mentions)


def encode_edit(user: UserId, edit: EditChatPayload, timestamp: int, message: MessageId) -> bytes:
    """Return an edit as the stream stores it. `timestamp`: Unix seconds. `message`: the id of the edit."""
    payload = ChatEditedPayload.model_construct(
        user_id=user,
        target_id=edit.target_id,
        target_seq=edit.target_seq,
        content=edit.content,
        timestamp=timestamp,
        id=message,
        mentions=edit.mentions or None,
        seq=0,
    )
    return _without_sequence(ChatEdited.model_construct(payload=payload))


def encode_reaction(user: UserId, reaction: ReactToChatPayload, message: MessageId) -> bytes:
    """Return a reaction as the stream stores it. `message`: the id of the reaction."""
    payload = ChatReactionPayload.model_construct(
        user_id=user,
        target_id=reaction.target_id,
        target_seq=reaction.target_seq,
        reaction=reaction.reaction,
        is_on=reaction.is_on,
        id=message,
        seq=0,
    )
    return _without_sequence(ChatReaction.model_construct(payload=payload))


def encode_tombstone(message: MessageId, sequence: int, *, resets: bool = False) -> bytes:
    """Return the tombstone of the message with this id and sequence, as the stream stores it.

    `resets`: clients cannot take back what it deletes, so they get the chat of the room again.
    """
    payload = ChatDeletedPayload.model_construct(id=message, deleted_seq=sequence, resets=resets or None, seq=0)
    return _without_sequence(ChatDeleted.model_construct(payload=payload))


def deleted_by(stored: bytes) -> int:
    """Return the sequence of the message that a tombstone deletes; 0 for any other message."""
    if not stored.startswith(_TOMBSTONE):
        return 0
    found = _DELETED.search(stored)
    return int(found[1]) if found else 0


def is_reset(stored: bytes) -> bool:
    """Return whether this is a tombstone after which clients get the chat of the room again."""
    return stored.startswith(_TOMBSTONE) and _RESETS in stored


def user_of(stored: bytes) -> UserId | None:
    """Return the user who wrote a message, an edit or a reaction; None for a tombstone."""
    found = _USER.search(stored)
    return UserId(found[1].decode()) if found else None


def changed_by(stored: bytes) -> int:
    """Return the sequence of the message that an edit or a reaction changes; 0 for any other message."""
    if not stored.startswith(_CHANGES):
        return 0
    found = _TARGET.search(stored)
    return int(found[1]) if found else 0


def is_edit(stored: bytes) -> bool:
    """Return whether this is an edit."""
    return stored.startswith(_CHANGES[0])


def with_sequence(stored: bytes, sequence: int) -> bytes:
    """Return the message for clients, made of the stored one and its sequence."""
    return b'%b,"seq":%d}}' % (stored, sequence)


def _without_sequence(message: Chat | ChatDeleted | ChatEdited | ChatReaction) -> bytes:
    return message.__pydantic_serializer__.to_json(message)[: -len(_SEQ_ZERO)]
