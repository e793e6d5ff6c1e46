"""The user's own messages, from when they are written until they come back stored.

One message is under way at a time. The next one is sent when the outcome is known, so the server stores messages in the
order in which they were written, even if some fail. If the outcome is unknown, the message is sent again with the same
id, but only while the server deduplicates that id. After that the message has failed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from studyroom.client.core.backoff import Backoff, Random
from studyroom.client.core.refusals import is_transient
from studyroom.client.values import ChatMessage, Failure

_ANSWER_SECONDS = 10.0
"""The server answers within 5 s. After this long without an answer, the message is sent again."""
_MARGIN_SECONDS = 10.0
_MARGIN_SHARE = 0.25
"""A retry must be stored while the server still knows the id, and storing may take some seconds."""
_PAUSE_SECONDS = 0.25
_BACKOFF = Backoff(cap_seconds=4.0)
"""Short also after many refusals, so that chat goes on soon after the server can store again."""
_EXPIRED = Failure("expired", "the message may be stored or not")

Check = Callable[[ChatMessage], Failure | None]
"""Returns why the server would not take a message, or None."""
Failed = tuple[ChatMessage, Failure]


@dataclass(eq=False)
class _Draft:
    message: ChatMessage
    excess: Failure | None
    first_sent_at: float = math.inf
    """Infinite before the first send, and minus infinity if the server would take the message for another user's."""
    sent_again: bool = False


class ChatQueue:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._drafts: list[_Draft] = []
        self._check: Check = lambda _message: None
        self._open = False
        self._user_id = ""
        self._resendable_seconds = 0.0
        self._under_way: _Draft | None = None
        self._paused_until = -math.inf
        """The end of the wait for an answer. With nothing under way, the end of the pause before the next send."""
        self._failures = 0

    @property
    def messages(self) -> tuple[ChatMessage, ...]:
        """Messages that are not stored yet, in the order in which they will be."""
        return tuple(draft.message for draft in self._drafts)

    def add(self, message: ChatMessage) -> None:
        self._drafts.append(_Draft(message, self._check(message)))

    def limit(self, check: Check) -> None:
        """Never send messages for which `check` has a failure."""
        self._check = check
        for draft in self._drafts:
            draft.excess = check(draft.message)

    def open(self, window_seconds: float, user_id: str) -> None:
        """Allow sending, after the room is joined and every missed message has come.

        The server deduplicates a user's ids for `window_seconds`.
        """
        self._resendable_seconds = window_seconds - min(_MARGIN_SECONDS, window_seconds * _MARGIN_SHARE)
        self._open = True
        if user_id != self._user_id:
            self._user_id = user_id
            for draft in self._drafts:
                if draft.first_sent_at != math.inf:
                    draft.first_sent_at = -math.inf

    def hold(self) -> None:
        """Stop sending. The outcome of a message under way is unknown."""
        if self._under_way is not None:
            self._rest_until(-math.inf)
        self._open = False

    def poll(self, now: float) -> tuple[ChatMessage | None, list[Failed]]:
        """Return the message to send now, or None, and those that have just failed.

        Call it after every other call, and at `wake_at`.
        """
        due = [draft for draft in self._drafts if draft is not self._under_way and self._is_due(draft, now)]
        failed = [self._fail(draft, draft.excess or _EXPIRED) for draft in due]
        return (self._next(now) if self._open else None), failed

    @property
    def wake_at(self) -> float:
        """The latest time of the next poll."""
        return min((self._wake_for(draft) for draft in self._drafts), default=math.inf)

    def stored(self, message_id: str) -> bool:
        """Remove a stored message. Return whether it is an own one that was sent more than once.

        Such an answer may come beside the order of the chat.
        """
        draft = self._find(message_id)
        if draft is None:
            return False
        self._drafts.remove(draft)
        if draft is self._under_way:
            self._failures = 0
            self._rest_until(-math.inf)
        return draft.sent_again

    def refused(self, message_id: str, failure: Failure, now: float) -> Failed | None:
        """Return the message as failed, or None if it will be sent again."""
        draft = self._find(message_id)
        if draft is None:
            return None
        again = is_transient(failure.code)
        if draft is self._under_way:
            self._rest_until(self._end_of_pause(now) if again else -math.inf)
        return None if again else self._fail(draft, failure)

    def refused_under_way(self, failure: Failure, now: float) -> Failed | None:
        """Handle a refusal that names no message: it is about the one under way. Return as `refused` does.

        If it may pass, the queue goes on waiting for the answer.
        """
        if self._under_way is None or is_transient(failure.code):
            return None
        return self.refused(self._under_way.message.id, failure, now)

    def fail_all(self, failure: Failure) -> list[Failed]:
        self.hold()
        return [self._fail(draft, failure) for draft in list(self._drafts)]

    def find(self, message_id: str) -> ChatMessage | None:
        draft = self._find(message_id)
        return None if draft is None else draft.message

    def _find(self, message_id: str) -> _Draft | None:
        return next((draft for draft in self._drafts if draft.message.id == message_id), None)

    def _fail(self, draft: _Draft, failure: Failure) -> Failed:
        self._drafts.remove(draft)
        return draft.message, failure

    def _next(self, now: float) -> ChatMessage | None:
        if now < self._paused_until:
            return None
        if self._under_way is not None:
            # The answer is overdue: pause, then send the message again.
            self._rest_until(self._end_of_pause(now))
            return None
        if not self._drafts:
            return None
        draft = self._drafts[0]
        draft.sent_again = draft.first_sent_at != math.inf
        draft.first_sent_at = min(draft.first_sent_at, now)
        self._under_way = draft
        self._paused_until = now + _ANSWER_SECONDS
        return draft.message

    def _rest_until(self, until: float) -> None:
        self._paused_until = until
        self._under_way = None

    def _end_of_pause(self, now: float) -> float:
        self._failures += 1
        return now + _PAUSE_SECONDS + _BACKOFF.wait(self._failures - 1, self._random)

    def _is_due(self, draft: _Draft, now: float) -> bool:
        return draft.excess is not None or self._expires_at(draft) <= now

    def _expires_at(self, draft: _Draft) -> float:
        return draft.first_sent_at + self._resendable_seconds

    def _wake_for(self, draft: _Draft) -> float:
        paused_until = self._paused_until if self._open else math.inf
        return paused_until if draft is self._under_way else min(paused_until, self._expires_at(draft))
