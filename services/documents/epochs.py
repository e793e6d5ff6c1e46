"""The identity of the stream of documents of a group of shards, which a replica checks again and again.

A stream that comes back shorter than it was counts as another one (docs/decisions/0017). The record about it is in the
stream itself.
"""

import asyncio
from collections.abc import Callable

from studyroom.services.documents.log import Newest
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.nats.incarnations import Incarnations
from studyroom.shared.contract.groups import Group
from studyroom.shared.contract.incarnation import Identity, is_same_time

log = logs.get(__name__)

_CONFIRM_SECONDS = 0.3
"""If a stream seems shorter than it was, ask again after this pause, before a new epoch begins."""
_FULL_SHARE = 0.9
"""From this part of its size on, a stream takes no more edits. The snapshots that free space still have room."""
_CROWDED_SHARE = 0.75
"""From this part on, shorter logs get snapshots too."""


class Epochs:
    def __init__(self, bus: Bus, group: Group, on_replaced: Callable[[], None]) -> None:
        """`on_replaced`: called when the stream turns out to be another one than before."""
        self.group = group
        self._incarnations = Incarnations(
            bus, group.documents_stream, record=group.documents_incarnation, records=group.documents_stream
        )
        self._on_replaced = on_replaced
        self._identity = Identity()
        self._sure = False
        self._reached = 0
        """The stream had at least this sequence in this epoch."""
        self._newest = Newest()
        """The newest update that this replica has read in this epoch."""
        self._used_share = 0.0
        self._lock = asyncio.Lock()

    @property
    def sure(self) -> bool:
        """Whether the identity was learned since NATS was last away."""
        return self._sure

    @property
    def epoch(self) -> str:
        return self._identity.epoch

    @property
    def full(self) -> bool:
        return self._used_share >= _FULL_SHARE

    @property
    def crowded(self) -> bool:
        return self._used_share >= _CROWDED_SHARE

    def invalidate(self) -> None:
        """NATS is away. It may come back with another stream."""
        self._sure = False

    def know(self, newest: Newest, epoch: str) -> None:
        """Remember an update that was read in an epoch."""
        if epoch != self.epoch:
            return
        self._reached = max(self._reached, newest.sequence)
        if newest.sequence > self._newest.sequence:
            self._newest = newest

    async def ensure(self, epoch: str = "", reached: int = 0) -> None:
        """Learn the identity if it is not known, or if a gateway knows another epoch or a higher sequence.

        Raises BusError.
        """
        if not self._sure or (epoch and (epoch != self.epoch or reached > self._reached)):
            await self.learn(epoch, reached)

    async def learn(self, epoch: str = "", reached: int = 0) -> None:
        """Ask the leader for the identity. If the stream has lost updates, begin a new epoch. Raises BusError.

        `reached`: a sequence that the stream had in `epoch`, according to a gateway.
        """
        async with self._lock:
            if epoch == self.epoch:
                self._reached = max(self._reached, reached)
            before = self._identity
            self._identity = await self._find()
            if before.epoch not in {"", self.epoch}:
                log.warning("the stream of documents is another one", stream=self.group.documents_stream)
                self._reached, self._newest = 0, Newest()
                self._on_replaced()
            self._sure = True

    async def _find(self) -> Identity:
        suspected = False
        while True:
            before, newest = self._identity, self._newest
            info, found, committed = await self._incarnations.find(newest.sequence)
            state, most = info["state"], info["config"].get("max_bytes", -1)
            self._used_share = state["bytes"] / most if most > 0 else 0.0
            lacking = found.lacks(before)
            if found.created != before.created or (found.epoch != before.epoch and not lacking):
                return found  # made again, or another replica has noticed
            rewritten = committed is not None and not is_same_time(committed, newest.time)
            if not (lacking or rewritten or state["last_seq"] < self._reached):
                self._reached = max(self._reached, state["last_seq"])
                return found
            log.warning(
                "the stream of documents has lost updates" if suspected else "the stream of documents seems shorter",
                stream=self.group.documents_stream,
                last=state["last_seq"],
                reached=self._reached,
            )
            if suspected:
                await self._incarnations.begin_epoch(found)
            else:
                suspected = True
                await asyncio.sleep(_CONFIRM_SECONDS)
