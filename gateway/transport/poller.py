"""Finds out which sockets are ready, for all of them at once.

An event loop costs one callback for each ready socket, and half a kilobyte for each that it watches. So it watches only
the poller, which has an epoll of its own. Systems without epoll use the event loop.

Waking up for one message costs as much as reading several. So a busy gateway lets the poller pause after it has handled
the sockets that are ready, and messages gather meanwhile. An idle one is woken by the next message.
"""

import asyncio
import select
from collections.abc import Callable
from typing import Protocol

READABLE, WRITABLE = 1, 4
"""The values of epoll, which also reports others if a socket has failed."""
_AT_ONCE = 1024
"""How many sockets one iteration of the event loop handles. If more are ready, it comes back for them."""
_HAS_EPOLL = hasattr(select, "epoll")


class Ready(Protocol):
    def ready(self, events: int, /) -> None:
        """The socket is ready, or has failed. Must not raise. `events`: as reported by epoll."""


class Poller:
    """The sockets of one event loop."""

    __slots__ = ("_after", "_epoll", "_handling", "_pausing", "_watched", "loop", "pause_seconds")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.pause_seconds = 0.0
        """How long to pause; 0 for not at all. Event loops round it to milliseconds."""
        self._epoll = select.epoll()
        self._watched: dict[int, Ready] = {}
        self._handling = False
        self._after: list[Callable[[], None]] = []
        """Functions to call when the ready sockets are handled."""
        self._pausing = False
        """A timer polls next, and the event loop does not watch the poller."""

    def change(self, fd: int, watched: Ready, before: int, after: int) -> None:
        """Watch for the events `after` instead of those `before`; 0 for none."""
        if not before:
            self._epoll.register(fd, after)
            if not self._watched and not self._pausing:
                self.loop.add_reader(self._epoll.fileno(), self._poll)
            self._watched[fd] = watched
        elif after:
            self._epoll.modify(fd, after)
        else:
            del self._watched[fd]
            if not self._watched and not self._pausing:
                self.loop.remove_reader(self._epoll.fileno())
            self._epoll.unregister(fd)

    def _poll(self) -> None:
        try:
            self._handle()
        finally:
            if self.pause_seconds > 0 and self._watched:
                self._pausing = True
                self.loop.remove_reader(self._epoll.fileno())
                self.loop.call_later(self.pause_seconds, self._poll_again)

    def _poll_again(self) -> None:
        """After a pause. If nothing has come meanwhile, let the event loop watch the poller again."""
        came = True
        try:
            came = self._handle()
        finally:
            if came and self.pause_seconds > 0:
                self.loop.call_later(self.pause_seconds, self._poll_again)
            else:
                self._pausing = False
                if self._watched:
                    self.loop.add_reader(self._epoll.fileno(), self._poll)

    def _handle(self) -> bool:
        """Handle the sockets that are ready. Return whether there were any."""
        watched = self._watched
        ready = self._epoll.poll(0, _AT_ONCE)
        self._handling = True
        try:
            for fd, events in ready:
                one = watched.get(fd)
                if one is not None:  # one that was handled before it may have ended it
                    one.ready(events)
        finally:
            self._handling = False
            while self._after:
                self._after.pop()()
        return bool(ready)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call it when the sockets are handled that are ready now, which is sooner than an iteration of the loop."""
        if self._handling:
            self._after.append(callback)
        else:
            self.loop.call_soon(callback)


class LoopPoller(Poller):
    """The same by the event loop, for systems without epoll. It does not pause."""

    __slots__ = ()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.pause_seconds = 0.0
        self._handling = False

    def change(self, fd: int, watched: Ready, before: int, after: int) -> None:
        for event, add, remove in (
            (READABLE, self.loop.add_reader, self.loop.remove_reader),
            (WRITABLE, self.loop.add_writer, self.loop.remove_writer),
        ):
            if after & event and not before & event:
                add(fd, watched.ready, event)
            elif before & event and not after & event:
                remove(fd)


_pollers: list[Poller] = []
"""The poller of the newest event loop, if there was one."""


def poller_of(loop: asyncio.AbstractEventLoop) -> Poller:
    if not _pollers or _pollers[0].loop is not loop:
        _pollers[:] = [Poller(loop) if _HAS_EPOLL else LoopPoller(loop)]
    return _pollers[0]


def pause_between_reads(seconds: float) -> None:
    """Let the poller of the running event loop pause for so long after each time it has handled ready sockets."""
    poller_of(asyncio.get_running_loop()).pause_seconds = seconds


def call_after_reads(callback: Callable[[], None]) -> None:
    """Call it when the sockets of the running event loop are handled that are ready now."""
    poller_of(asyncio.get_running_loop()).call_soon(callback)
