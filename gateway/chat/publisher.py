"""Chat on its way into the stream: published without waiting, acknowledged later.

The author sees its message when the stream's republished copy comes back, like everyone else. Here only failures are
reported: without an acknowledgement in time the outcome is unknown, and a full stream has not stored the message.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from studyroom.gateway.chat.stream import ChatStream
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.history import Stored
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError, Message, StorageFull, headers_bytes, parse_acknowledgement
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import CHAT_AROUND_BYTES, CHAT_CHAR_MAX_BYTES, encode_stored, encode_tombstone
from studyroom.shared.contract.headers import INGRESS, MESSAGE_ID
from studyroom.shared.contract.ids import MessageId, RoomId, UserId

log = logs.get(__name__)

_SWEEP_SECONDS = 0.25
_SETTLE_POLL_SECONDS = 0.01


class ChatTooLong(Exception):
    """A message is longer than NATS takes. It was not sent."""


Unknown = Callable[[MessageId], None]
"""Called once when the outcome of a message is unknown."""
Full = Callable[[MessageId], None]
"""Called once when a message was not stored, for want of room."""
Acknowledged = Callable[[RoomId, int, Callable[[], None]], None]
"""Room and sequence of a stored message, and what is to be called when it will not be heard here."""
Committed = Callable[[int], None]
"""Called once with the sequence of a message that was stored."""
Known = Callable[[Stored], None]
"""Called once with the stored message when it had been stored before."""


@dataclass(frozen=True, slots=True)
class _Pending:
    room: RoomId
    message: MessageId
    published: float
    unknown: Unknown
    lost: Unknown
    full: Full
    stored: Committed
    known: Known


def deletion_of(message: MessageId, sequence: int) -> Stored:
    """For the author of a message that is not stored any more, and who does not know."""
    return Stored.of(sequence, encode_tombstone(message, sequence), "")


class ChatPublisher:
    def __init__(
        self,
        bus: Bus,
        tasks: Tasks,
        metrics: GatewayMetrics,
        stream: ChatStream,
        *,
        deadline_seconds: float,
        acknowledged: Acknowledged,
    ) -> None:
        """`acknowledged` is told of each message that was stored; its author sees it when it is heard."""
        self._bus = bus
        self._stream = stream
        self._acknowledged = acknowledged
        self._tasks = tasks
        self._metrics = metrics
        self._deadline_seconds = deadline_seconds
        self._inbox = ""
        self._count = 0
        self._pending: dict[str, _Pending] = {}

    async def start(self) -> None:
        self._inbox = self._bus.new_inbox()
        await self._bus.subscribe(f"{self._inbox}.*", self._on_reply)
        self._tasks.supervise("chat deadlines", self._sweep)

    def problems(self, max_chars: int) -> list[str]:
        """Why a message of so many characters, which may be sent, may not be stored."""
        needed, most = CHAT_CHAR_MAX_BYTES * max_chars + CHAT_AROUND_BYTES, self._bus.max_payload_bytes
        if not self._bus.connected or needed <= most:
            return []
        what = f"chat of STUDYROOM_GATEWAY_CHAT_MAX_CHARS={max_chars} characters may take {needed} bytes"
        return [f"{what}, NATS takes {most} (max_payload)"]

    async def settled(self) -> None:
        """Returns when all that was published before is acknowledged or given up; bounded by the chat deadline."""
        newest = self._count
        while any(int(token) <= newest for token in islice(self._pending, 1)):
            await asyncio.sleep(_SETTLE_POLL_SECONDS)

    def publish(
        self,
        room: RoomId,
        user: UserId,
        username: str,
        content: str,
        message: MessageId,
        *,
        unknown: Unknown,
        lost: Unknown,
        full: Full,
        stored: Committed,
        known: Known,
    ) -> None:
        """Messages of one caller are stored in the order of the calls. Raises ChatTooLong.

        One of four is called: `unknown` when there is no acknowledgement in time, `full`, `stored`, and `known` when it
        had been stored before. `lost` may be called after `stored`: members will not get the message.
        """
        now = time.time()
        encoded = encode_stored(user, username, content, int(now), message)
        headers = {
            MESSAGE_ID: subjects.chat_deduplication_id(room, user, message),
            INGRESS: str(int(now * 1_000_000)),
        }
        size = len(encoded) + headers_bytes(headers)
        if size > self._bus.max_payload_bytes:
            raise ChatTooLong(f"{size} bytes, the most is {self._bus.max_payload_bytes} now")
        self._count += 1
        token = str(self._count)
        self._pending[token] = _Pending(room, message, time.monotonic(), unknown, lost, full, stored, known)
        self._bus.publish(
            subjects.chat(room),
            encoded,
            reply=f"{self._inbox}.{token}",
            headers=headers,
            failed=lambda: self._give_up(token),
        )

    def _on_reply(self, message: Message) -> None:
        pending = self._pending.get(token := message.subject.rsplit(".", 1)[1])
        if pending is None:
            return
        try:
            stored = parse_acknowledgement(message)
        except StorageFull:
            del self._pending[token]
            self._metrics.chat_storage_full.inc()
            pending.full(pending.message)
            return
        except BusError as error:
            log.warning("chat not acknowledged", error=str(error))
            self._give_up(token)
            return
        del self._pending[token]
        self._metrics.commit_latency.observe(time.monotonic() - pending.published)
        if stored.duplicate:
            self._metrics.duplicates.inc()
            self._tasks.spawn("answer a repeated chat", self._answer_repeated(stored.sequence, pending))
        else:
            self._acknowledged(pending.room, stored.sequence, lambda: pending.lost(pending.message))
            pending.stored(stored.sequence)

    async def _answer_repeated(self, sequence: int, pending: _Pending) -> None:
        """The stream does not announce a message twice, so its author is told what is stored.

        One that is not stored any more was deleted or purged: told to send it again its author would do so until the
        stream has forgotten it, and store it anew. While the stream may be another one than clients know by its epoch,
        they may know another message by the sequence: then the author has to ask again.
        """
        epoch = self._stream.terms.epoch
        try:
            stored = await self._stream.message(sequence)
        except BusError as error:
            log.warning("a repeated chat could not be read back", error=str(error))
            pending.unknown(pending.message)
            return
        if self._stream.sure and self._stream.terms.epoch == epoch:
            pending.known(stored or deletion_of(pending.message, sequence))
        else:
            pending.unknown(pending.message)

    def _give_up(self, token: str) -> None:
        pending = self._pending.pop(token, None)
        if pending is not None:
            pending.unknown(pending.message)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            overdue = time.monotonic() - self._deadline_seconds
            late = []
            for token, pending in self._pending.items():
                if pending.published > overdue:
                    break
                late.append(token)
            for token in late:
                self._give_up(token)
