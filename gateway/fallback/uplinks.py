"""Takes messages of fallback clients to their connections, which may be at another gateway.

A load balancer may send each request of a client to any gateway. A gateway that does not have the connection passes the
batch on over NATS, and its answer back.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from studyroom.gateway.fallback.event_socket import EventSocket, Taken
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusUnavailable, Message
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import GatewayId

log = logs.get(__name__)

_ANSWER_SECONDS = 5.0
_SECRET_BYTES = 16
_KNOWN_MAX = 10_000
_HEAD_MAX_BYTES = 200
_WAITING_MAX = 1000


class Batch(NamedTuple):
    """Messages of one client."""

    secret: str
    """Names the connection, and proves that the batch is from its client."""
    number: int
    """From 1. A batch that comes again has the same number."""
    lines: bytes
    """A message in each line. Without any, the batch shows that the client is there."""
    close_code: int = 0
    """The client closes the connection with this code after these messages; 0 if it does not."""


class Unknown(Exception):
    """There is no such connection, or not any more."""


class TooManyUnknown(Exception):
    """The sender has asked for too many connections that it may not have."""


class Uplinks:
    def __init__(self, gateway: GatewayId, bus: Bus, tasks: Tasks) -> None:
        self.gateway = gateway
        self._bus = bus
        self._tasks = tasks
        self._sockets: dict[str, EventSocket] = {}
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        """The requests that other gateways have not answered, by their ids."""
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Gateways and secrets of connections elsewhere that have taken a batch, the latest last."""

    def __len__(self) -> int:
        return len(self._sockets)

    async def start(self) -> None:
        await self._bus.subscribe(subjects.gateway_uplink(self.gateway), self._asked)
        await self._bus.subscribe(subjects.gateway_uplinked(self.gateway), self._answered)

    def add(self, socket: EventSocket) -> str:
        """Returns a secret, with which the client of the socket sends its messages to this gateway."""
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        self._sockets[secret] = socket
        return secret

    def discard(self, secret: str) -> None:
        self._sockets.pop(secret, None)

    async def take(self, gateway: GatewayId, batch: Batch, may_ask: Callable[[], bool]) -> Taken:
        """Take a batch to its connection.

        `may_ask`: whether the sender may ask another gateway about a connection that is new to this gateway. Raises
        Unknown, TooManyUnknown, or BusUnavailable if the other gateway does not answer. Then the client may try again.
        """
        if gateway == self.gateway:
            return await self._take(batch)
        name = (gateway, batch.secret)
        if name not in self._known and not may_ask():
            raise TooManyUnknown
        outcome = await self._ask(gateway, batch)
        if outcome is None:
            self._known.pop(name, None)
            raise Unknown
        self._known[name] = None
        self._known.move_to_end(name)
        if len(self._known) > _KNOWN_MAX:
            self._known.popitem(last=False)
        return outcome

    async def _take(self, batch: Batch) -> Taken:
        """Raises Unknown."""
        socket = self._sockets.get(batch.secret)
        if socket is None:
            raise Unknown
        taken = await socket.take(batch.number, batch.lines)
        if batch.close_code and taken is Taken.YES:
            socket.leave(batch.close_code)
        return taken

    # --- between gateways ---------------------------------------------------------------------------------

    async def _ask(self, gateway: GatewayId, batch: Batch) -> Taken | None:
        """None if the other gateway does not have the connection. Raises BusUnavailable."""
        if len(self._waiting) >= _WAITING_MAX:
            raise BusUnavailable("too many batches wait for other gateways")
        request = secrets.token_hex(8)
        answer = self._waiting[request] = asyncio.get_running_loop().create_future()
        head = f"{self.gateway} {request} {batch.secret} {batch.number} {batch.close_code}\n"
        try:
            self._bus.publish(subjects.gateway_uplink(gateway), head.encode() + batch.lines)
            async with asyncio.timeout(_ANSWER_SECONDS):
                outcome = await answer
        except TimeoutError as error:
            raise BusUnavailable("the gateway with the connection does not answer") from error
        finally:
            del self._waiting[request]
        return Taken(outcome.decode()) if outcome else None

    def _asked(self, message: Message) -> None:
        head, _, lines = message.data.partition(b"\n")
        try:
            asker, request, secret, number, close_code = head[:_HEAD_MAX_BYTES].decode("ascii").split(" ")
            batch = Batch(secret, int(number), lines, int(close_code))
        except ValueError as error:
            log.error("malformed batch of another gateway", error=str(error))
            return
        self._tasks.spawn("uplink", self._answer(GatewayId(asker), request, batch))

    async def _answer(self, asker: GatewayId, request: str, batch: Batch) -> None:
        try:
            outcome = (await self._take(batch)).value
        except Unknown:
            outcome = ""
        self._bus.publish(subjects.gateway_uplinked(asker), f"{request} {outcome}".encode())

    def _answered(self, message: Message) -> None:
        request, _, outcome = message.data.partition(b" ")
        answer = self._waiting.get(request.decode("ascii", "replace"))
        if answer is not None and not answer.done():
            answer.set_result(outcome)
