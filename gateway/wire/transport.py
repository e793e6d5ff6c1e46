"""The transports: one of our own for WebSockets, aiofastnet's for everything else.

aiofastnet's transport holds 5.5 KB for each connection, most of it a vector for writes of many parts. `SocketTransport`
does what asyncio's transports do and holds its socket, and a list of what could not be written while there is such.
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

HIGH_WATER_BYTES, LOW_WATER_BYTES = 65_536, 16_384
_PARTS_PER_WRITE = 256
READ_MAX_BYTES = 16_384
"""At once: so much memory is taken for each read, and given back."""

_NO_MORE: deque[bytes | memoryview] = deque()
"""The backlog of a transport that has ended: so `write` has to look at nothing else while it has not."""


def use_fast_transports() -> None:
    """Give the running event loop aiofastnet's transports. Before the first listener is made."""
    loop = aiofastnet.patch_loop()
    loop.connect_accepted_socket = partial(  # type: ignore[method-assign] # the one that `patch_loop` passes over
        aiofastnet.connect_accepted_socket, loop
    )


class Reader(Protocol):
    """What is behind a transport: a part of `asyncio.Protocol`, with its meaning."""

    def data_received(self, data: bytes, /) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None, /) -> None: ...


class SocketTransport:
    """Belongs to the running event loop. `write`, `close` and `abort` never raise, also when the peer is gone."""

    __slots__ = (
        "_backlog",
        "_backlog_bytes",
        "_closing",
        "_ended",
        "_loop",
        "_paused",
        "_reader",
        "_reading",
        "_socket",
        "_taken_bytes",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, connected: socket.socket, reader: Reader) -> None:
        """Reads nothing before `resume_reading`. `connected` is non-blocking and the transport's own from now on."""
        self._loop = loop
        self._socket = connected
        self._reader = reader
        self._backlog: deque[bytes | memoryview] | None = None
        """What the socket did not take yet."""
        self._backlog_bytes = 0
        self._taken_bytes = 0
        """All that the socket ever took of a backlog."""
        self._reading = False
        self._paused = False
        """The backlog went over its high-water mark, and not under the low one since."""
        self._closing = False
        self._ended = False

    # --- what there is to know ----------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return self._backlog_bytes

    def get_progress_bytes(self) -> int:
        """Grows with what the other end takes, while there is a backlog; it may be below 0.

        Not only with what the socket takes: that wakes us when a third of its buffer is free, which may be a megabyte.
        """
        if self._ended:
            return self._taken_bytes
        try:
            (unacknowledged,) = struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)))
        except OSError:  # the system does not say
            unacknowledged = 0
        return self._taken_bytes - int(unacknowledged)

    # --- reading ------------------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._socket)

    def resume_reading(self) -> None:
        if not self._reading and not self._closing:
            self._reading = True
            self._loop.add_reader(self._socket, self._readable)

    def _readable(self) -> None:
        """Once in each turn of the loop: there is another one while there is more, and others have theirs between."""
        try:
            data = self._socket.recv(READ_MAX_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error)
            return
        if data:
            self._reader.data_received(data)
        else:
            self.close()

    # --- writing ------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Now, as far as the socket takes it; nothing after the end. `data` is not copied and must not change."""
        if self._backlog is None:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._end(error)
                return
            if sent == len(data) or self._ended:
                return
            self._backlog = deque((memoryview(data)[sent:],))
            self._backlog_bytes = len(data) - sent
            self._loop.add_writer(self._socket, self._writable)
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
            self._loop.remove_writer(self._socket)
            if self._closing:
                self._end(None)
                return
        if self._paused and self._backlog_bytes <= LOW_WATER_BYTES:
            self._paused = False
            self._reader.resume_writing()

    # --- the end ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Read no more, and end when everything is written."""
        if self._closing:
            return
        self.pause_reading()
        self._closing = True
        if self._backlog is None:
            self._end(None)

    def abort(self) -> None:
        """End now; what was not written is lost."""
        self._end(None)

    def _end(self, error: OSError | None) -> None:
        """The reader is told in the next turn of the loop, since this may be in the midst of a call of its own."""
        if self._ended:
            return
        self.pause_reading()
        self._ended = self._closing = True
        if self._backlog is not None:
            self._loop.remove_writer(self._socket)
        self._backlog = _NO_MORE
        self._backlog_bytes = 0
        self._loop.call_soon(self._notify_end, error)

    def _notify_end(self, error: OSError | None) -> None:
        reader = self._reader
        del self._reader  # it knows us too: what it holds is given back now, not when the collector comes by
        try:
            reader.connection_lost(error)
        finally:
            self._socket.close()
