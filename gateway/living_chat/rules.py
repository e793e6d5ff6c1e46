"""Rules for changes of chat: the messages that a user may edit, delete and react to. Pure: the time is an argument."""

from datetime import datetime

from studyroom.gateway.rooms.history import Stored
from studyroom.shared.contract.chat_messages import ChangeOfChat, Chat, ReactToChat
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import UserId


class ChangeRefused(Exception):
    """The user may not change the message, or there is no such message. `str()` says why."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def check(request: ChangeOfChat, user: UserId, target: Stored | None, *, now: datetime, edit_seconds: int) -> None:
    """Check that the user may change the message. Raises ChangeRefused.

    `target`: what the room has at the position in the request; None if nothing. `edit_seconds`: how long authors may
    edit and delete a message after its commit; 0 for ever.
    """
    sequence, message = request.payload.target_seq, request.payload.target_id
    if target is None or not target.is_message:
        raise ChangeRefused(ErrorCode.CHAT_NOT_FOUND, f"there is no message {sequence}")
    chat = Chat.model_validate_json(target.ready).payload
    if chat.id != message:
        raise ChangeRefused(ErrorCode.CHAT_NOT_FOUND, f"message {sequence} has another id")
    if isinstance(request, ReactToChat):
        return
    if chat.user_id != user:
        raise ChangeRefused(ErrorCode.NOT_AUTHOR, f"another user has written message {sequence}")
    age_seconds = (now - datetime.fromisoformat(target.time)).total_seconds()
    if 0 < edit_seconds < age_seconds:
        raise ChangeRefused(ErrorCode.EDIT_TOO_LATE, f"authors may change a message for {edit_seconds} s")
