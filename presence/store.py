"""The presence bucket of a group of shards: compare-and-set writes, and a mirror, rebuilt when its watch breaks."""

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime

from studyroom.presence.capacity import BucketCapacity
from studyroom.presence.commit_times import CommitTimes
from studyroom.presence.leader import Leader
from studyroom.presence.replay import OnChange, Replay
from studyroom.presence.roster import Mirror
from studyroom.presence.waiters import Waiters
from studyroom.presence.watch import Watch
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Acknowledgement, Bus, BusError, BusUnavailable, Message
from studyroom.shared.chassis.nats.incarnations import Incarnations
from studyroom.shared.contract import subjects
from studyroom.shared.contract.groups import Group
from studyroom.shared.contract.headers import ENDED, EXPECTED_SEQUENCE, TTL, purge
from studyroom.shared.contract.ids import MembershipId, RoomId, UserId
from studyroom.shared.contract.incarnation import Identity, Record, rfc3339
from studyroom.shared.contract.presence import Entry

log = logs.get(__name__)

WRITE_TIMEOUT_SECONDS = 2.0
_STALLED_SECONDS = 10.0
"""A build that receives nothing for so long starts again."""
_LITTLE_PENDING = 1000
"""With fewer pending changes, a watch is at most a moment behind the stream."""
_REBUILD_RETRY_SECONDS = 0.2
_LOOK_SECONDS = 0.25
_LOOKED_AT_SECONDS = 5.0
"""How often this replica asks NATS for the size and the last sequence of the stream."""
_FULL_LOOKED_AT_SECONDS = 0.5
"""The same, while the stream seems too full for joins."""
_CONFIRMED_SECONDS = 0.3
"""If the stream seems shorter than before, this replica asks again after this time before it starts a new epoch."""


