"""The user's edits, deletions and reactions, from the call until the server has stored them.

They do not wait for each other. A change without an answer is sent again with the same id, but only while the server
deduplicates that id. After that it has failed.
"""

import math
from dataclasses import dataclass

from studyroom.client.core.refusals import is_transient
from studyroom.client.values import Failure
from studyroom.shared.contract.chat_messages import ChangeOfChat

_AGAIN_SECONDS = 1.0
"""The wait before a change is sent again, after a refusal that may pass."""
_ANSWER_SECONDS = 10.0
_WINDOW_SHARE = 0.75
"""A retry must be stored while the server still knows the id."""
_DEFAULT_WINDOW_SECONDS = 120.0
"""For a server that names none."""
_EXPIRED = Failure("expired", "the change may be stored or not")


@dataclass(eq=False)
class _Pending:
    message: ChangeOfChat
    first_sent_at: float = math.inf
    """Infinite before the first send."""
    send_at: float = -math.inf


class Changes:
    def __init__(self) -> None:
        self._pending: dict[str, _Pending] = {}
        """The changes without an outcome, by the id that the server names them by."""
        self._open = False
        self._window_seconds = 0.0

    def add(self, change_id: str, message: ChangeOfChat) -> None:
        self._pending.setdefault(change_id, _Pending(message))

    def open(self, retry_seconds: float) -> None:
        """The room is joined, so changes may be sent. The server deduplicates ids for `retry_seconds`."""
        self._window_seconds = (retry_seconds or _DEFAULT_WINDOW_SECONDS) * _WINDOW_SHARE
        if not self._open:
            for pending in self._pending.values():
                pending.send_at = -math.inf
        self._open = True

    def hold(self) -> None:
        """Stop sending. The outcome of those under way is unknown."""
        self._open = False

    def poll(self, now: float) -> tuple[list[ChangeOfChat], list[tuple[str, Failure]]]:
        """Return the changes to send now, and those that have just failed. Call it at `wake_at` at the latest."""
        late = [(one, _EXPIRED) for one, pending in self._pending.items() if self._expires_at(pending) <= now]
        for change_id, _ in late:
            del self._pending[change_id]
        due = [pending for pending in self._pending.values() if self._open and pending.send_at <= now]
        for pending in due:
            pending.first_sent_at = min(pending.first_sent_at, now)
            pending.send_at = now + _ANSWER_SECONDS
        return [pending.message for pending in due], late

    @property
    def wake_at(self) -> float:
        """The latest time of the next poll."""
        times = [self._expires_at(pending) for pending in self._pending.values()]
        if self._open:
            times += [pending.send_at for pending in self._pending.values()]
        return min(times, default=math.inf)

    def stored(self, change_id: str) -> bool:
        """Return whether it was a change of this client."""
        return self._pending.pop(change_id, None) is not None

    def refused(self, change_id: str, failure: Failure, now: float) -> bool:
        """Return whether the change has failed. If the refusal may pass, it is sent again."""
        pending = self._pending.get(change_id)
        if pending is None:
            return False
        if is_transient(failure.code):
            pending.send_at = now + _AGAIN_SECONDS
            return False
        del self._pending[change_id]
        return True

    def __contains__(self, change_id: object) -> bool:
        return change_id in self._pending

    def fail_all(self) -> list[str]:
        """Forget all, and return their ids."""
        ids = list(self._pending)
        self._pending.clear()
        return ids

    def _expires_at(self, pending: _Pending) -> float:
        return pending.first_sent_at + self._window_seconds
