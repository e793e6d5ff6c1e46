"""Prepares the chat for a join: the missed messages for a client that resumes, otherwise the newest ones."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from studyroom.gateway.chat.backfill import Backfill
from studyroom.gateway.chat.stream import ChatStream, Trimmed
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.history import Resumption, Stored
from studyroom.gateway.rooms.room import Room
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.messages import JoinRoomPayload

log = logs.get(__name__)

_RETRY_SECONDS = 0.1


class Result(StrEnum):
    RECOVERED = "recovered"
    OTHER_EPOCH = "other_epoch"
    """The client's position belongs to another stream."""
    TRIMMED = "trimmed"
    """The missed messages are not all stored any more, or exceed the limits of a resume."""
    ERASED = "erased"
    """Something was erased meanwhile that the client cannot take back."""
    UNKNOWN_POSITION = "unknown_position"
    """The stream has not reached the client's position."""


@dataclass(slots=True)
class _Missed:
    """All messages of the room after `since`, up to `up_to`."""

    since: int
    up_to: int
    messages: list[Stored] = field(default_factory=list)


class Resumes:
    def __init__(
        self,
        streams: ByGroup[ChatStream],
        backfills: ByGroup[Backfill],
        metrics: GatewayMetrics,
        *,
        at_most: int,
        max_bytes: int,
    ) -> None:
        """`at_most`, `max_bytes`: limits on the missed messages. If there are more, the resume fails."""
        self._streams = streams
        self._backfills = backfills
        self._at_most = at_most
        self._max_bytes = max_bytes
        self._metrics = metrics

    def expect(self, room: Room) -> None:
        """A client joins the room. It will need the chat, so the room takes its position in the stream meanwhile."""
        if room.history.position is None:
            self._backfills.of(room.id).gap(room)

    async def prepare(self, room: Room, join: JoinRoomPayload, *, patience_seconds: float) -> Resumption:
        """Read the chat for a join. The caller must admit the client before it awaits again, or messages are missed.

        If the history cannot be read within `patience_seconds`, a client that does not resume gets none now and the
        messages later. For a client that resumes this retries for ever, so bound it with a timeout. Cancellation
        changes nothing.
        """
        if join.since is None:
            try:
                async with asyncio.timeout(patience_seconds):
                    await self._backfills.of(room.id).ready(room)
            except TimeoutError:
                log.warning("a client joins without history, which cannot be read now", room=room.id)
            return Resumption()
        while True:
            try:
                outcome = await self._resume(room, join.since, join.epoch)
            except BusError as error:
                log.info("failed to read missed chat for a resume, trying again", error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if not isinstance(outcome, _Missed):
                self._metrics.resumes.labels(result=outcome).inc()
                return Resumption(recovered=False)
            self._metrics.resumes.labels(result=Result.RECOVERED).inc()
            return Resumption(recovered=True, since=outcome.up_to, missed=outcome.messages)

    async def _resume(self, room: Room, since: int, epoch: str | None) -> _Missed | Result:
        """Raises BusError."""
        missed = _Missed(since, since)
        while True:
            await self._backfills.of(room.id).ready(room)
            if epoch != room.chat_epoch:
                return Result.OTHER_EPOCH
            position = room.history.position
            if position is None:
                continue
            if position < since and not await self._backfills.of(room.id).reach(room, since):
                return Result.UNKNOWN_POSITION if epoch == room.chat_epoch else Result.OTHER_EPOCH
            if room.history.position is None or epoch != room.chat_epoch:
                continue
            if missed.up_to >= room.history.reach:
                if _begins_again(missed, room):
                    return Result.ERASED
                return missed if self._fits(missed, room) else Result.TRIMMED
            try:
                await self._fetch(room, missed)
            except Trimmed:
                return Result.TRIMMED

    async def _fetch(self, room: Room, missed: _Missed) -> None:
        """Raises Trimmed or BusError."""
        up_to = room.history.position or 0
        remaining = self._at_most - len(missed.messages)
        found = await self._streams.of(room.id).after(room.id, missed.up_to, up_to=up_to, at_most=remaining)
        missed.messages += found
        missed.up_to = max(up_to, found[-1].sequence if found else 0)

    def _fits(self, missed: _Missed, room: Room) -> bool:
        messages = [*missed.messages, *room.history.after(missed.up_to)]
        size = sum(len(stored.ready) for stored in messages)
        return len(messages) <= self._at_most and size <= self._max_bytes


def _begins_again(missed: _Missed, room: Room) -> bool:
    return any(stored.resets for stored in (*missed.messages, *room.history.after(missed.up_to)))
