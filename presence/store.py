"""The presence bucket: compare-and-set writes, and the mirror, which is built anew whenever its watch breaks."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field

from pydantic import ValidationError

from presence.ages import Ages
from presence.roster import Mirror
from presence.watch import Watch, committed_ns
from services import logs
from services.bus import Acknowledgement, ApiError, Bus, BusError, BusUnavailable, Conflict, Message
from shared import subjects
from shared.headers import EXPECTED_SEQUENCE, TTL, is_removal, purge
from shared.ids import RoomId, UserId
from shared.incarnation import Identity, Record, encode_record, rfc3339
from shared.presence import Entry

log = logs.get(__name__)

WRITE_TIMEOUT_SECONDS = 2.0
_LOAD_SECONDS = 60.0
_REBUILD_RETRY_SECONDS = 0.2
_LOOK_SECONDS = 0.25
_NO_MESSAGE_FOUND = 10037
_LOOKED_AT_SECONDS = 5.0
"""How often the stream is asked whether it is shorter than it was."""
_CONFIRMED_SECONDS = 0.3
"""A stream that seems to be shorter is asked again after this, before everything known of it is given up."""


Change = Callable[[RoomId, UserId, int, Entry | None], None]
"""Room, user, stream sequence, and the entry or None for a removal."""


@dataclass(slots=True)
class _Reading:
    """What one watch has delivered."""

    known: int
    """Sequence of the newest change that was delivered by the watch before."""
    known_ns: int
    """The latest commit of all that was, Unix nanoseconds."""
    mirror: Mirror = field(default_factory=Mirror)
    record: Record | None = None
    newest: int = 0
    newest_ns: int = 0
    rewritten: bool = False
    """A change has a sequence that another one had before: it was committed later than all up to there."""

    def keep_known(self) -> None:
        """The stream is the one of the watch before."""
        self.newest, self.newest_ns = max(self.newest, self.known), max(self.newest_ns, self.known_ns)

    def take(self, message: Message, sequence: int, on_change: Change) -> Record | None:
        """Take a change in. The record, when it is one about the stream."""
        committed = committed_ns(message.reply)
        self.newest, self.newest_ns = sequence, max(self.newest_ns, committed)
        self.rewritten = self.rewritten or (sequence <= self.known and committed > self.known_ns)
        removed = is_removal(message.headers or {})
        if message.subject == subjects.PRESENCE_INCARNATION:
            self.record = Record.decode(b"" if removed else message.data, sequence, rfc3339(committed))
            return self.record
        room, user, entry = _read(message, sequence, removed=removed)
        if entry is None:
            self.mirror.remove(room, user, sequence)
        else:
            self.mirror.put(room, user, entry, sequence)
        on_change(room, user, sequence, entry)
        return None


class Store:
    """Writes and watches the presence bucket."""

    def __init__(
        self,
        bus: Bus,
        *,
        shards: Collection[int],
        marker_ttl_seconds: int,
        on_rebuilt: Callable[[], None] = lambda: None,
        on_change: Change = lambda _room, _user, _sequence, _entry: None,
    ) -> None:
        """`on_change` is called for every change that is read, old ones too when the mirror is built."""
        self._bus = bus
        self._marker_ttl_seconds = marker_ttl_seconds
        self._on_rebuilt = on_rebuilt
        self._on_change = on_change
        self.shards = frozenset(shards)
        self._keys = [
            *subjects.of_shards(subjects.presence_keys_of_shard, self.shards),
            subjects.PRESENCE_INCARNATION,
        ]
        self._watch = Watch(bus, subjects.PRESENCE_STREAM, self._keys)
        self._ready = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._read = _Reading(0, 0)
        self._identity = Identity()
        """Of the stream that the mirror was read from."""
        self._reached = 0
        """A gateway has heard a change of that stream with this sequence."""
        self.ages = Ages()

    @property
    def mirror(self) -> Mirror:
        return self._read.mirror

    @property
    def epoch(self) -> str:
        """Identity of the stream the mirror was read from (RFC 3339); empty before one was."""
        return self._identity.epoch

    @property
    def ready(self) -> bool:
        return self._ready.is_set() and self._bus.connected

    async def wait_ready(self) -> None:
        await self._ready.wait()

    # --- writes -------------------------------------------------------------------------------------------

    async def put(
        self, room: RoomId, user: UserId, entry: Entry, *, expected: int, ttl_seconds: int | None = None
    ) -> Acknowledgement:
        """Raises Conflict when the key's last sequence is not `expected`, or BusUnavailable.

        With a TTL, NATS removes the entry by itself unless it is put again in time.
        """
        headers = {EXPECTED_SEQUENCE: str(expected)}
        if ttl_seconds is not None:
            headers[TTL] = str(ttl_seconds)
        return await self._write(room, user, entry.encode(), headers)

    async def purge(self, room: RoomId, user: UserId, *, expected: int) -> Acknowledgement:
        """Remove a key, with one event and nothing left behind once the marker's TTL is over. Raises as `put`."""
        headers = {**purge(self._marker_ttl_seconds), EXPECTED_SEQUENCE: str(expected)}
        return await self._write(room, user, b"", headers)

    async def _write(self, room: RoomId, user: UserId, value: bytes, headers: dict[str, str]) -> Acknowledgement:
        mirror, applied = self.mirror, self.mirror.applied
        key = subjects.presence_key(room, user)
        stored = await self._bus.store(key, value, headers, timeout_seconds=WRITE_TIMEOUT_SECONDS)
        if stored.sequence <= applied:
            # Not among those that were applied before: the stream has lost them.
            if self.mirror is mirror:
                self._invalidate("the stream is shorter than it was")
            raise BusUnavailable("the presence stream has lost its newest changes")
        return stored

    async def last_sequence(self, room: RoomId, user: UserId) -> int:
        """The key's last sequence as the stream's leader knows it; 0 when there is none. Raises BusError."""
        return await self._last_sequence(subjects.presence_key(room, user))

    async def _is_behind(self) -> bool:
        """The leader has changes of our shards, of which the watch knows none."""
        return any([await self._last_sequence(keys) for keys in self._keys])

    async def _last_sequence(self, key: str) -> int:
        """`key`: a subject, wildcards allowed."""
        try:
            answer = await self._bus.api(
                f"STREAM.MSG.GET.{subjects.PRESENCE_STREAM}",
                {"last_by_subj": key},
                timeout_seconds=WRITE_TIMEOUT_SECONDS,
            )
        except ApiError as error:
            if error.code == _NO_MESSAGE_FOUND:
                return 0
            raise
        sequence: int = answer["message"]["seq"]
        return sequence

    async def catch_up(self, room: RoomId, user: UserId) -> None:
        """Make the mirror's view of one key at least as new as the leader's now. Raises BusError."""
        before = self.mirror.last_sequence(room, user)
        last = await self.last_sequence(room, user)
        if last > self.mirror.applied:
            await self.wait_applied(last)
        elif last == before or self.mirror.last_sequence(room, user) != before:
            return
        elif self.mirror.entry(room, user) is None:
            self.mirror.correct_marker(room, user, last)
        else:
            # Somebody changed the stream behind our back, an operator's purge for example.
            self._invalidate("the mirror has a member that the stream has not")
            raise BusUnavailable("the mirror is being rebuilt")

    def _invalidate(self, reason: str) -> None:
        """Answer no requests until the mirror has been rebuilt."""
        self._ready.clear()
        self._watch.doubt(reason)

    async def check_reached(self, revision: int) -> None:
        """A gateway has heard the change with this sequence, in this epoch.

        Raises BusUnavailable when the stream is shorter than that; the mirror is then rebuilt, with another epoch.
        """
        if revision <= max(self.mirror.applied, self._reached):
            return
        epoch = self.epoch
        last = await self._stream_last()
        if last < revision and epoch == self.epoch:
            self._reached = revision
            self._invalidate("the stream is shorter than a gateway knows it")
            raise BusUnavailable("the presence stream has lost its newest changes")

    async def _stream_last(self) -> int:
        """The stream's last sequence as its leader knows it. Raises BusError."""
        state = (await self._bus.api(f"STREAM.INFO.{subjects.PRESENCE_STREAM}"))["state"]
        last: int = state["last_seq"]
        return last

    # --- the mirror ---------------------------------------------------------------------------------------

    async def wait_applied(self, sequence: int) -> None:
        """Returns when the mirror contains the change with this stream sequence.

        Raises BusUnavailable when the stream is replaced meanwhile: its sequences mean nothing then.
        """
        if self._ready.is_set() and self.mirror.applied >= sequence:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((sequence, future))
        await future

    async def keep(self) -> None:
        """Build the mirror, and build it again after any doubt; never returns."""
        while True:
            self._ready.clear()
            try:
                await self._build()
            except BusError as error:
                log.info("presence mirror not built, trying again", error=str(error))
                await asyncio.sleep(_REBUILD_RETRY_SECONDS)
                continue
            log.info("presence mirror built", members=self.mirror.member_count, applied=self.mirror.applied)
            await self._wait_for_doubt()

    async def _build(self) -> None:
        """A fresh watch into a fresh mirror: whatever the old one had and this one has not is gone."""
        reading = _Reading(self._read.newest, self._read.newest_ns)
        fresh = reading.mirror
        loaded = asyncio.Event()

        def apply(message: Message, sequence: int, pending: int) -> None:
            record = reading.take(message, sequence, self._on_change)
            if record is not None and self._read is reading:
                self._follow(record)
            if pending == 0 and not loaded.is_set():
                loaded.set()
            self._wake()

        created, waiting_changes, messages, last = await self._watch.start(apply)
        if waiting_changes:
            await self._until_loaded(loaded)
        elif messages and await self._is_behind():
            raise BusUnavailable("the consumer's server is behind the leader")
        else:
            fresh.catch_up(last)
        if reading.record is not None:
            fresh.catch_up(reading.record.sequence)
        await self._check_identity(Identity(created, reading.record), last, rewritten=reading.rewritten)
        identity = Identity(created, reading.record)
        if identity.epoch == self.epoch:
            fresh.inherit_cursors(self.mirror)
            reading.keep_known()
        else:
            self.ages.forget()
            self._give_up_waiting()
            self._reached = 0
        self._read, self._identity = reading, identity
        self._ready.set()
        self._wake()
        self._on_rebuilt()

    # --- the stream's identity ----------------------------------------------------------------------------

    async def _check_identity(self, found: Identity, last: int, *, rewritten: bool) -> None:
        """Raises BusUnavailable when the stream has lost changes that were known of it.

        Then there is a new record of that, by which all replicas and gateways see that it is another one.
        `last`: its last sequence when the watch began. `rewritten`: something newer has a sequence from before.
        """
        known = self._identity
        if found.created != known.created:
            return
        lacking = found.lacks(known)
        if found.epoch != known.epoch and not lacking:
            return  # somebody else has noticed
        reached = max(self.mirror.applied, self._reached)
        if last < reached and not (lacking or rewritten):
            await asyncio.sleep(_CONFIRMED_SECONDS)
            last = await self._stream_last()
        if not (lacking or rewritten or last < reached):
            return
        log.error("the presence stream has lost its newest changes", last=last, known=reached)
        with suppress(Conflict):  # another replica has noticed, too
            await self._bus.store(
                subjects.PRESENCE_INCARNATION,
                encode_record(found.created),
                {EXPECTED_SEQUENCE: str(found.expected)},
                timeout_seconds=WRITE_TIMEOUT_SECONDS,
            )
        raise BusUnavailable("the presence stream begins a new epoch")

    def _follow(self, record: Record) -> None:
        """A replica has found that the stream is shorter than it was."""
        if record.sequence <= self.mirror.applied:
            self._invalidate("the stream is shorter than it was")
            return
        self.mirror.catch_up(record.sequence)
        before, self._identity = self.epoch, Identity(self._identity.created, record)
        if self.epoch != before:
            self._reached = 0
            self.ages.forget()
            self._give_up_waiting()
            self._on_rebuilt()

    async def _until_loaded(self, loaded: asyncio.Event) -> None:
        waiting = [asyncio.create_task(loaded.wait()), asyncio.create_task(self._watch.broken.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=_LOAD_SECONDS)
        finally:
            for task in waiting:
                task.cancel()
        if not loaded.is_set():
            raise BusUnavailable("the watch broke while it was read")

    async def _wait_for_doubt(self) -> None:
        loop = asyncio.get_running_loop()
        look_at = loop.time() + _LOOKED_AT_SECONDS
        while not self._watch.broken.is_set():
            self.ages.sample(self.mirror.applied, loop.time())
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._watch.broken.wait()
            except TimeoutError:
                self._watch.check_silence()
                if loop.time() >= look_at:
                    await self._look_at_stream()
                    look_at = loop.time() + _LOOKED_AT_SECONDS

    async def _look_at_stream(self) -> None:
        applied = self.mirror.applied
        try:
            last = await self._stream_last()
        except BusError as error:
            log.info("the presence stream was not looked at", error=str(error))
            return
        if last < applied:
            self._invalidate("the stream is shorter than it was")

    def _give_up_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(BusUnavailable("the presence stream was replaced"))

    def _wake(self) -> None:
        if not self._waiting or not self._ready.is_set():
            return
        applied = self.mirror.applied
        still_waiting = []
        for sequence, future in self._waiting:
            if sequence > applied:
                still_waiting.append((sequence, future))
            elif not future.done():
                future.set_result(None)
        self._waiting = still_waiting


def _read(message: Message, sequence: int, *, removed: bool) -> tuple[RoomId, UserId, Entry | None]:
    room, user = subjects.parse_presence_key(message.subject)
    if removed:
        return room, user, None
    try:
        return room, user, Entry.decode(message.data)
    except ValidationError:
        log.error("an entry in the presence bucket is not ours", subject=message.subject, sequence=sequence)
        return room, user, None
