"""The presence bucket: compare-and-set writes, and the mirror, which is built anew whenever its watch breaks."""

import asyncio
from collections.abc import Callable, Collection

from pydantic import ValidationError

from presence.ages import Ages
from presence.roster import Mirror
from presence.watch import Watch
from services import logs
from services.bus import Acknowledgement, ApiError, Bus, BusError, BusUnavailable, Message
from shared import subjects
from shared.headers import EXPECTED_SEQUENCE, TTL, is_removal, purge
from shared.ids import RoomId, UserId
from shared.presence import Entry

log = logs.get(__name__)

WRITE_TIMEOUT_SECONDS = 2.0
_LOAD_SECONDS = 60.0
_REBUILD_RETRY_SECONDS = 0.2
_LOOK_SECONDS = 0.25
_NO_MESSAGE_FOUND = 10037


Change = Callable[[RoomId, UserId, int, Entry | None], None]
"""Room, user, stream sequence, and the entry or None for a removal."""


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
        self._keys = subjects.of_shards(subjects.presence_keys_of_shard, self.shards)
        self._watch = Watch(bus, subjects.PRESENCE_STREAM, self._keys)
        self._ready = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.mirror = Mirror()
        self.ages = Ages()
        self.epoch = ""
        """Identity of the stream the mirror was read from: its creation time."""

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
        return await self._bus.store(
            subjects.presence_key(room, user), entry.encode(), headers, timeout_seconds=WRITE_TIMEOUT_SECONDS
        )

    async def purge(self, room: RoomId, user: UserId, *, expected: int) -> Acknowledgement:
        """Remove a key, with one event and nothing left behind once the marker's TTL is over. Raises as `put`."""
        headers = {**purge(self._marker_ttl_seconds), EXPECTED_SEQUENCE: str(expected)}
        return await self._bus.store(
            subjects.presence_key(room, user), b"", headers, timeout_seconds=WRITE_TIMEOUT_SECONDS
        )

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
            self._ready.clear()
            self._watch.doubt("the mirror has a member that the stream has not")
            raise BusUnavailable("the mirror is being rebuilt")

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
        fresh = Mirror()
        loaded = asyncio.Event()

        def apply(message: Message, sequence: int, pending: int) -> None:
            room, user, entry = _read(message, sequence)
            if entry is None:
                fresh.remove(room, user, sequence)
            else:
                fresh.put(room, user, entry, sequence)
            self._on_change(room, user, sequence, entry)
            if pending == 0 and not loaded.is_set():
                loaded.set()
            self._wake()

        epoch, waiting_changes, messages, last = await self._watch.start(apply)
        if waiting_changes:
            await self._until_loaded(loaded)
        elif messages and await self._is_behind():
            raise BusUnavailable("the consumer's server is behind the leader")
        else:
            fresh.catch_up(last)
        if epoch == self.epoch:
            fresh.inherit_cursors(self.mirror)
        else:
            self.ages.forget()
            self._give_up_waiting()
        self.mirror, self.epoch = fresh, epoch
        self._ready.set()
        self._wake()
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
        while not self._watch.broken.is_set():
            self.ages.sample(self.mirror.applied, loop.time())
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._watch.broken.wait()
            except TimeoutError:
                self._watch.check_silence()

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


def _read(message: Message, sequence: int) -> tuple[RoomId, UserId, Entry | None]:
    room, user = subjects.parse_presence_key(message.subject)
    if is_removal(message.headers or {}):
        return room, user, None
    try:
        return room, user, Entry.decode(message.data)
    except ValidationError:
        log.error("an entry in the presence bucket is not ours", subject=message.subject, sequence=sequence)
        return room, user, None
