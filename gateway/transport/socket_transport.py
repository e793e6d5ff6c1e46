"""The transports: `SocketTransport` for WebSockets, and aiofastnet's for HTTP.

aiofastnet's transport takes 5.5 KB for each connection, most of it a vector for writes of many parts. `SocketTransport`
works like asyncio's transports. It keeps only its socket, and a list of unwritten data if there is any.
"""

import asyncio
import fcntl
import socket
import struct
import termios
from collections import deque
from functools import partial
from itertools import islice
from typing import Protocol

import aiofastnet

from studyroom.gateway.transport.native import receive, send
from studyroom.gateway.transport.poller import READABLE, WRITABLE, poller_of

HIGH_WATER_BYTES, LOW_WATER_BYTES = 65_536, 16_384
_PARTS_PER_WRITE = 256

_NO_MORE: deque[bytes | memoryview] = deque()
"""The backlog of a transport that has ended. So `write` needs only one check while the transport is open."""


def use_fast_transports() -> None:
    """Let the running event loop use aiofastnet's transports for accepted connections.

    Call it before you create the first listener. The connection to NATS stays with the event loop: over TLS, aiofastnet
    writes the certificate of the server to a temporary file, and fails where the file system is read-only.
    """
    loop = asyncio.get_running_loop()
    loop.connect_accepted_socket = partial(  # type: ignore[method-assign]
        aiofastnet.connect_accepted_socket, loop
    )


class Reader(Protocol):
    """The part of `asyncio.Protocol` that a transport calls."""

    def data_received(self, data: bytes, /) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None, /) -> None: ...


class SocketTransport:
    """A transport of the running event loop. `write`, `close` and `abort` never raise, even if the peer is gone."""

    __slots__ = (
        "_backlog",
        "_backlog_bytes",
        "_closing",
        "_ended",
        "_events",
        "_fd",
        "_loop",
        "_paused",
        "_poller",
        "_reader",
        "_reading",
        "_socket",
        "_taken_bytes",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, connected: socket.socket, reader: Reader) -> None:
        """Takes over `connected`, which must be non-blocking. Reads nothing before `resume_reading`."""
        self._loop = loop
        self._poller = poller_of(loop)
        self._events = 0
        """The events that the poller watches for."""
        self._socket = connected
        self._fd = connected.fileno()
        self._reader = reader
        self._backlog: deque[bytes | memoryview] | None = None
        """Data that the socket has not taken; None if there is none."""
        self._backlog_bytes = 0
        self._taken_bytes = 0
        """How many bytes of backlogs the socket has taken so far."""
        self._reading = False
        self._paused = False
        """The backlog was over its high-water mark, and since then not under the low one."""
        self._closing = False
        self._ended = False

    # --- state --------------------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return self._backlog_bytes

    def get_progress_bytes(self) -> int:
        """Grows with the bytes that the other end acknowledges while there is a backlog. It may be below 0.

        The bytes that the socket takes are not precise enough: the kernel makes a socket writable only when a third of
        its buffer is free, which may be a megabyte.
        """
        if self._ended:
            return self._taken_bytes
        try:
            (unacknowledged,) = struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)))
        except OSError:  # the system does not support it
            unacknowledged = 0
        return self._taken_bytes - int(unacknowledged)

    # --- reading ------------------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._watch()

    def resume_reading(self) -> None:
        if not self._reading and not self._closing:
            self._reading = True
            self._watch()

    def _watch(self) -> None:
        """Watch for what the transport waits for now."""
        events = READABLE if self._reading else 0
        if self._backlog is not None and not self._ended:
            events |= WRITABLE
        if events != self._events:
            self._poller.change(self._fd, self, self._events, events)
            self._events = events

    def ready(self, events: int) -> None:
        """The poller reports `events`. Errors that it reports are those of the next read or write."""
        if events != READABLE and self._backlog is not None:
            self._writable()
        if events != WRITABLE and self._reading:
            self._readable()

    def _readable(self) -> None:
        """Read once in each iteration of the event loop, so that all sockets make progress."""
        try:
            data = receive(self._fd)
        except OSError as error:
            self._end(error)
            return
        if data:
            self._reader.data_received(data)
        elif data is not None:
            self.close()

    # --- writing ------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write at once, and keep what the socket does not take. Does nothing after the end. `data` must not change,
        because it is not copied."""
        if self._backlog is None:
            try:
                sent = send(self._fd, data)
            except OSError as error:
                self._end(error)
                return
            if sent == len(data) or self._ended:
                return
            self._backlog = deque((memoryview(data)[sent:],))
            self._backlog_bytes = len(data) - sent
            self._watch()
        elif self._ended:
            return
        else:
            self._backlog.append(data)
            self._backlog_bytes += len(data)
        if self._backlog_bytes > HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._reader.pause_writing()

    def _writable(self) -> None:
        backlog = self._backlog
        if backlog is None or self._ended:
            return
        try:
            sent = self._socket.sendmsg(islice(backlog, _PARTS_PER_WRITE))
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error)
            return
        self._backlog_bytes -= sent
        self._taken_bytes += sent
        while backlog and sent >= len(backlog[0]):
            sent -= len(backlog.popleft())
        if backlog:
            backlog[0] = memoryview(backlog[0])[sent:]
        else:
            self._backlog = None
            self._watch()
            if self._closing:
                self._end(None)
                return
        if self._paused and self._backlog_bytes <= LOW_WATER_BYTES:
            self._paused = False
            self._reader.resume_writing()

    # --- the end ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop reading, and end when everything is written."""
        if self._closing:
            return
        self.pause_reading()
        self._closing = True
        if self._backlog is None:
            self._end(None)

    def abort(self) -> None:
        """End now, without the unwritten data."""
        self._end(None)

    def _end(self, error: OSError | None) -> None:
        """Calls the reader in the next iteration of the event loop, because it may be in the middle of a call now."""
        if self._ended:
            return
        self._reading = False
        self._ended = self._closing = True
        self._watch()
        self._backlog = _NO_MORE
        self._backlog_bytes = 0
        self._loop.call_soon(self._notify_end, error)

    def _notify_end(self, error: OSError | None) -> None:
        reader = self._reader
        self._reader = None  # type: ignore[assignment] # breaks the reference cycle, and nothing calls it any more
        try:
            reader.connection_lost(error)
        finally:
            self._socket.close()
