"""Reads many messages of a stream with one request, by "direct get" (NATS ADR-31).

Any replica of the stream answers, even one that lags. To make sure that nothing is missing, ask the leader for the last
message of the subject and compare.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from studyroom.shared.chassis.nats.bus import Bus, BusUnavailable, Message, Subscription
from studyroom.shared.chassis.nats.reply_inbox import ReplyInbox
from studyroom.shared.contract.headers import LAST_SEQUENCE, PENDING, SEQUENCE, STATUS, SUBJECT, TIME

_BATCH_SECONDS = 2.0
_BATCH_MAX, _BATCH_MAX_BYTES = 256, 1_048_576
_END, _NOT_FOUND = "204", "404"


class Read(NamedTuple):
    """One message of a stream."""

    subject: str
    sequence: int
    time: str
    """The commit time (RFC 3339)."""
    data: bytes
    headers: Mapping[str, str] | None = None


@dataclass(slots=True)
class Batch:
    done: "asyncio.Future[None]"
    messages: list[Read] = field(default_factory=list)
    pending: int = 0
    """How many matching messages follow the batch."""

    @property
    def last(self) -> int:
        """The sequence of the last message of the batch; 0 if it has none."""
        return self.messages[-1].sequence if self.messages else 0


class BatchReader:
    """Reads one stream. Call `open` first."""

    def __init__(self, bus: Bus, stream: str) -> None:
        self._bus = bus
        self._stream = stream
        self._inbox = ReplyInbox[Batch](_take)
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        """Prepare to read the stream, which may be away."""
        subject = self._bus.new_inbox()
        self._subscription = await self._bus.subscribe(f"{subject}.*", self._inbox.receive)
        self._inbox.opened(subject)

    async def close(self) -> None:
        """Receive no answers any more."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()

    async def get(self, request: Mapping[str, Any]) -> Batch:
        """Raises BusUnavailable if no complete answer comes in time. Parts that come later are ignored."""
        batch = Batch(asyncio.get_running_loop().create_future())
        reply = self._inbox.expect(batch)
        try:
            self._bus.publish(
                self._bus.jetstream(f"DIRECT.GET.{self._stream}"),
                json.dumps(request).encode(),
                reply=reply,
                failed=lambda: _fail(batch, "not connected to NATS"),
            )
            async with asyncio.timeout(_BATCH_SECONDS):
                await batch.done
        except TimeoutError as error:
            raise BusUnavailable(f"no batch of {self._stream} came in time") from error
        finally:
            self._inbox.close(reply)
        return batch


async def read_all(bus: Bus, stream: str, subject: str) -> list[Read]:
    """Return the newest message of each subject that matches `subject`, in a stream that has one of each.

    The markers of removed keys are among them. A key that changes meanwhile has its newer message. A key that is new
    may be missing. Raises BusUnavailable or SubscriptionRefused.
    """
    reader = BatchReader(bus, stream)
    found: dict[str, Read] = {}
    start, pending = 1, 1
    try:
        await reader.open()
        while pending:
            request = {"seq": start, "next_by_subj": subject, "batch": _BATCH_MAX, "max_bytes": _BATCH_MAX_BYTES}
            batch = await reader.get(request)
            found.update((read.subject, read) for read in batch.messages)
            start, pending = batch.last + 1, batch.pending
    finally:
        await reader.close()
    return list(found.values())


def _take(batch: Batch, message: Message) -> None:
    """NATS sends every message of a batch as a part, and a status after the last one."""
    headers = message.headers or {}
    status = headers.get(STATUS)
    if status is None:
        batch.pending = int(headers[PENDING])
        if int(headers[LAST_SEQUENCE]) != batch.last:
            _fail(batch, "a part of a batch was lost")
        batch.messages.append(Read(headers[SUBJECT], int(headers[SEQUENCE]), headers[TIME], message.data, headers))
    elif status == _END and int(headers[LAST_SEQUENCE]) != batch.last:
        _fail(batch, "a part of a batch was lost")
    elif status in {_END, _NOT_FOUND}:
        if not batch.done.done():
            batch.done.set_result(None)
    else:
        _fail(batch, f"{status} {headers.get('Description', '')}")


def _fail(batch: Batch, why: str) -> None:
    if not batch.done.done():
        batch.done.set_exception(BusUnavailable(why))
