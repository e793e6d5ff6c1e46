"""A watch over a key-value stream that reports when it may have missed a change.

nats-py's key-value watch can miss changes without a sign (docs/decisions/0004). This one sets `broken` after a
reconnect, a gap in the delivery sequence, a heartbeat that disagrees, or silence. Then its user starts it again.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, Message, Subscription

log = logs.get(__name__)

HEARTBEAT_SECONDS = 1.0
_SILENCE_SECONDS = 3 * HEARTBEAT_SECONDS
_CONSUMER_IDLE_SECONDS = 10
_CREATE_SECONDS = 60.0
"""NATS reads every key before it answers."""
_ASKED_AGAIN_SECONDS = 2.0
"""A cluster drops such requests without an answer while it elects its leader."""
_SECOND_NS = 1_000_000_000

Apply = Callable[[Message, int, int], None]
"""`apply(message, stream sequence, number of pending changes)`."""


class Watch:
    """One ordered consumer over a key-value stream. `start` replaces it with a new one."""

    def __init__(self, bus: Bus, stream: str, keys: list[str]) -> None:
        """Create it. `keys`: subjects of the stream that do not overlap."""
        self._bus = bus
        self._stream = stream
        self._keys = keys
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._delivered = 0
        self._last_received = 0.0
        self.broken = asyncio.Event()
        """Set if the watch may have missed a change since the last start."""
        bus.on_reconnected(self._on_reconnected)

    async def start(self, apply: Apply, *, after: int | None = None) -> tuple[str, int, int, int]:
        """Start the watch. Each change goes to `apply`, as soon as NATS delivers it.

        `after`: deliver all changes after this sequence, instead of the newest change of every key.
        Return the stream's creation time (RFC 3339), the number of changes that NATS will deliver at once, the number
        of the stream's messages, and its last sequence. Raises BusError.
        """
        self.broken.clear()
        if self._subscription is not None:
            await self._subscription.unsubscribe()
        self._inbox = inbox = self._bus.new_inbox()
        self._delivered = 0
        self._last_received = asyncio.get_running_loop().time()

        def receive(message: Message) -> None:
            self._last_received = asyncio.get_running_loop().time()
            if self._inbox != inbox:
                return
            headers = message.headers or {}
            if headers.get("Status") == _CONTROL:
                self._control(message.reply, headers)
                return
            stream_sequence, delivery, pending = _metadata(message.reply)
            if delivery != self._delivered + 1:
                self.invalidate("a gap in the watch")
                return
            self._delivered = delivery
            apply(message, stream_sequence, pending)

        self._subscription = await self._bus.subscribe(inbox, receive)
        from_where: dict[str, str | int] = {"deliver_policy": "last_per_subject"}
        if after is not None:
            from_where = {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
        state = await self._bus.stream_info(self._stream)
        name = inbox.rsplit(".", 1)[1]
        created = await self._create(
            name,
            {
                "stream_name": self._stream,
                "config": {
                    "name": name,
                    "deliver_subject": inbox,
                    **from_where,
                    "ack_policy": "none",
                    "replay_policy": "instant",
                    "filter_subjects": self._keys,
                    "flow_control": True,
                    "idle_heartbeat": int(HEARTBEAT_SECONDS * _SECOND_NS),
                    "inactive_threshold": _CONSUMER_IDLE_SECONDS * _SECOND_NS,
                    "mem_storage": True,
                    "num_replicas": 1,
                    "max_deliver": 1,
                },
            },
        )
        # The consumer counts changes between the two calls, so `last` may be too low but never too high.
        to_come = created["num_pending"] + created["delivered"]["consumer_seq"]
        return state["created"], to_come, state["state"]["messages"], state["state"]["last_seq"]

    async def _create(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Ask for the consumer until NATS answers once. Repeated requests for the same consumer change nothing.

        Raises BusError.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _CREATE_SECONDS
        waiting: set[asyncio.Task[dict[str, Any]]] = set()
        try:
            while True:
                question = self._bus.api(
                    f"CONSUMER.CREATE.{self._stream}.{name}", request, timeout_seconds=deadline - loop.time()
                )
                waiting.add(asyncio.create_task(question, name="create a consumer"))
                answered, waiting = await asyncio.wait(
                    waiting, timeout=_ASKED_AGAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if answered:
                    return answered.pop().result()
        finally:
            for question_under_way in waiting:
                question_under_way.cancel()

    def invalidate(self, reason: str) -> None:
        if not self.broken.is_set():
            log.warning("a watch broke", stream=self._stream, reason=reason)
            self.broken.set()

    def check_silence(self) -> None:
        """Invalidate the watch if NATS has sent nothing for 3 s, not even heartbeats. Call this regularly."""
        if asyncio.get_running_loop().time() - self._last_received > _SILENCE_SECONDS:
            self.invalidate("no heartbeat")

    async def _on_reconnected(self) -> None:
        self.invalidate("reconnected")

    def _control(self, reply: str, headers: dict[str, str]) -> None:
        """Handle a heartbeat, or answer a request of flow control (NATS ADR-9)."""
        go_on = reply or headers.get("Nats-Consumer-Stalled")
        if go_on:
            self._bus.publish(go_on, b"")
        last = headers.get("Nats-Last-Consumer")
        if last is not None and int(last) != self._delivered:
            self.invalidate("a gap before a heartbeat")


def _metadata(reply: str) -> tuple[int, int, int]:
    """Return stream sequence, delivery sequence and number of pending changes from the reply subject of a delivery.

    The subject is `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`, or has
    domain and account hash before the stream and a random token at the end (NATS ADR-15).
    """
    tokens = reply.split(".")
    if len(tokens) == _SHORT_ACK_TOKENS:
        return int(tokens[5]), int(tokens[6]), int(tokens[8])
    return int(tokens[7]), int(tokens[8]), int(tokens[10])


def committed_ns(reply: str) -> int:
    """Return the commit time of a delivered change, in Unix nanoseconds, from the reply subject of its delivery."""
    tokens = reply.split(".")
    return int(tokens[7] if len(tokens) == _SHORT_ACK_TOKENS else tokens[9])


_SHORT_ACK_TOKENS = 9
_CONTROL = "100"
