"""The presence bucket: compare-and-set writes, and the mirror, which is built anew whenever its watch breaks."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime

from studyroom.presence.ages import Ages
from studyroom.presence.fill import Fill
from studyroom.presence.leader import Leader
from studyroom.presence.reading import Change, Reading
from studyroom.presence.roster import Mirror
from studyroom.presence.watch import Watch
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Acknowledgement, Bus, BusError, BusUnavailable, Conflict, Message
from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import EXPECTED_SEQUENCE, TTL, purge
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.incarnation import Identity, Record, encode_record, rfc3339
from studyroom.shared.contract.presence import Entry

log = logs.get(__name__)

WRITE_TIMEOUT_SECONDS = 2.0
_STALLED_SECONDS = 10.0
"""A build to which nothing comes for so long is begun anew."""
_LITTLE_PENDING = 1000
"""With fewer changes to come a watch is at most a moment behind."""
_REBUILD_RETRY_SECONDS = 0.2
_LOOK_SECONDS = 0.25
_LOOKED_AT_SECONDS = 5.0
"""How often the stream is asked whether it is shorter than it was."""
_FULL_LOOKED_AT_SECONDS = 0.5
"""The same, while it seems to be too full for joins."""
_CONFIRMED_SECONDS = 0.3
"""A stream that seems to be shorter is asked again after this, before everything known of it is given up."""


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
        self._leader = Leader(bus)
        self._watch = Watch(bus, subjects.PRESENCE_STREAM, self._keys)
        self._ready = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._read = Reading(0, 0)
        self._identity = Identity()
        """Of the stream that the mirror was read from."""
        self._reached = 0
        """A gateway has heard a change of that stream with this sequence."""
        self._caught_up: datetime | None = None
        """When the mirror had everything, by NATS's clock; None when what it has is not to be relied on."""
        self.ages = Ages()
        self.fill = Fill()

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

    @property
    def resumable(self) -> bool:
        """If the watch is lost now, what was missed can be read without reading everything, for a while."""
        return self._caught_up is not None

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
        self.fill.wrote(len(value))
        if stored.sequence <= applied:
            # Not among those that were applied before: the stream has lost them.
            if self.mirror is mirror:
                self._invalidate("the stream is shorter than it was")
            raise BusUnavailable("the presence stream has lost its newest changes")
        return stored

    async def last_sequence(self, room: RoomId, user: UserId) -> int:
        """The key's last sequence as the stream's leader knows it; 0 when there is none. Raises BusError."""
        return await self._leader.last_sequence(subjects.presence_key(room, user))

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
        self._caught_up = None
        self._ready.clear()
        self._watch.invalidate(reason)

    async def check_reached(self, revision: int) -> None:
        """A gateway has heard the change with this sequence, in this epoch.

        Raises BusUnavailable when the stream is shorter than that; the mirror is then rebuilt, with another epoch.
        """
        if revision <= max(self.mirror.applied, self._reached):
            return
        epoch = self.epoch
        last = await self._leader.last()
        if last < revision and epoch == self.epoch:
            self._reached = revision
            self._invalidate("the stream is shorter than a gateway knows it")
            raise BusUnavailable("the presence stream has lost its newest changes")

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
        """Build the mirror, and bring it up to date or build it again whenever the watch is lost; never returns."""
        while True:
            self._ready.clear()
            try:
                resumed = await self._may_resume()
                await (self._resume() if resumed else self._build())
            except BusError as error:
                log.info("presence mirror not built, trying again", error=str(error))
                await asyncio.sleep(_REBUILD_RETRY_SECONDS)
                continue
            members, applied = self.mirror.member_count, self.mirror.applied
            log.info("presence mirror built", members=members, applied=applied, resumed=resumed)
            await self._wait_until_invalidated()

    async def _may_resume(self) -> bool:
        """What the mirror has is true of this stream, and every removal since has left a trace that is still there.

        Raises BusError.
        """
        caught_up, read = self._caught_up, self._read
        if caught_up is None or not read.committed_ns:
            return False
        info = await self._leader.info()
        marker_seconds = min(self._marker_ttl_seconds, info["config"].get("subject_delete_marker_ttl", 0) / 1e9)
        away_seconds = (datetime.fromisoformat(info["ts"]) - caught_up).total_seconds()
        if info["created"] != self._identity.created or not 0 <= away_seconds <= marker_seconds / 2:
            return False
        if info["state"]["messages"] < self.mirror.member_count:
            return False
        # The newest change that was read is there, so nothing was lost up to it, and nothing else is in its place.
        committed = await self._leader.committed(read.newest)
        if committed is None:
            return False
        return datetime.fromisoformat(committed) == datetime.fromisoformat(rfc3339(read.committed_ns))

    async def _resume(self) -> None:
        """Read what has changed since the watch was lost. Raises BusError; then the mirror has what was read of it."""
        reading, applied, record = self._read, self.mirror.applied, self._read.record
        reading.rewritten = False
        loaded = asyncio.Event()

        def apply(message: Message, sequence: int, pending: int) -> None:
            if sequence <= applied:
                reading.rewritten = True
            record = reading.take(message, sequence, pending, self._on_change)
            if record is not None:
                self._follow(record)
            if pending == 0 and not loaded.is_set():
                loaded.set()
            self._wake()

        created, waiting_changes, _, last = await self._watch.start(apply, after=reading.newest)
        if created != self._identity.created:
            self._caught_up = None
            raise BusUnavailable("the presence stream is another one")
        if waiting_changes:
            await self._until_loaded(loaded, reading)
        elif await self._leader.has_newer(self._keys, reading.newest):
            raise BusUnavailable("the consumer's server is behind the leader")
        else:
            self.mirror.catch_up(last)
        self._caught_up = None  # unless what follows says that it is the same stream, it is to be read anew
        if reading.rewritten and reading.record != record:
            raise BusUnavailable("another replica has begun a new epoch")
        await self._check_identity(self._identity, max(last, reading.newest), rewritten=reading.rewritten)
        self._ready.set()
        self._wake()
        self._on_rebuilt()

    async def _build(self) -> None:
        """A fresh watch into a fresh mirror: whatever the old one had and this one has not is gone."""
        reading = Reading(self._read.newest, self._read.newest_ns)
        fresh = reading.mirror
        loaded = asyncio.Event()

        def apply(message: Message, sequence: int, pending: int) -> None:
            record = reading.take(message, sequence, pending, self._on_change)
            if record is not None and self._read is reading:
                self._follow(record)
            if pending == 0 and not loaded.is_set():
                loaded.set()
            self._wake()

        created, waiting_changes, messages, last = await self._watch.start(apply)
        if waiting_changes:
            await self._until_loaded(loaded, reading)
        elif messages and await self._leader.has_newer(self._keys, 0):
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
            reading.forget_known()
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
            last = await self._leader.last()
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
            self._read.forget_known()
            self._reached = 0
            self.ages.forget()
            self._give_up_waiting()
            self._on_rebuilt()

    async def _until_loaded(self, loaded: asyncio.Event, reading: Reading) -> None:
        """Takes as long as it needs, if changes keep coming. Raises BusUnavailable."""
        waiting = [asyncio.create_task(loaded.wait()), asyncio.create_task(self._watch.broken.wait())]
        before = -1
        try:
            while before != reading.newest and not any(task.done() for task in waiting):
                before = reading.newest
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=_STALLED_SECONDS)
        finally:
            for task in waiting:
                task.cancel()
        if not loaded.is_set():
            raise BusUnavailable("the watch broke while it was read")

    async def _wait_until_invalidated(self) -> None:
        loop = asyncio.get_running_loop()
        await self._look_at_stream()
        looked_at = loop.time()
        while not self._watch.broken.is_set():
            self.ages.sample(self.mirror.applied, loop.time())
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._watch.broken.wait()
            except TimeoutError:
                self._watch.check_silence()
                full = not self.fill.takes_members(self.mirror.applied)
                if loop.time() >= looked_at + (_FULL_LOOKED_AT_SECONDS if full else _LOOKED_AT_SECONDS):
                    await self._look_at_stream()
                    looked_at = loop.time()

    async def _look_at_stream(self) -> None:
        applied = self.mirror.applied
        try:
            info = await self._leader.info()
        except BusError as error:
            log.info("the presence stream was not looked at", error=str(error))
            return
        state = info["state"]
        self.fill.looked(
            size_bytes=state["bytes"],
            max_bytes=info["config"].get("max_bytes", -1),
            messages=state["messages"],
            sequence=state["last_seq"],
        )
        if state["last_seq"] < applied:
            self._invalidate("the stream is shorter than it was")
        elif self._read.pending < _LITTLE_PENDING and not self._watch.broken.is_set():
            self._caught_up = datetime.fromisoformat(info["ts"])

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
