"""Sockets of plain HTTP: how many an address may have, and deadlines for requests and for reading responses.

The heartbeat checks all deadlines, so that no socket needs a timer.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol


class Transport(Protocol):
    def abort(self) -> None: ...
    def get_write_buffer_size(self) -> int: ...


class Waiting(Protocol):
    """A socket with a deadline."""

    @property
    def transport(self) -> Transport: ...


class Plain(Waiting, Protocol):
    """A socket that is not a WebSocket, or not yet."""

    @property
    def peer(self) -> str | None:
        """The address of the other end."""

    @property
    def busy(self) -> bool:
        """The app is answering a request."""


class PlainSockets:
    """All sockets of plain HTTP. If an address has too many, its oldest idle socket is closed."""

    def __init__(self, of_address: int, limit_key: Callable[[str | None], bytes | None]) -> None:
        """`of_address`: how many one address may have. `limit_key` returns the key of a peer in limits; None if it has
        no limit."""
        self._of_address = of_address
        self._limit_key = limit_key
        self._all: dict[Plain, bytes | None] = {}
        """All sockets with their keys, oldest first."""
        self._by_address: dict[bytes, dict[Plain, None]] = {}
        """The sockets of each key, oldest first."""
        self._ended = 0

    def add(self, plain: Plain) -> None:
        """Closes the socket at once if its address has too many, and all others are busy."""
        address = self._limit_key(plain.peer)
        self._all[plain] = address
        if address is None:
            return
        own = self._by_address.setdefault(address, {})
        own[plain] = None
        if len(own) > self._of_address:
            self._end_oldest(own)

    def discard(self, plain: Plain) -> None:
        address = self._all.pop(plain, None)
        if address is not None:
            own = self._by_address[address]
            del own[plain]
            if not own:
                del self._by_address[address]

    def make_room(self) -> None:
        """Close the oldest idle socket, because file descriptors run out."""
        self._end_oldest(self._all)

    def take_ended(self) -> int:
        """How many sockets this object has closed since the last call."""
        ended, self._ended = self._ended, 0
        return ended

    def _end_oldest(self, plains: Iterable[Plain]) -> None:
        idle = next((plain for plain in plains if not plain.busy), None)
        if idle is not None:
            self.discard(idle)
            self._ended += 1
            idle.transport.abort()


class _Deadlines:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[Waiting, float] = {}
        """When each deadline began to run (monotonic seconds), oldest first."""
        self._taken_over: dict[Waiting, float] = {}
        """The same for deadlines that began to run for another object. They are in no order."""

    def __contains__(self, waiting: Waiting) -> bool:
        return waiting in self._since or waiting in self._taken_over

    def add(self, waiting: Waiting, *, since: float | None = None) -> None:
        """Start the deadline, unless it is running already.

        `since`: when it began to run for another object of the same socket (monotonic seconds).
        """
        if since is not None:
            self._taken_over[waiting] = since
        elif waiting not in self._taken_over:
            self._since.setdefault(waiting, time.monotonic())

    def discard(self, waiting: Waiting) -> None:
        self._since.pop(waiting, None)
        self._taken_over.pop(waiting, None)

    def abort_late(self) -> int:
        """Close the sockets that are past their deadline. Returns how many they were."""
        deadline = time.monotonic() - self._seconds
        late = [waiting for waiting, since in self._taken_over.items() if since <= deadline]
        for waiting, since in self._since.items():
            if since > deadline:
                break
            late.append(waiting)
        for waiting in late:
            self.discard(waiting)
            waiting.transport.abort()
        return len(late)


class AwaitedRequests(_Deadlines):
    """Sockets from which a request is due, or the rest of one."""


class UnreadAnswers(_Deadlines):
    """Sockets whose client has not read all of a response. A limit bounds the unread bytes of all together."""

    def __init__(self, seconds: float, *, max_bytes: int) -> None:
        super().__init__(seconds)
        self._max_bytes = max_bytes
        self._bytes: dict[Waiting, int] = {}
        """The unread bytes of each socket at the last measurement."""
        self._total_bytes = 0
        self._ended = 0

    def add(self, waiting: Waiting, *, since: float | None = None) -> None:
        """Call it when the transport begins to buffer. Over the limit, the sockets with the most are closed."""
        super().add(waiting, since=since)
        self._measure(waiting)
        if self._total_bytes > self._max_bytes:
            for each in list(self._bytes):
                self._measure(each)
        while self._total_bytes > self._max_bytes:
            most = max(self._bytes, key=self._bytes.__getitem__)
            self.discard(most)
            self._ended += 1
            # Not now, because that transport may be in the middle of a write.
            asyncio.get_running_loop().call_soon(most.transport.abort)

    def discard(self, waiting: Waiting) -> None:
        super().discard(waiting)
        self._total_bytes -= self._bytes.pop(waiting, 0)

    def abort_late(self) -> int:
        """Close the sockets that are past their deadline. Returns how many were closed since the last call, also
        because of the limit."""
        ended, self._ended = self._ended + super().abort_late(), 0
        return ended

    def _measure(self, waiting: Waiting) -> None:
        size = waiting.transport.get_write_buffer_size()
        self._total_bytes += size - self._bytes.get(waiting, 0)
        self._bytes[waiting] = size
