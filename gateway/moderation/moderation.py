"""Stores commands of moderators in the bucket of moderation, and follows the bucket on every gateway.

NATS republishes every change at most once. Each change has the next sequence of the bucket, so a gap shows. Every few
seconds the gateway also compares its position with the leader. When changes are missing, it reads them from the leader,
or the whole bucket if the last comparison was long ago. Until then the known commands stay in force. A consumer would
be simpler, but a client with the right to create consumers can let them deliver to any subject (docs/decisions/0014).

NATS sends no message when a ban expires. A bucket with delete markers would also take rollups, with which a gateway
could empty it (docs/decisions/0011). So every gateway computes the end of bans itself, by the clock of NATS.
"""

import asyncio
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from studyroom.gateway.moderation.commands import NEVER, Change, Commands
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError, Message
from studyroom.shared.chassis.nats.stored import subjects_of
from studyroom.shared.chassis.repairs import Repairs
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import SEQUENCE, TIME, TTL, is_removal, removal
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.moderation import Command, Target, target_of

log = logs.get(__name__)

_COMPARE_SECONDS = 5.0
_IN_FLIGHT_SECONDS = 0.3
_PAUSE_SECONDS = 0.2
"""Between attempts to read the bucket. It does not grow, because a ban should hold as soon as NATS answers again."""
_STORE_SECONDS = 2.0
_RECEIVED_SECONDS = 1.0
_LIFTED_SECONDS = 3600
_FORGOTTEN_SECONDS = 120
_LONGEST_SECONDS = 100 * 365 * 86_400
"""A longer time counts as this."""
_CLOCK_ACCURACY_SECONDS = 1.0
_TRACES_SECONDS = 30.0
"""The marker of a lifted command stays for longer than this: for a minute, with the shortest setting."""


