"""A chat message on its way through the stream.

Stored and republished it is the client's message without its `seq`, which only the commit gives. The gateway
puts it in by cutting the closing braces, so nothing is parsed on the way out.

A message is deleted by a tombstone, which is stored in the same room, ordered and told like any message; what it names
is then erased from the stream.
"""

import re

from studyroom.shared.contract.ids import MessageId, UserId
from studyroom.shared.contract.messages import Chat, ChatDeleted, ChatDeletedPayload, ChatPayload, encode

CHAT_CHAR_MAX_BYTES = 6
"""What one character of a message may take as JSON: a control character is written as `\\u0001`."""
CHAT_AROUND_BYTES = 1500
"""What is around the content at most: headers, and a name of 100 such characters."""
_SEQ_ZERO = b',"seq":0}}'
_TOMBSTONE = b'{"type":"ChatDeleted"'
_DELETED = re.compile(rb'"deleted_seq":(\d+)')


def encode_stored(user: UserId, username: str, content: str, timestamp: int, message: MessageId) -> bytes:
    """`timestamp`: Unix seconds."""
    payload = ChatPayload.model_construct(
        user_id=user, username=username, content=content, timestamp=timestamp, id=message, seq=0
    )
    encoded = encode(Chat.model_construct(payload=payload))
    return encoded[: -len(_SEQ_ZERO)]


def encode_tombstone(message: MessageId, sequence: int) -> bytes:
    """Of the message with this id and sequence, as it is stored."""
    payload = ChatDeletedPayload.model_construct(id=message, deleted_seq=sequence, seq=0)
    encoded = encode(ChatDeleted.model_construct(payload=payload))
    return encoded[: -len(_SEQ_ZERO)]


def deleted_by(stored: bytes) -> int:
    """The sequence of the message that this one deletes; 0 for what is no tombstone."""
    if not stored.startswith(_TOMBSTONE):
        return 0
    found = _DELETED.search(stored)
    return int(found[1]) if found else 0


def with_sequence(stored: bytes, sequence: int) -> bytes:
    """The client-ready `Chat` or `ChatDeleted` of what is stored."""
    return b'%b,"seq":%d}}' % (stored, sequence)
