"""Chat messages and tombstones as the stream stores them.

The stream stores and republishes the message for clients without its `seq`, which only the commit assigns. The gateway
inserts the `seq` in place of the closing braces, so it parses nothing on the way out.

A tombstone deletes a message. It is stored, ordered and delivered like any message of the room. The deleted message is
then erased from the stream.
"""

import re

from studyroom.shared.contract.ids import MessageId, UserId
from studyroom.shared.contract.messages import Chat, ChatDeleted, ChatDeletedPayload, ChatPayload, encode

CHAT_CHAR_MAX_BYTES = 6
"""The most that one character takes in JSON. A control character is escaped as `\\u0001`."""
CHAT_OVERHEAD_BYTES = 1500
"""The most that surrounds the content: headers, and a name of 100 such characters."""
_SEQ_ZERO = b',"seq":0}}'
_TOMBSTONE = b'{"type":"ChatDeleted"'
_DELETED = re.compile(rb'"deleted_seq":(\d+)')


def encode_stored(user: UserId, username: str, content: str, timestamp: int, message: MessageId) -> bytes:
    """Return a chat message as the stream stores it. `timestamp`: Unix seconds."""
    payload = ChatPayload.model_construct(
        user_id=user, username=username, content=content, timestamp=timestamp, id=message, seq=0
    )
    encoded = encode(Chat.model_construct(payload=payload))
    return encoded[: -len(_SEQ_ZERO)]


def encode_tombstone(message: MessageId, sequence: int) -> bytes:
    """Return the tombstone of the message with this id and sequence, as the stream stores it."""
    payload = ChatDeletedPayload.model_construct(id=message, deleted_seq=sequence, seq=0)
    encoded = encode(ChatDeleted.model_construct(payload=payload))
    return encoded[: -len(_SEQ_ZERO)]


def deleted_by(stored: bytes) -> int:
    """Return the sequence of the message that a tombstone deletes; 0 for any other message."""
    if not stored.startswith(_TOMBSTONE):
        return 0
    found = _DELETED.search(stored)
    return int(found[1]) if found else 0


def with_sequence(stored: bytes, sequence: int) -> bytes:
    """Return the `Chat` or `ChatDeleted` for clients, made of the stored message and its sequence."""
    return b'%b,"seq":%d}}' % (stored, sequence)