class Moderation:
    def __init__(
        self,
        bus: Bus,
        tasks: Tasks,
        carry_out: Callable[[Target], None],
        *,
        chat_incarnation: Callable[[str], None] = lambda _event: None,
    ) -> None:
        """Calls `carry_out` once for each command, also for those from a time when this gateway was disconnected.

        Calls `chat_incarnation` with the subject of the event when a gateway has found that a stream of chat is shorter
        than it was.
        """
        self._bus = bus
        self._carry_out = carry_out
        self._chat_incarnation = chat_incarnation
        self._commands = Commands()
        self._created = ""
        """The creation time of the bucket, which identifies it. Empty until the bucket was read."""
        self._clock = _Clock()
        self._known_at = 0.0
        """When all stored changes were last known here (monotonic seconds)."""
        self._shorter = False
        """The bucket seems to have lost changes that are known here."""
        self._loading = False
        self._early: list[Change] = []
        """Changes that came while the bucket was being read."""
        self._repairs = Repairs[None](
            tasks.spawn,
            "moderation",
            self._load,
            failures=(BusError,),
            pause_seconds=(_PAUSE_SECONDS, _PAUSE_SECONDS),
        )
        self._moved = asyncio.Event()

    async def start(self) -> None:
        """Returns when all commands in the bucket are known."""
        await self._bus.subscribe(subjects.MODERATION_EVENTS, self._on_event)
        self._bus.on_reconnected(self._on_reconnected)
        await self._invalidate()
        if not self._created:
            raise RuntimeError("the bucket of moderation was not read: no ban would hold")

    async def run(self) -> None:
        """Compare with the leader every few seconds. Never returns."""
        await self._repairs.run(self._compare, every_seconds=_COMPARE_SECONDS)

    def _invalidate(self) -> asyncio.Task[None]:
        """Changes may be missing here: read them."""
        return self._repairs.invalidate(None)

    # --- bans ---------------------------------------------------------------------------------------------

    def ban_of(self, user: UserId, room: RoomId | None = None) -> Command | None:
        """The ban from the whole service, or from the room; None if there is none."""
        return self._commands.ban_of(user, room, now=self._clock.now()) if self._commands.has_bans else None

    def known_bans(self, user: UserId) -> list[RoomId | None]:
        """The rooms from which this gateway keeps the user out, as far as it knows; None for the whole service."""
        return [room for banned, room in self._commands.bans(now=self._clock.now()) if banned == user]

    async def bans(self) -> dict[tuple[UserId, RoomId | None], Command]:
        """All bans that the leader has now. Raises BusError. Bound it with a timeout."""
        position = self._commands.position
        state = await self._state()
        if state.is_behind(self._created, position):
            self._suspect()
        await self._reached(state.last, state.created)
        return self._commands.bans(now=self._clock.now())

    # --- commands -----------------------------------------------------------------------------------------

    async def command(self, target: Target, command: Command, *, ttl_seconds: int) -> None:
        """Store a command. When this returns, every gateway will carry it out. Raises BusError."""
        await self._store(target, command.encode(), {TTL: str(ttl_seconds)})

    async def lift(self, target: Target) -> None:
        """Lift a command. Succeeds also if there is none. Raises BusError."""
        await self._store(target, b"", removal(_LIFTED_SECONDS))

    async def targets(self, pattern: str) -> list[Target]:
        """The targets of all stored commands whose keys match, also of those that have been lifted. Raises BusError.

        `pattern`: see `subjects.moderation_key`, with `*` for any user, room or kind.
        """
        keys = await subjects_of(self._bus, subjects.MODERATION_STREAM, pattern)
        return [target for target in map(_target, keys) if target is not None]

    async def forget(self, target: Target, *, until: datetime | None = None) -> bool:
        """Lift a command and leave no trace of it, but for two minutes. Returns whether there was one, or a trace.

        A gateway that is cut off for longer reads the whole bucket (`_TRACES_SECONDS`). `until`: a command that was
        stored later stays. Raises BusError.
        """
        message = await self._bus.stored(subjects.MODERATION_STREAM, {"last_by_subj": target.key})
        if message is None or (until is not None and datetime.fromisoformat(message["time"]) > until):
            return False
        headers = _headers(message)
        if is_removal(headers) and (_seconds(headers, None) or _LIFTED_SECONDS) <= _FORGOTTEN_SECONDS:
            return False
        await self._store(target, b"", removal(_FORGOTTEN_SECONDS))
        return True

    async def _store(self, target: Target, data: bytes, headers: dict[str, str]) -> None:
        position = self._commands.position
        stored = await self._bus.store(target.key, data, headers, timeout_seconds=_STORE_SECONDS)
        if stored.sequence <= position:
            self._suspect()
        # The command is stored. Wait a little, so that the next request to this gateway already sees it.
        with suppress(TimeoutError):
            async with asyncio.timeout(_RECEIVED_SECONDS):
                await self._reached(stored.sequence)

    async def _reached(self, sequence: int, created: str | None = None) -> None:
        """Returns when all changes up to a sequence are known. `created`: that of the bucket; None for the present."""
        while self._shorter or self._commands.position < sequence or created not in {None, self._created}:
            try:
                async with asyncio.timeout(_IN_FLIGHT_SECONDS):
                    await self._moved.wait()
            except TimeoutError:
                self._invalidate()

    # --- the mirror ---------------------------------------------------------------------------------------

    def _suspect(self) -> None:
        """The bucket has lost known changes, so read all of it."""
        self._shorter = True
        self._invalidate()

    def _on_event(self, message: Message) -> None:
        if subjects.is_chat_incarnation(message.subject):
            self._chat_incarnation(message.subject)
        headers = message.headers or {}
        change = _change(message.subject, int(headers[SEQUENCE]), message.data, headers[TIME], headers)
        if change is None:
            self._invalidate()
        elif self._loading:
            self._early.append(change)
        else:
            self._take_change(change)

    def _take_change(self, change: Change) -> None:
        if change.sequence <= self._commands.position:
            if self._commands.is_rewritten(change):
                self._suspect()
            return
        if change.sequence > self._commands.position + 1:
            self._invalidate()
            return
        self._take([change], change.sequence)

    def _take(self, changes: list[Change], up_to: int, *, shorter: bool = False) -> None:
        targets = self._commands.take(changes, up_to, shorter=shorter)
        self._moved.set()
        self._moved = asyncio.Event()
        for target in targets:
            self._carry_out(target)

    async def _load(self, _: None) -> None:
        """Read new changes, or the whole bucket if the marker of a lifted command may be gone. Raises BusError."""
        self._loading = True
        self._early.clear()
        try:
            now = time.monotonic()
            state = await self._state()
            replaced = state.created != self._created
            shorter = not replaced and (self._shorter or await self._is_shorter(state))
            everything = replaced or shorter or now - self._known_at > _TRACES_SECONDS
            changes, up_to = await self._read(1 if everything else self._commands.position + 1)
        finally:
            self._loading = False
        if shorter:
            log.error("the bucket of moderation has lost its newest changes", last=state.last)
        if everything:
            self._commands.forget(replaced=replaced)
        self._created, self._known_at, self._shorter = state.created, now, False
        self._take(changes, max(state.last, up_to), shorter=shorter)
        for change in self._early:
            self._take_change(change)

    async def _is_shorter(self, state: "_State") -> bool:
        """Whether the bucket has lost known changes. Raises BusError."""
        sequence, committed = self._commands.newest
        if state.last < self._commands.position or not sequence:
            return state.last < self._commands.position
        found = await self._bus.stored(subjects.MODERATION_STREAM, {"seq": sequence})
        return found is not None and datetime.fromisoformat(found["time"]) > committed

    async def _read(self, sequence: int) -> tuple[list[Change], int]:
        """The changes from a sequence on, and the sequence up to which they are complete. Raises BusError."""
        changes = []
        while (found := await self._message_from(sequence)) is not None:
            sequence, change = found
            if change is not None:
                changes.append(change)
            sequence += 1
        return changes, sequence - 1

    async def _message_from(self, sequence: int) -> tuple[int, Change | None] | None:
        """The first message from this sequence on, from the leader; None if there is none. Raises BusError."""
        message = await self._bus.stored(
            subjects.MODERATION_STREAM, {"seq": sequence, "next_by_subj": subjects.MODERATION_KEYS}
        )
        if message is None:
            return None
        data, headers = b64decode(message.get("data", "")), _headers(message)
        return message["seq"], _change(message["subject"], message["seq"], data, message["time"], headers)

    async def _state(self) -> "_State":
        """The state of the bucket, from the leader. Raises BusError."""
        requested_at = time.monotonic()
        info = await self._bus.stream_info(subjects.MODERATION_STREAM)
        self._clock.set(datetime.fromisoformat(info["ts"]), requested_at)
        return _State(info["created"], info["state"]["last_seq"])

    async def _compare(self) -> None:
        if None in self._repairs:
            return
        try:
            behind = await self._is_behind()
        except BusError as error:
            log.info("failed to compare the bucket of moderation", error=str(error))
            behind = True  # a repair tries again at once; the next comparison would come in some seconds
        if behind:
            self._invalidate()

    async def _is_behind(self) -> bool:
        """Whether the bucket has other changes than are known here. Raises BusError."""
        now, position = time.monotonic(), self._commands.position
        state = await self._state()
        if state.is_behind(self._created, position):
            return True
        if state.created == self._created and state.last > self._commands.position:
            await asyncio.sleep(_IN_FLIGHT_SECONDS)
        if state.created != self._created or state.last > self._commands.position:
            return True
        self._known_at = now
        return False

    async def _on_reconnected(self) -> None:
        self._invalidate()


