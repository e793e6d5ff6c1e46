"""Publishes chat, edits and reactions into the stream without waiting, and follows the acknowledgements.

The author sees its message when the stream's republished copy comes back, like everyone else. This module reports only
failures: without an acknowledgement in time the outcome is unknown, and a full stream has not stored the message.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from studyroom.gateway.chat.stream import ChatStream
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.history import Stored
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError, Message, StorageFull, headers_bytes, parse_acknowledgement
from studyroom.shared.chassis.nats.reply_inbox import Acknowledgements
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.chassis.tracing.spans import Kind, Span, Tracer, continued
from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import CHAT_CHAR_MAX_BYTES, CHAT_OVERHEAD_BYTES, encode_tombstone
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.headers import INGRESS, MESSAGE_ID, TRACEPARENT
from studyroom.shared.contract.ids import MessageId, RoomId

log = logs.get(__name__)


class ChatTooLong(Exception):
    """A message is longer than NATS accepts. It was not sent."""


class Outcome(Protocol):
    """Receives the outcome of one message: one of the first four calls, and `lost` possibly after `stored`."""

    def stored(self, sequence: int) -> None:
        """The stream has the message. All members receive it, and the author with them."""

    def repeated(self, copy: Stored) -> None:
        """The stream had the message already. This is its stored copy, or its deletion."""

    def full(self) -> None:
        """The stream was full and has not stored the message."""

    def unknown(self) -> None:
        """There is no acknowledgement in time."""

    def lost(self) -> None:
        """Members will not receive the message, although it was stored."""


Acknowledged = Callable[[RoomId, int, Callable[[], None]], None]
"""Called with the room and sequence of a stored message, and with a callback for when the room never receives it."""


@dataclass(frozen=True, slots=True)
class _Pending:
    room: RoomId
    message: MessageId
    published: float
    outcome: Outcome
    span: Span | None
    """From the receipt to the acknowledgement; None if it is not traced."""

    def end(self, error: str = "", **attributes: int | bool) -> None:
        """End the span, as failed if there is an `error`."""
        if self.span is not None:
            self.span.note({f"studyroom.chat.{name}": value for name, value in attributes.items()})
            self.span.end(error)


def deletion_of(message: MessageId, sequence: int) -> Stored:
    """The tombstone that the author of a message gets if the message is no longer stored."""
    return Stored.of(sequence, encode_tombstone(message, sequence), "")


class ChatPublisher:
    def __init__(
        self,
        bus: Bus,
        tasks: Tasks,
        metrics: GatewayMetrics,
        streams: ByGroup[ChatStream],
        *,
        deadline_seconds: float,
        acknowledged: Acknowledged,
        tracer: Tracer | None = None,
    ) -> None:
        """`acknowledged` is called for each message that was stored; the author sees it when the room receives it."""
        self._bus = bus
        self._streams = streams
        self._acknowledged = acknowledged
        self._tasks = tasks
        self._metrics = metrics
        self._deadline_seconds = deadline_seconds
        self._tracer = tracer
        self._inbox = Acknowledgements[_Pending](self._on_acknowledgement)

    async def start(self) -> None:
        await self._bus.open_inbox(self._inbox)
        self._tasks.supervise("chat deadlines", partial(self._inbox.sweep, self._deadline_seconds, self._give_up))

    def problems(self, max_chars: int) -> list[str]:
        """Why NATS may refuse a message of `max_chars` characters, which clients may send."""
        needed, most = CHAT_CHAR_MAX_BYTES * max_chars + CHAT_OVERHEAD_BYTES, self._bus.max_payload_bytes
        if not self._bus.connected or needed <= most:
            return []
        setting = f"STUDYROOM_GATEWAY_CHAT_MAX_CHARS={max_chars}"
        return [f"chat of {setting} characters may take {needed} bytes, NATS accepts {most} (max_payload)"]

    async def settled(self) -> None:
        """Returns when everything published before is acknowledged or given up. The chat deadline bounds it."""
        await self._inbox.settled()

    def publish(
        self, room: RoomId, message: MessageId, encoded: bytes, deduplication_id: str, outcome: Outcome
    ) -> None:
        """The stream stores messages in the order of the calls. Raises ChatTooLong, and then there is no outcome.

        `encoded`: a message as the stream stores it, such as from `encode_stored`. `message`: its id.
        """
        headers = {MESSAGE_ID: deduplication_id, INGRESS: str(time.time_ns() // 1000)}
        span = _begin_span(self._tracer, room, message) if self._tracer is not None else None
        if span is not None:
            headers[TRACEPARENT] = span.traceparent
        pending = _Pending(room, message, time.monotonic(), outcome, span)
        size = len(encoded) + headers_bytes(headers)
        if size > self._bus.max_payload_bytes:
            pending.end("too long")
            raise ChatTooLong(f"the message takes {size} bytes, the maximum is {self._bus.max_payload_bytes} now")
        reply = self._inbox.expect(pending)
        self._bus.publish(
            subjects.chat(room),
            encoded,
            reply=reply,
            headers=headers,
            failed=lambda: self._give_up(reply),
        )

    def _on_acknowledgement(self, pending: _Pending, message: Message) -> None:
        if pending.span is None:
            self._take(pending, message)
        else:
            with continued(pending.span):
                self._take(pending, message)

    def _take(self, pending: _Pending, message: Message) -> None:
        try:
            stored = parse_acknowledgement(message)
        except StorageFull:
            self._inbox.close(message.subject)
            self._metrics.chat_storage_full.inc()
            pending.end("the store is full")
            pending.outcome.full()
            return
        except BusError as error:
            log.warning("a chat message was not acknowledged", error=str(error))
            self._give_up(message.subject)
            return
        self._inbox.close(message.subject)
        pending.end(sequence=stored.sequence, repeated=stored.duplicate)
        self._metrics.commit_latency.observe(time.monotonic() - pending.published)
        if stored.duplicate:
            self._metrics.duplicates.inc()
            self._tasks.spawn("answer a repeated chat", self._answer_repeated(stored.sequence, pending))
        else:
            self._acknowledged(pending.room, stored.sequence, pending.outcome.lost)
            pending.outcome.stored(stored.sequence)

    async def _answer_repeated(self, sequence: int, pending: _Pending) -> None:
        """The stream announces a message once, so the author of a repeated one receives the stored copy from here.

        A message that is no longer stored was deleted or purged, and its author receives a deletion. `unknown` would
        make the author send it again until the stream has forgotten its id and stores it a second time. While the
        gateway does not know whether the stream is still the one that clients know by its epoch, the sequence may be
        that of another message for them, so the author has to ask again.
        """
        stream = self._streams.of(pending.room)
        epoch = stream.terms.epoch
        try:
            stored = await stream.message(sequence)
        except BusError as error:
            log.warning("failed to read a repeated chat message", error=str(error))
            pending.outcome.unknown()
            return
        if stream.sure and stream.terms.epoch == epoch:
            pending.outcome.repeated(stored or deletion_of(pending.message, sequence))
        else:
            pending.outcome.unknown()

    def _give_up(self, reply: str) -> None:
        pending = self._inbox.close(reply)
        if pending is not None:
            pending.end("not acknowledged")
            pending.outcome.unknown()


def _begin_span(tracer: Tracer, room: RoomId, message: MessageId) -> Span | None:
    attributes = {"messaging.system": "nats", "studyroom.room": room, "messaging.message.id": message}
    return tracer.begin("send chat", Kind.PRODUCER, attributes)
