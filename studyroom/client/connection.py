"""One connection, which is opened again when it is lost.

The only module that knows `websockets`. Of the protocol it knows `Welcome`, `Ping`, refused handshakes and close codes.
"""

import asyncio
import contextlib
import random
import re
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from studyroom.client.archive import read_object, refusal_of
from studyroom.client.core.backoff import Backoff
from studyroom.client.core.liveness import Heartbeat, Liveness, Verdict
from studyroom.client.core.refusals import Refusals
from studyroom.client.core.wire import MalformedMessage, Refusal, decode
from studyroom.client.errors import StudyroomError
from studyroom.client.values import Failure
from studyroom.shared.contract.close_codes import CloseCode, Reconnect, parse_reconnect_hint, reconnect_rule
from studyroom.shared.contract.messages import ClientMessage, Ping, ServerMessage, Welcome, WelcomePayload, encode

_WELCOME_SECONDS = 15.0
"""The time from asking for a token to `Welcome`."""
_CLOSE_SECONDS = 3.0
_GOOD_SECONDS = 5.0
"""A connection that lasted this long was good. The waits before the next attempts are short again."""
_MESSAGE_MAX_BYTES = 64 * 1024 * 1024
"""The roster of a large room with presence is one message."""
_BACKLOG_MAX = 256
_ROOM_HINT = re.compile(r"room_hint=([0-9a-f-]{36})")
_LOST = Failure("connection_lost", "the connection was lost")
_NO_ANSWER = Failure("no_answer", "the server did not answer a Ping in time")
_NO_WELCOME = Failure("no_answer", "the server did not welcome the client in time")