class _State(NamedTuple):
    created: str
    """The creation time of the bucket, which identifies it."""
    last: int

    def is_behind(self, created: str, position: int) -> bool:
        """Whether the bucket has lost known changes. `position`: from before this state was requested."""
        return self.created == created and self.last < position


class _Clock:
    """The clock of NATS, by which it expires keys. The clock of this machine may be wrong."""

    def __init__(self) -> None:
        self._set_to = NEVER
        self._set_at = 0.0

    def set(self, time_of_reply: datetime, requested_at: float) -> None:
        """Take the time from a reply of NATS. `requested_at`: monotonic seconds. A slow reply is ignored."""
        now = time.monotonic()
        if self._set_to == NEVER or now - requested_at <= _CLOCK_ACCURACY_SECONDS:
            self._set_to, self._set_at = time_of_reply, now

    def now(self) -> datetime:
        return self._set_to + timedelta(seconds=time.monotonic() - self._set_at)


def _headers(message: Mapping[str, Any]) -> dict[str, str]:
    """The headers in an answer to `STREAM.MSG.GET`."""
    lines = b64decode(message.get("hdrs", "")).decode().splitlines()
    return {name: value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}


def _target(key: str) -> Target | None:
    """None for a key that is not about a user, such as a record about a stream of chat."""
    try:
        return target_of(key)
    except ValueError:
        return None


def _change(subject: str, sequence: int, data: bytes, committed: str, headers: Mapping[str, str]) -> Change | None:
    """None for a malformed change, and for a record about a stream of chat, which is in the same bucket."""
    if subjects.is_chat_incarnation(subject):
        return None
    try:
        command = None if is_removal(headers) else Command.decode(data)
        return Change(
            sequence, target_of(subject), command, datetime.fromisoformat(committed), _seconds(headers, command)
        )
    except ValueError as error:
        log.error("malformed change in the bucket of moderation", subject=subject, error=str(error))
        return None


def _seconds(headers: Mapping[str, str], command: Command | None) -> int | None:
    """How long NATS keeps the change; None for ever."""
    ttl = headers.get(TTL, "")
    seconds = int(ttl) if ttl.isascii() and ttl.isdecimal() else command.seconds if command is not None else None
    return None if seconds is None else min(seconds, _LONGEST_SECONDS)
