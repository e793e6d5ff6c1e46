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


class Acceptor:
    """Accepts the connections of one listener for uvicorn, in place of an `asyncio.Server`. It owns the listener."""

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        *,
        below: int,
        make_room: Callable[[], None],
    ) -> None:
        """Start accepting.

        `below`: connections use only descriptors with lower numbers.
        `make_room`: called every 50 ms while none is free, to close connections that are dispensable.
        """
        self._listener = listener
        self._protocol = protocol
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

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connected, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._wait_for_descriptors()
                    return
                continue  # This connection failed before accept returned (accept(2), "Error handling").
            connected.setblocking(False)
            number = connected.fileno()
            task = self._loop.create_task(self._connect(connected), name="accept")
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
            if number + 1 >= self._below:
                self._wait_for_descriptors()
                return

    async def _connect(self, connected: socket.socket) -> None:
        try:
            transport, _ = await self._loop.connect_accepted_socket(self._protocol, connected)
        except OSError as error:  # The client has disconnected already.
            log.debug("a client disconnected at once", error=str(error))
            connected.close()
            return
        if self._closed:
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
