"""The subscriptions of `NatsClient`, which take little memory."""

import asyncio
from typing import TYPE_CHECKING

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

if TYPE_CHECKING:
    from studyroom.shared.chassis.nats.client import NatsClient


class HandledSubscription(Subscription):
    """A subscription whose messages are handled when they are read.

    Those of nats-py take four times as much memory. Attributes that all subscriptions have in common are in the class.
    """

    _max_msgs = _received = _pending_size = 0
    _cb = _future = _wait_for_msgs_task = _message_iterator = _jsi = None
    _pending_next_msgs_calls = None  # type: ignore[assignment] # as nats-py sets it
    _closed = False

    def __init__(self, client: "NatsClient", sid: int, subject: str, queue: str, pending: "asyncio.Queue[Msg]") -> None:
        self._conn, self._id, self._subject, self._queue = client, sid, subject, queue
        self._pending_queue = pending