@dataclass(frozen=True, slots=True)
class Address:
    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a connection, or of an attempt to open one."""

    failure: Failure
    code: int = CloseCode.ABNORMAL
    reason: str = ""
    refused: bool = False
    """The server has refused the handshake."""
    after_seconds: float | None = None
    """The wait that the server asks for."""
    lasted_seconds: float = 0.0

    @property
    def room_hint(self) -> str | None:
        found = _ROOM_HINT.search(self.reason) if self.code == CloseCode.SERVICE_RESTART else None
        return None if found is None else found[1]


CLOSE_CALLED = Ended(Failure("close_called", "the program has closed the client"), CloseCode.NORMAL)


@dataclass(frozen=True, slots=True)
class Callbacks:
    """The part of the client that a connection calls."""

    address: Callable[[], Awaitable[Address]]
    """Raises StudyroomError if there is no token."""
    connecting: Callable[[], None]
    opened: Callable[[WelcomePayload], None]
    received: Callable[[ServerMessage | Refusal], None]
    ended: Callable[[Ended, bool], None]
    """The second argument: whether the connection tries again."""


class Connection:
    def __init__(
        self,
        callbacks: Callbacks,
        *,
        backoff: Backoff,
        heartbeat: Heartbeat,
        renews_token: bool,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._on = callbacks
        self._backoff = backoff
        self._heartbeat = heartbeat
        self._tls = tls
        self._refusals = Refusals(renews_token=renews_token)
        self._failures = 0
        """The number of attempts in a row that were not good."""
        self._socket: ClientConnection | None = None
        self._backlog: deque[bytes] = deque()
        self._more = asyncio.Event()
        self._verdict: Failure | None = None
        """Why this side has given the connection up."""
        self._closing = False

    async def run(self) -> None:
        """Connect, and connect again after every loss. Returns when another attempt makes no sense."""
        while True:
            self._on.connecting()
            ended = await self._attempt()
            if ended.lasted_seconds >= _GOOD_SECONDS:
                self._failures = 0
            final = ended.refused and self._refusals.is_final(ended.failure.code)
            reconnects = not final and reconnect_rule(ended.code) is Reconnect.RESUME
            self._on.ended(ended, reconnects)
            if not reconnects:
                return
            await asyncio.sleep(self._wait_after(ended))
            self._failures += 1

    def send(self, message: ClientMessage) -> None:
        self._backlog.append(encode(message))
        self._more.set()

    @property
    def is_congested(self) -> bool:
        """Whether many messages wait, because the server or the network takes none."""
        return len(self._backlog) >= _BACKLOG_MAX

    async def close(self) -> None:
        """Send the messages that wait, then close with 1000, so that others see the leave at once."""
        self._closing = True
        socket = self._socket
        if socket is None:
            return
        with contextlib.suppress(TimeoutError, ConnectionClosed):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._backlog:
                    await socket.send(self._backlog.popleft(), text=True)
                await socket.close(CloseCode.NORMAL)
        socket.transport.abort()

    def _wait_after(self, ended: Ended) -> float:
        """Return the wait in seconds before the next attempt."""
        hint = parse_reconnect_hint(ended.reason) if ended.code == CloseCode.SERVICE_RESTART else None
        if hint is not None:
            return hint / 1000
        return (ended.after_seconds or 0.0) + self._backoff.wait(self._failures, random.random)

    async def _attempt(self) -> Ended:
        try:
            async with asyncio.timeout(_WELCOME_SECONDS):
                socket = await self._open()
                text = await socket.recv()
        except StudyroomError as error:
            return Ended(error.failure)
        except InvalidStatus as refused:
            return _refusal(refused)
        except TimeoutError:
            return await self._abandoned(Ended(_NO_WELCOME))
        except ConnectionClosed:
            return self._closed(lasted_seconds=0.0)
        except (OSError, WebSocketException) as error:
            return Ended(Failure("connection_lost", f"the server cannot be reached: {error}"))
        began = asyncio.get_running_loop().time()
        try:
            await self._converse(socket, text)
        finally:
            # Without waiting for the closing handshake, which a dead peer would not answer.
            socket.transport.abort()
        return self._closed(lasted_seconds=asyncio.get_running_loop().time() - began)

    async def _open(self) -> ClientConnection:
        address = await self._on.address()
        self._verdict = None
        self._backlog.clear()
        is_encrypted = address.url.startswith("wss:")
        tls: dict[str, Any] = {"ssl": self._tls} if is_encrypted and self._tls is not None else {}
        self._socket = await connect(
            address.url,
            additional_headers=dict(address.headers),
            compression=None,  # the gateway declines it
            max_size=_MESSAGE_MAX_BYTES,
            open_timeout=None,
            ping_interval=None,  # `Ping` shows that the gateway answers, and not only its socket
            close_timeout=_CLOSE_SECONDS,
            **tls,
        )
        return self._socket

    async def _abandoned(self, ended: Ended) -> Ended:
        if self._socket is not None:
            self._socket.transport.abort()
            self._socket = None
        return ended

    def _closed(self, *, lasted_seconds: float) -> Ended:
        socket, self._socket = self._socket, None
        code = (socket.close_code if socket is not None else None) or CloseCode.ABNORMAL
        reason = (socket.close_reason if socket is not None else None) or ""
        if self._closing:
            return CLOSE_CALLED
        if self._verdict is not None:
            return Ended(self._verdict, lasted_seconds=lasted_seconds)
        lost = code in {CloseCode.ABNORMAL, CloseCode.NO_STATUS}
        failure = _LOST if lost else Failure("server_closed", reason or f"closed with {code}")
        return Ended(failure, code, reason, lasted_seconds=lasted_seconds)

    async def _converse(self, socket: ClientConnection, first: str | bytes) -> None:
        liveness = Liveness(asyncio.get_running_loop().time(), self._heartbeat)
        async with asyncio.TaskGroup() as tasks:
            helpers = [tasks.create_task(self._write(socket)), tasks.create_task(self._watch(socket, liveness))]
            try:
                self._received(first)
                async for text in socket:
                    liveness.received(asyncio.get_running_loop().time())
                    self._received(text)
            except MalformedMessage as error:
                self._give_up(socket, Failure("malformed_message", str(error)))
            except ConnectionClosed:
                pass  # `_closed` says how
            finally:
                for helper in helpers:
                    helper.cancel()

    def _received(self, text: str | bytes) -> None:
        message = decode(text)
        if isinstance(message, Welcome):
            self._refusals.accepted()
            self._on.opened(message.payload)
        elif message is not None:
            self._on.received(message)

    async def _write(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                while self._backlog:
                    await socket.send(self._backlog.popleft(), text=True)
                self._more.clear()
                await self._more.wait()

    async def _watch(self, socket: ClientConnection, liveness: Liveness) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(max(0.0, liveness.wake_at - clock()))
            match liveness.poll(clock()):
                case Verdict.ASK:
                    self.send(Ping())
                case Verdict.DEAD:
                    return self._give_up(socket, _NO_ANSWER)
                case Verdict.ALIVE:
                    pass

    def _give_up(self, socket: ClientConnection, failure: Failure) -> None:
        self._verdict = failure
        socket.transport.abort()


def _refusal(refused: InvalidStatus) -> Ended:
    response = refused.response
    after = response.headers.get("Retry-After", "")
    return Ended(
        refusal_of(response.status_code, read_object(response.body)),
        refused=True,
        after_seconds=float(after) if after.isascii() and after.isdigit() else None,
    )