class Store:
    """Writes and watches the presence bucket of one group, as far as this replica serves its shards."""

    def __init__(
        self,
        bus: Bus,
        *,
        shards: Collection[int],
        marker_ttl_seconds: int,
        group: Group | None = None,
        on_rebuilt: Callable[[], None] = lambda: None,
        on_change: OnChange = lambda _room, _user, _sequence, _entry: None,
    ) -> None:
        """Create it. It calls `on_change` for every change that it reads, also for old ones during a build."""
        self.group = group or Group()
        self._bus = bus
        self._marker_ttl_seconds = marker_ttl_seconds
        self._on_rebuilt = on_rebuilt
        self._on_change = on_change
        self.shards = frozenset(shards)
        keys = subjects.of_shards(subjects.presence_keys_of_shard, self.shards)
        self._keys = [*keys, self.group.presence_incarnation]
        self._leader = Leader(bus, self.group.presence_stream)
        stream, record = self.group.presence_stream, self.group.presence_incarnation
        self._incarnations = Incarnations(bus, stream, record=record, records=stream)
        self._watch = Watch(bus, self.group.presence_stream, self._keys)
        self._ready = asyncio.Event()
        self._waiters = Waiters()
        self._read = Replay(0, 0, self.group.presence_incarnation)
        self._identity = Identity()
        """The identity of the stream that the mirror was read from."""
        self._reached = 0
        """The highest sequence of that stream that a gateway reported and the stream did not have."""
        self._caught_up: datetime | None = None
        """When the mirror last had every change, by NATS's clock; None if the mirror may be wrong."""
        self.commit_times = CommitTimes()
        self.capacity = BucketCapacity()

    @property
    def mirror(self) -> Mirror:
        return self._read.mirror

    @property
    def epoch(self) -> str:
        """The epoch of the stream that the mirror was read from (RFC 3339); empty before the first build."""
        return self._identity.epoch

    @property
    def ready(self) -> bool:
        return self._ready.is_set() and self._bus.connected

    @property
    def resumable(self) -> bool:
        """Whether the mirror could be brought up to date after a broken watch, instead of being rebuilt."""
        return self._caught_up is not None

    async def wait_ready(self) -> None:
        await self._ready.wait()

    # --- writes -------------------------------------------------------------------------------------------

    async def put(
        self,
        room: RoomId,
        user: UserId,
        entry: Entry,
        *,
        expected: int,
        ttl_seconds: int | None = None,
        ended: MembershipId | None = None,
    ) -> Acknowledgement:
        """Write an entry. With a TTL, NATS removes it unless it is written again in time.

        `ended`: the membership whose leave is the cause. All replicas remember that it has ended.

        Raises Conflict if the key's last sequence is not `expected`, StorageFull, and other BusErrors.
        """
        headers = {EXPECTED_SEQUENCE: str(expected)}
        if ttl_seconds is not None:
            headers[TTL] = str(ttl_seconds)
        return await self._write(room, user, entry.encode(), headers, ended)

    async def purge(
        self, room: RoomId, user: UserId, *, expected: int, ended: MembershipId | None = None
    ) -> Acknowledgement:
        """Remove a key with one event. NATS drops the delete marker after its TTL.

        `ended` and the errors are those of `put`.
        """
        headers = {**purge(self._marker_ttl_seconds), EXPECTED_SEQUENCE: str(expected)}
        return await self._write(room, user, b"", headers, ended)

    async def _write(
        self, room: RoomId, user: UserId, value: bytes, headers: dict[str, str], ended: MembershipId | None
    ) -> Acknowledgement:
        if ended is not None:
            headers[ENDED] = ended
        mirror, applied = self.mirror, self.mirror.applied
        key = subjects.presence_key(room, user)
        stored = await self._bus.store(key, value, headers, timeout_seconds=WRITE_TIMEOUT_SECONDS)
        self.capacity.count_write(len(value))
        if stored.sequence <= applied:
            # The mirror had a change with this sequence before the write, so the stream has lost that change.
            if self.mirror is mirror:
                self._invalidate("the stream is shorter than it was")
            raise BusUnavailable("the presence stream has lost its newest changes")
        return stored

    async def last_sequence(self, room: RoomId, user: UserId) -> int:
        """Return the key's last sequence according to the stream's leader, 0 if there is none. Raises BusError."""
        return await self._leader.last_sequence(subjects.presence_key(room, user))

    async def catch_up(self, room: RoomId, user: UserId) -> None:
        """Wait until the mirror has the leader's last change of one key. Raises BusError."""
        before = self.mirror.last_sequence(room, user)
        last = await self.last_sequence(room, user)
        if last > self.mirror.applied:
            await self.wait_applied(last)
        elif last == before or self.mirror.last_sequence(room, user) != before:
            return
        elif self.mirror.entry(room, user) is None:
            self.mirror.set_marker(room, user, last)
        else:
            # Something else has changed the stream, such as an operator's purge.
            self._invalidate("the mirror has a member that the stream does not have")
            raise BusUnavailable("the mirror is being rebuilt")

    def _invalidate(self, reason: str) -> None:
        """Answer no requests until the mirror has been rebuilt."""
        self._caught_up = None
        self._ready.clear()
        self._watch.invalidate(reason)

    async def check_reached(self, revision: int) -> None:
        """Check that the stream has the change with this sequence, which a gateway has received in this epoch.

        Raises BusUnavailable if the stream is shorter. The mirror is then rebuilt, in a new epoch.
        """
        if revision <= max(self.mirror.applied, self._reached):
            return
        epoch = self.epoch
        last = await self._leader.last()
        if last < revision and epoch == self.epoch:
            self._reached = revision
            self._invalidate("the stream lacks changes that a gateway has received")
            raise BusUnavailable("the presence stream has lost its newest changes")

    # --- the mirror ---------------------------------------------------------------------------------------

    async def wait_applied(self, sequence: int) -> None:
        """Wait until the mirror contains the change with this stream sequence.

        Raises BusUnavailable if the stream is replaced meanwhile, because its sequences then mean nothing.
        """
        if self._ready.is_set() and self.mirror.applied >= sequence:
            return
        await self._waiters.wait(sequence)

    async def keep(self) -> None:
        """Build the mirror, and bring it up to date or rebuild it when the watch breaks, until cancelled."""
        stream = self.group.presence_stream
        while True:
            self._ready.clear()
            try:
                resumed = await self._may_resume()
                await (self._resume() if resumed else self._build())
            except BusError as error:
                log.info("could not build the presence mirror, trying again", stream=stream, error=str(error))
                await asyncio.sleep(_REBUILD_RETRY_SECONDS)
                continue
            members, applied = self.mirror.member_count, self.mirror.applied
            log.info("presence mirror built", stream=stream, members=members, applied=applied, resumed=resumed)
            await self._wait_until_invalidated()

    async def _may_resume(self) -> bool:
        """Return whether the mirror is of this stream, and the stream still has the markers of all removals since.

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
        # If the stream still has the newest change of the mirror, no change before it is lost or replaced.
        at = await self._leader.committed(read.newest)
        return at is not None and datetime.fromisoformat(at) == datetime.fromisoformat(rfc3339(read.committed_ns))

    async def _resume(self) -> None:
        """Read the changes since the watch broke. Raises BusError, with some of them applied already."""
        replay, applied, record = self._read, self.mirror.applied, self._read.record
        replay.rewritten = False
        loaded = asyncio.Event()

        def apply(message: Message, sequence: int, pending: int) -> None:
            if sequence <= applied:
                replay.rewritten = True
            record = replay.apply(message, sequence, pending, self._on_change)
            if record is not None:
                self._follow(record)
            if pending == 0 and not loaded.is_set():
                loaded.set()
            self._wake()

        created, waiting_changes, _, last = await self._watch.start(apply, after=replay.newest)
        if created != self._identity.created:
            self._caught_up = None
            raise BusUnavailable("the presence stream is another one")
        if waiting_changes:
            await self._until_loaded(loaded, replay)
        elif await self._leader.has_newer(self._keys, replay.newest):
            raise BusUnavailable("the consumer's server is behind the leader")
        else:
            self.mirror.catch_up(last)
        self._caught_up = None  # If the following checks fail, the mirror must be rebuilt.
        if replay.rewritten and replay.record != record:
            raise BusUnavailable("another replica has started a new epoch")
        await self._check_identity(self._identity, max(last, replay.newest), rewritten=replay.rewritten)
        self._ready.set()
        self._wake()
        self._on_rebuilt()

    async def _build(self) -> None:
        """Build a new mirror with a new watch, which drops everything that the old mirror has in excess."""
        replay = Replay(self._read.newest, self._read.newest_ns, self.group.presence_incarnation)
        fresh = replay.mirror
        loaded = asyncio.Event()

        def apply(message: Message, sequence: int, pending: int) -> None:
            record = replay.apply(message, sequence, pending, self._on_change)
            if record is not None and self._read is replay:
                self._follow(record)
            if pending == 0 and not loaded.is_set():
                loaded.set()
            self._wake()

        created, waiting_changes, messages, last = await self._watch.start(apply)
        if waiting_changes:
            await self._until_loaded(loaded, replay)
        elif messages and await self._leader.has_newer(self._keys, 0):
            raise BusUnavailable("the consumer's server is behind the leader")
        else:
            fresh.catch_up(last)
        if replay.record is not None:
            fresh.catch_up(replay.record.sequence)
        await self._check_identity(Identity(created, replay.record), last, rewritten=replay.rewritten)
        identity = Identity(created, replay.record)
        if identity.epoch == self.epoch:
            fresh.inherit(self.mirror)
            replay.continue_previous()
        else:
            replay.forget_previous()
            self.commit_times.clear()
            self._waiters.give_up()
            self._reached = 0
        self._read, self._identity = replay, identity
        self._ready.set()
        self._wake()
        self._on_rebuilt()

    # --- the stream's identity ----------------------------------------------------------------------------

    async def _check_identity(self, found: Identity, last: int, *, rewritten: bool) -> None:
        """Check that the stream still has all changes that this replica knows of.

        Raises BusUnavailable if it has lost some, after writing a record to the stream. The commit time of that record
        is the new epoch for all replicas and gateways.
        `last`: the stream's last sequence when the watch began.
        `rewritten`: the stream has another change with a sequence that this replica knows.
        """
        known = self._identity
        if found.created != known.created:
            return
        lacking = found.lacks(known)
        if found.epoch != known.epoch and not lacking:
            return  # Another replica has written a record already.
        reached = max(self.mirror.applied, self._reached)
        if last < reached and not (lacking or rewritten):
            await asyncio.sleep(_CONFIRMED_SECONDS)
            last = await self._leader.last()
        if not (lacking or rewritten or last < reached):
            return
        log.error("the presence stream has lost its newest changes", last=last, known=reached)
        await self._incarnations.begin_epoch(found, timeout_seconds=WRITE_TIMEOUT_SECONDS)
        raise BusUnavailable("the presence stream starts a new epoch")

    def _follow(self, record: Record) -> None:
        """Adopt the epoch of a record, which a replica wrote because the stream had lost changes."""
        if record.sequence <= self.mirror.applied:
            self._invalidate("the stream is shorter than it was")
            return
        self.mirror.catch_up(record.sequence)
        before, self._identity = self.epoch, Identity(self._identity.created, record)
        if self.epoch != before:
            self._read.forget_previous()
            self._reached = 0
            self.commit_times.clear()
            self._waiters.give_up()
            self._on_rebuilt()

    async def _until_loaded(self, loaded: asyncio.Event, replay: Replay) -> None:
        """Wait for the last pending change, for as long as changes arrive. Raises BusUnavailable."""
        waiting = [asyncio.create_task(loaded.wait()), asyncio.create_task(self._watch.broken.wait())]
        before = -1
        try:
            while before != replay.newest and not any(task.done() for task in waiting):
                before = replay.newest
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=_STALLED_SECONDS)
        finally:
            for task in waiting:
                task.cancel()
        if not loaded.is_set():
            raise BusUnavailable("the watch broke during the build")

    async def _wait_until_invalidated(self) -> None:
        loop = asyncio.get_running_loop()
        await self._look_at_stream()
        looked_at = loop.time()
        while not self._watch.broken.is_set():
            self.commit_times.sample(self.mirror.applied, loop.time())
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._watch.broken.wait()
            except TimeoutError:
                self._watch.check_silence()
                full = not self.capacity.has_room_for_members(self.mirror.applied)
                if loop.time() >= looked_at + (_FULL_LOOKED_AT_SECONDS if full else _LOOKED_AT_SECONDS):
                    await self._look_at_stream()
                    looked_at = loop.time()

    async def _look_at_stream(self) -> None:
        applied = self.mirror.applied
        try:
            info = await self._leader.info()
        except BusError as error:
            log.info("could not look at the presence stream", error=str(error))
            return
        state = info["state"]
        self.capacity.update(
            size_bytes=state["bytes"],
            max_bytes=info["config"].get("max_bytes", -1),
            messages=state["messages"],
            sequence=state["last_seq"],
        )
        if state["last_seq"] < applied:
            self._invalidate("the stream is shorter than it was")
        elif self._read.pending < _LITTLE_PENDING and not self._watch.broken.is_set():
            self._caught_up = datetime.fromisoformat(info["ts"])

    def _wake(self) -> None:
        if self._ready.is_set():
            self._waiters.wake(self.mirror.applied)
