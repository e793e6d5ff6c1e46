"""The socket of a connection whose messages come as HTTP requests, and leave as events of one long response."""

import asyncio
import time
from collections.abc import Callable
from enum import Enum

from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.fallback.events import closing, events_of
from studyroom.gateway.transport.socket_transport import HIGH_WATER_BYTES, LOW_WATER_BYTES
from studyroom.shared.chassis import logs
from studyroom.shared.contract.close_codes import CloseCode

log = logs.get(__name__)

_HELD_SECONDS = 2.0
"""How long messages of a client that sends too much wait for the gateway to read again. Then it should try again."""


class Taken(Enum):
    """The outcome of a batch of messages."""

    YES = "yes"
    """Or it had been taken before."""
    HELD = "held"
    """The gateway reads nothing from this client for now."""
    GAP = "gap"
    """The batch before it has not come."""


class EventSocket:
    """The socket of a client for the gateway. The response takes `chunks`, and requests bring batches to `take`."""

    def __init__(self, client: Connection, *, message_max_bytes: int) -> None:
        self._client = client
        self._message_max_bytes = message_max_bytes
        self._frames: list[bytes] = []
        self._more = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._taken = 0
        """The number of the last batch."""
        self._last: bytes | None = None
        """The last event, once the closing handshake began."""
        self._code: int | None = None
        self._abort: Callable[[], None] = lambda: None
        self._ended = False
        self.buffered_bytes = 0
        """How many bytes the response has not taken."""
        self.progress_bytes = 0
        """Grows with the bytes that the response takes."""
        self.paused = False
        """The client is a slow consumer: the buffered bytes are above the high-water mark."""
        self.closing_since: float | None = None
        """Monotonic seconds when the closing began; None while the connection is open."""
        self.close_reason: str | None = None
        """The reason for which the gateway has closed the connection; None if it has not."""

    # --- for the gateway ----------------------------------------------------------------------------------

    def write(self, frames: bytes) -> None:
        """Takes one or more encoded frames. Drops them after the closing began."""
        if self.closing_since is not None:
            return
        self._frames.append(frames)
        self.buffered_bytes += len(frames)
        self._more.set()
        if self.buffered_bytes > HIGH_WATER_BYTES and not self.paused:
            self.paused = True
            self._notify(self._client.congested)

    def hold(self) -> None:
        self._may_read.clear()

    def release(self) -> None:
        self._may_read.set()

    def close(self, code: int, reason: str = "") -> None:
        """End the response after the frames that were written."""
        if self.closing_since is None:
            self._begin_closing(code)
            self.close_reason = reason
            self._last = closing(code, reason)

    def abort(self) -> None:
        """End the response now."""
        self._begin_closing(CloseCode.ABNORMAL)
        self._frames.clear()
        self._abort()

    def _begin_closing(self, code: int) -> None:
        self._code = self._code or code
        self.closing_since = self.closing_since or time.monotonic()
        self._may_read.set()
        self._more.set()

    # --- the response -------------------------------------------------------------------------------------

    def open(self, abort: Callable[[], None]) -> None:
        """The response has begun. `abort` ends its socket at once."""
        self._abort = abort
        self._notify(lambda: self._client.opened(self))

    async def chunk(self) -> bytes:
        """The next part of the response; b"" after the last one."""
        while not self._frames:
            if self._last is not None:
                last, self._last = self._last, None
                return last
            if self.closing_since is not None:
                return b""
            self._more.clear()
            await self._more.wait()
        frames, self._frames = b"".join(self._frames), []
        return events_of(frames)

    def took(self) -> None:
        """The last chunk is on its way to the client."""
        left = sum(map(len, self._frames))
        self.progress_bytes += self.buffered_bytes - left
        self.buffered_bytes = left
        if self.paused and left < LOW_WATER_BYTES:
            self.paused = False
            self._notify(self._client.relieved)

    def ended(self) -> None:
        """The response has ended, or the client has ended it."""
        if self._ended:
            return
        self._ended = True
        self._begin_closing(CloseCode.ABNORMAL)
        code = self._code or CloseCode.ABNORMAL
        self._notify(lambda: self._client.closed(code))

    # --- requests -----------------------------------------------------------------------------------------

    async def take(self, number: int, lines: bytes) -> Taken:
        """Take a batch of messages, one in each line. Waits a little while the gateway holds the client.

        `number`: batches are numbered from 1. A client sends a batch again if it does not know the outcome.
        """
        self._client.silent_beats = 0
        try:
            async with asyncio.timeout(_HELD_SECONDS):
                await self._may_read.wait()
        except TimeoutError:
            return Taken.HELD
        if number <= self._taken:
            return Taken.YES
        if number > self._taken + 1:
            return Taken.GAP
        self._taken = number
        if not lines.strip():
            self._client.received_overhead()
        for line in lines.split(b"\n"):
            if line and self.closing_since is None:
                self._receive(line)
        return Taken.YES

    def leave(self, code: int) -> None:
        """The client closes the connection with this code."""
        self._begin_closing(code)

    def _receive(self, message: bytes) -> None:
        if len(message) > self._message_max_bytes:
            self.close(CloseCode.MESSAGE_TOO_BIG, f"message over {self._message_max_bytes} bytes")
            return
        try:
            message.decode()
        except UnicodeDecodeError:
            self.close(CloseCode.INVALID_TEXT, "text is not UTF-8")
            return
        self._notify(lambda: self._client.received(message))

    def _notify(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            log.exception("a connection failed with an internal error")
            self.close(CloseCode.INTERNAL_ERROR)
