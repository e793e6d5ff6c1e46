"""Calls that wait for what the server answers later, or for a condition."""

import asyncio
from collections.abc import Callable, Iterable

from studyroom.client.errors import StudyroomError
from studyroom.client.values import ChatMessage, Failure, RoomState, RoomStatus


class Outcomes:
    def __init__(self) -> None:
        self._chats: dict[str, asyncio.Future[ChatMessage]] = {}
        """Own messages by id."""
        self._changes: dict[str, asyncio.Future[None]] = {}
        """Own edits, deletions and reactions by id."""
        self._joins: list[asyncio.Future[None]] = []
        self._conditions: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def chat(self, message_id: str) -> asyncio.Future[ChatMessage]:
        self._chats[message_id] = outcome = asyncio.get_running_loop().create_future()
        return outcome

    def change(self, change_id: str) -> asyncio.Future[None]:
        """Return the same future for the same id, because a deletion may be asked for twice."""
        if change_id not in self._changes:
            outcome = self._changes[change_id] = asyncio.get_running_loop().create_future()
            # If all callers were cancelled, nobody else retrieves the exception.
            outcome.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._changes[change_id]

    def join(self) -> asyncio.Future[None]:
        self._joins.append(outcome := asyncio.get_running_loop().create_future())
        return outcome

    def condition(self, condition: Callable[[], bool]) -> asyncio.Future[None]:
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._conditions.append((condition, outcome))
        return outcome

    def settle_chats(self, found: Iterable[tuple[str, ChatMessage | Failure]]) -> None:
        for message_id, result in found:
            outcome = self._chats.pop(message_id, None)
            if outcome is None or outcome.done():
                continue
            if isinstance(result, Failure):
                outcome.set_exception(StudyroomError(result))
            else:
                outcome.set_result(result)

    def settle_changes(self, found: Iterable[tuple[str, Failure | None]]) -> None:
        """A failure is the reason why the change is not stored."""
        for change_id, failure in found:
            if (outcome := self._changes.pop(change_id, None)) is not None:
                _settle(outcome, failure)

    def settle_joins(self, state: RoomState, failure: Failure | None) -> None:
        """`failure`: why the user does not get in without another call of the program."""
        if state.status is RoomStatus.REFUSED:
            failure = state.failure
        if failure is None and state.status is not RoomStatus.JOINED:
            return
        joins, self._joins = self._joins, []
        for outcome in joins:
            _settle(outcome, failure)

    def settle_conditions(self, closed: Failure | None) -> None:
        """`closed`: why nothing will change any more."""
        waiting, self._conditions = self._conditions, []
        for condition, outcome in waiting:
            if outcome.done():
                continue
            try:
                holds = condition()
            except Exception as error:  # noqa: BLE001 - a function of the program, which gets its error
                outcome.set_exception(error)
                continue
            if holds or closed is not None:
                _settle(outcome, None if holds else closed)
            else:
                self._conditions.append((condition, outcome))


def _settle(outcome: asyncio.Future[None], failure: Failure | None) -> None:
    if outcome.done():
        return
    if failure is None:
        outcome.set_result(None)
    else:
        outcome.set_exception(StudyroomError(failure))
