"""The limits of the stream of chat of a group of shards, and its identity, both from its leader.

A stream that comes back shorter than it was counts as another one, although its name and creation time are the same
(docs/decisions/0017).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from logging import ERROR, WARNING
from typing import NamedTuple

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusUnavailable
from studyroom.shared.chassis.nats.incarnations import Found, Incarnations
from studyroom.shared.chassis.sharing import result_of
from studyroom.shared.contract import subjects
from studyroom.shared.contract.groups import Group
from studyroom.shared.contract.incarnation import Identity, is_same_time

log = logs.get(__name__)

_SECOND_NS = 1_000_000_000
_ROUND_MAX_BYTES = 1_048_576
"""A full stream may be this much below its limit after it has removed a message, because no message is larger."""
_CONFIRM_SECONDS = 0.3
"""If a stream seems to be shorter than it was, read its state again after this pause, before a new epoch begins."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The limits and the state of the stream. A limit of zero or less means none."""

    epoch: str
    """The identity of the stream. Sequences mean the same messages for as long as it does not change."""
    duplicate_window_seconds: int
    max_age_seconds: int
    max_messages_per_room: int
    first: int
    """The lowest sequence in the stream."""
    last: int
    """The highest sequence in the stream."""
    removed: int = 0
    """How many of all messages ever stored are gone. If it does not change, no message was removed."""
    full: bool = False
    """The stream has about its maximum size, so NATS removes the oldest messages for new ones."""


class Known(NamedTuple):
    """The tail of the stream as a gateway has seen it. If the stream does not have it any more, it lost messages."""

    reached: int = 0
    """The stream had at least this sequence."""
    sequence: int = 0
    """The sequence of the newest known message."""
    time: str = ""
    """The commit time of the newest known message (RFC 3339)."""


class ChatTerms:
    def __init__(self, bus: Bus, group: Group | None = None) -> None:
        """`group`: the shards with this stream; None for all."""
        self.group = group or Group()
        self._name = self.group.chat_stream
        self._incarnations = Incarnations(
            bus, self._name, record=self.group.chat_incarnation, records=subjects.MODERATION_STREAM
        )
        self._on_replaced: list[Callable[[], None]] = []
        self.terms = Terms("", 0, 0, 0, 0, 0)
        """The terms as of the last `learn`."""
        self._sure = asyncio.Event()
        self._learning: asyncio.Future[Terms] | None = None
        """Shared by all who call `learn` while a request is in progress."""
        self._requests: set[asyncio.Task[Found]] = set()
        self._identity = Identity()
        self._known = Known()

    def on_replaced(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever the stream turns out to be another one than before."""
        self._on_replaced.append(callback)

    def invalidate(self) -> None:
        """NATS is away. It may come back with another stream, and it does not answer earlier requests."""
        self._sure.clear()
        learning, self._learning = self._learning, None
        if learning is not None:
            learning.set_exception(BusUnavailable("NATS has gone away"))

    @property
    def sure(self) -> bool:
        """The terms were learned since the last `invalidate`."""
        return self._sure.is_set()

    async def known(self) -> None:
        """Returns when the terms were learned since the last `invalidate`."""
        await self._sure.wait()

    async def learn(self) -> Terms:
        """Request the present terms from the leader. Concurrent calls share one request. Raises BusError."""
        if self._learning is None:
            learning = self._learning = asyncio.get_running_loop().create_future()
            # If all callers were cancelled, nobody else retrieves the exception.
            learning.add_done_callback(lambda done: done.cancelled() or done.exception())
            task = asyncio.create_task(self._find(), name="chat terms")
            self._requests.add(task)
            task.add_done_callback(partial(self._found, learning))
        return await result_of(self._learning)

    def _found(self, learning: "asyncio.Future[Terms]", task: "asyncio.Task[Found]") -> None:
        self._requests.discard(task)
        error = None if task.cancelled() else task.exception()
        if self._learning is not learning:
            return
        self._learning = None
        if task.cancelled():
            learning.cancel()
        elif error is not None:
            learning.set_exception(error)
        else:
            try:
                learning.set_result(self._take(task.result()))
            except Exception as failure:  # noqa: BLE001 - the callers of `learn` get it
                learning.set_exception(failure)

    def _take(self, found: Found) -> Terms:
        config, state = found.info["config"], found.info["state"]
        before, self._identity = self._identity, found.identity
        self.terms = Terms(
            epoch=found.identity.epoch,
            duplicate_window_seconds=config.get("duplicate_window", 0) // _SECOND_NS,
            max_age_seconds=config.get("max_age", 0) // _SECOND_NS,
            max_messages_per_room=config.get("max_msgs_per_subject", 0),
            first=state["first_seq"],
            last=state["last_seq"],
            removed=state["last_seq"] - state["messages"],
            full=state["messages"] > 0 and 0 < config.get("max_bytes", 0) <= state["bytes"] + _ROUND_MAX_BYTES,
        )
        if before.epoch != self.terms.epoch:
            self._known = Known()
        self.know(Known(state["last_seq"], state["last_seq"], state["last_ts"]))
        self._sure.set()
        if before.epoch not in {"", self.terms.epoch}:
            for callback in self._on_replaced:
                callback()
        return self.terms

    # --- the identity of the stream -----------------------------------------------------------------------

    def know(self, known: "Known") -> None:
        """Remember a tail that the stream had when the terms were learned last, or later."""
        before = self._known
        newest = known if known.sequence > before.sequence else before
        self._known = Known(max(before.reached, known.reached), newest.sequence, newest.time)

    async def _find(self) -> Found:
        """Request state and identity from the leader. If the stream lost known messages, a new epoch begins.

        Raises BusError.
        """
        suspected = False
        while True:
            known, before = self._known, self._identity
            found = await self._incarnations.find(known.sequence)
            if found.identity.created != before.created or self._identity != before:
                return found
            lacking = found.identity.lacks(before)
            if found.identity.epoch != before.epoch and not lacking:
                return found  # another gateway has noticed
            last: int = found.info["state"]["last_seq"]
            rewritten = found.committed is not None and not is_same_time(found.committed, known.time)
            if not (lacking or rewritten or last < known.reached):
                return found
            log.log(
                ERROR if suspected else WARNING,
                "a stream of chat has lost its newest messages" if suspected else "a stream of chat seems shorter",
                stream=self._name,
                last=last,
                known=known._asdict(),
                committed=found.committed,
                record_is_missing=lacking,
            )
            if not suspected:
                suspected = True
                await asyncio.sleep(_CONFIRM_SECONDS)
                continue
            await self._incarnations.begin_epoch(found.identity)
