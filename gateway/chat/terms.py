"""How the stream of chat keeps messages, and which stream it is: learned from its leader.

A stream that comes back shorter than it was is another one, although its name and creation time are the same
(docs/decisions/0017).
"""

import asyncio
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import API_TIMEOUT_SECONDS, Bus, BusUnavailable, Conflict
from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import EXPECTED_SEQUENCE
from studyroom.shared.contract.incarnation import Identity, Record, encode_record

log = logs.get(__name__)

_SECOND_NS = 1_000_000_000
_ROUND_MAX_BYTES = 1_048_576
"""How much below its limit a stream may be after it has made room for a message: no message is larger."""
_CONFIRMED_SECONDS = 0.3
"""A stream that seems to be shorter than it was is asked again after this, before everything is given up."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How the stream keeps chat. Zero and less stand for no limit."""

    epoch: str
    """Which stream it is: sequences mean the same messages for as long as this is the same."""
    duplicate_window_seconds: int
    max_age_seconds: int
    max_messages_per_room: int
    first: int
    """Lowest sequence in the stream at the time."""
    last: int
    """Highest."""
    removed: int = 0
    """How many of all that were ever stored are not any more. Where it does not change nothing was removed."""
    full: bool = False
    """It has about the size that it may have: the oldest messages go as new ones come."""


class Known(NamedTuple):
    """What a gateway knows of the stream, whatever happens to it."""

    reached: int = 0
    """A sequence that it has had."""
    sequence: int = 0
    """That of a message, the newest that is known."""
    time: str = ""
    """When that one was committed, RFC 3339."""


class _Found(NamedTuple):
    info: dict[str, Any]
    """The answer to `STREAM.INFO`."""
    identity: Identity


class ChatTerms:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._on_replaced: list[Callable[[], None]] = []
        self.terms = Terms("", 0, 0, 0, 0, 0)
        """As last learned."""
        self._sure = asyncio.Event()
        self._learning: asyncio.Future[Terms] | None = None
        """The question under way, shared by all who want to know."""
        self._asking: set[asyncio.Task[_Found]] = set()
        self._identity = Identity()
        self._known = Known()

    def on_replaced(self, callback: Callable[[], None]) -> None:
        """To be called when the stream turns out to be another one than before."""
        self._on_replaced.append(callback)

    def invalidate(self) -> None:
        """NATS is away: it may come back with another stream, and does not answer what it was asked before."""
        self._sure.clear()
        learning, self._learning = self._learning, None
        if learning is not None:
            learning.set_exception(BusUnavailable("NATS has gone away"))

    @property
    def sure(self) -> bool:
        """The terms were learned since the last doubt."""
        return self._sure.is_set()

    async def known(self) -> None:
        """Returns when the terms have been learned since the last doubt."""
        await self._sure.wait()

    async def learn(self) -> Terms:
        """The terms as they are now, asked once for all who want to know. Raises BusError."""
        if self._learning is None:
            learning = self._learning = asyncio.get_running_loop().create_future()
            # Whoever asked may have given up; then nobody else looks at how it ended.
            learning.add_done_callback(lambda done: done.cancelled() or done.exception())
            task = asyncio.create_task(self._ask(), name="chat terms")
            self._asking.add(task)
            task.add_done_callback(partial(self._answered, learning))
        return await asyncio.shield(self._learning)

    def _answered(self, learning: "asyncio.Future[Terms]", task: "asyncio.Task[_Found]") -> None:
        self._asking.discard(task)
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
            except Exception as failure:  # noqa: BLE001 - for those who asked
                learning.set_exception(failure)

    def _take(self, found: "_Found") -> Terms:
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

    # --- which stream it is -------------------------------------------------------------------------------

    def know(self, known: "Known") -> None:
        """This is known of the stream, as it was when the terms were learned last."""
        before = self._known
        newest = known if known.sequence > before.sequence else before
        self._known = Known(max(before.reached, known.reached), newest.sequence, newest.time)

    async def _ask(self) -> "_Found":
        """Of the leader. When the stream has lost messages that were known here, it has another epoch from then on.

        Raises BusError.
        """
        suspected = False
        while True:
            known, before = self._known, self._identity
            info, record, committed = await asyncio.gather(
                self._bus.stream_info(subjects.CHAT_STREAM),
                self._record(),
                self._committed(known.sequence),
            )
            found = _Found(info, Identity(info["created"], record))
            if found.identity.created != before.created or self._identity != before:
                return found
            lacking = found.identity.lacks(before)
            if found.identity.epoch != before.epoch and not lacking:
                return found  # another gateway has noticed
            last: int = info["state"]["last_seq"]
            rewritten = committed is not None and _time(committed) != _time(known.time)
            if last < known.reached and not (lacking or rewritten or suspected):
                suspected = True
                await asyncio.sleep(_CONFIRMED_SECONDS)
                continue
            if not (lacking or rewritten or last < known.reached):
                return found
            log.error("the stream of chat has lost its newest messages", last=last, known=known.reached)
            await self._begin_epoch(found.identity)

    async def _begin_epoch(self, found: Identity) -> None:
        with suppress(Conflict):  # another gateway has noticed, too
            await self._bus.store(
                subjects.CHAT_INCARNATION,
                encode_record(found.created),
                {EXPECTED_SEQUENCE: str(found.expected)},
                timeout_seconds=API_TIMEOUT_SECONDS,
            )

    async def _record(self) -> Record | None:
        request = {"last_by_subj": subjects.CHAT_INCARNATION}
        message = await self._bus.stored(subjects.MODERATION_STREAM, request)
        if message is None:
            return None
        return Record.decode(b64decode(message.get("data", "")), message["seq"], message["time"])

    async def _committed(self, sequence: int) -> str | None:
        """When the message with this sequence was committed; None for none."""
        if not sequence:
            return None
        message = await self._bus.stored(subjects.CHAT_STREAM, {"seq": sequence})
        return message["time"] if message is not None else None


def _time(text: str) -> datetime:
    """RFC 3339, however many digits the fraction has."""
    return datetime.fromisoformat(text)
