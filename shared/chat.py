"""A chat message on its way through the stream.

Stored and republished it is the client's message without its `seq`, which only the commit gives. The gateway
puts it in by cutting the closing braces, so nothing is parsed on the way out.
"""

from shared.ids import MessageId, UserId
from shared.messages import Chat, ChatPayload, encode

_SEQ_ZERO = b',"seq":0}}'


def encode_stored(user: UserId, username: str, content: str, timestamp: int, message: MessageId) -> bytes:
    """`timestamp`: Unix seconds."""
    payload = ChatPayload.model_construct(
        user_id=user, username=username, content=content, timestamp=timestamp, id=message, seq=0
    )
    encoded = encode(Chat.model_construct(payload=payload))
    return encoded[: -len(_SEQ_ZERO)]


def with_sequence(stored: bytes, sequence: int) -> bytes:
    """The client-ready `Chat` of a stored message."""
    return b'%b,"seq":%d}}' % (stored, sequence)
