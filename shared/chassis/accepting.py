"""Accepts connections from a listener while file descriptors are left.

The servers of the event loops do not cope with a lack of descriptors: uvloop closes its listener for good, and
aiofastnet fails again in every iteration of the loop. The acceptor here stops reading the listener until descriptors
are free again. Clients wait in the kernel's queue meanwhile.
"""

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.descriptors import lowest_free

log = logs.get(__name__)

_AT_ONCE = 64
"""The most connections per iteration of the loop, so that open connections and other workers get their time."""
_LOOK_SECONDS = 0.05
"""How often the acceptor checks for free descriptors."""
_REPEAT_SECONDS = 60.0
"""The shortest time between two warnings."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


Serve = Callable[[socket.socket, str, Callable[..., None]], None]
"""Serves a new, non-blocking socket, given the address of its other end and `Acceptor.connect`."""


class Acceptor:
    """Accepts the connections of one listener for uvicorn, in place of an `asyncio.Server`. It owns the listener."""

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[..., asyncio.BaseProtocol],
        *,
        below: int,
        make_room: Callable[[], None],
        serve: Serve | None = None,
    ) -> None:
        """Start accepting.

        `protocol`: creates a protocol of uvicorn. It takes the options of `connect`.
        `serve`: None to let uvicorn serve all sockets.
        `below`: connections use only descriptors with lower numbers.
        `make_room`: called every 50 ms while none is free, to close connections that are dispensable.
        """
        self._listener = listener
        self._protocol = protocol
        self._serve = serve
        self._below = below
        self._make_room = make_room
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[Any]] = set()
        self._look_due: asyncio.TimerHandle | None = None
        self._warn_at = 0.0
        self._closed = False
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._look_due is not None:
            self._look_due.cancel()
        else:
            self._loop.remove_reader(self._listener)
        self._listener.close()

    async def wait_closed(self) -> None:
        """Wait until all accepted connections have their protocol."""
        while self._connecting:
            await asyncio.wait(self._connecting)

    def connect(self, connected: socket.socket, **options: Any) -> None:
        """Let uvicorn serve a socket. `options`: for its protocol."""
        task = self._loop.create_task(self._connect(connected, options, is_late=self._closed), name="accept")
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def _accept(self) -> None:
        """Accept first and serve then, so that the first bytes of the new sockets have time to come."""
        for connected, address in self._accept_waiting():
            try:
                if self._serve is None:
                    self.connect(connected)
                else:
                    self._serve(connected, address, self.connect)
            except Exception:
                # The other new sockets must still be served.
                log.exception("a new connection failed with an internal error")
                connected.close()

    def _accept_waiting(self) -> list[tuple[socket.socket, str]]:
        """The sockets that wait in the kernel's queue, with the addresses of their other ends."""
        accepted: list[tuple[socket.socket, str]] = []
        for _ in range(_AT_ONCE):
            try:
                connected, address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._wait_for_descriptors()
                    break
                continue  # This connection failed before accept returned (accept(2), "Error handling").
            connected.setblocking(False)
            accepted.append((connected, address[0]))
            if connected.fileno() + 1 >= self._below:
                self._wait_for_descriptors()
                break
        return accepted

    async def _connect(self, connected: socket.socket, options: dict[str, Any], *, is_late: bool) -> None:
        """`is_late`: the acceptor was closed already, so the socket is one of those that `stop` waits for."""
        protocol = partial(self._protocol, **options)
        try:
            transport, _ = await self._loop.connect_accepted_socket(protocol, connected)
        except OSError as error:  # The client has disconnected already.
            log.debug("a client disconnected at once", error=str(error))
            connected.close()
            return
        if self._closed and not is_late:
            transport.abort()

    def _wait_for_descriptors(self) -> None:
        self._loop.remove_reader(self._listener)
        now = time.monotonic()
        if now >= self._warn_at:
            self._warn_at = now + _REPEAT_SECONDS
            log.warning("connections wait, because no file descriptors are left", descriptors=self._below)
        self._look()

    def _look(self) -> None:
        if lowest_free(self._listener.fileno()) + 1 < self._below:
            self._look_due = None
            self._loop.add_reader(self._listener, self._accept)
            return
        self._make_room()
        self._look_due = self._loop.call_later(_LOOK_SECONDS, self._look)
