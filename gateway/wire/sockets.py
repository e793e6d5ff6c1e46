"""Sockets of plain HTTP that keep us waiting: for a request, or until an answer is read. One sweep serves them all."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol


class Transport(Protocol):
    def abort(self) -> None: ...
    def get_write_buffer_size(self) -> int: ...


class Waiting(Protocol):
    """Whom we wait for."""

    @property
    def transport(self) -> Transport: ...


class Plain(Waiting, Protocol):
    """A socket that is no WebSocket, or not yet one."""

    @property
    def peer(self) -> str | None:
        """The address of its other end."""

    @property
    def busy(self) -> bool:
        """A request is being answered."""


class PlainSockets:
    """All sockets of plain HTTP. An address that has too many makes room with its own: the oldest that is idle goes."""

    def __init__(self, of_address: int, limit_key: Callable[[str | None], bytes | None]) -> None:
        """`of_address`: how many one may have. `limit_key`: the address of a peer; None when it has no limit."""
        self._of_address = of_address
        self._limit_key = limit_key
        self._all: dict[Plain, bytes | None] = {}
        self._by_address: dict[bytes, dict[Plain, None]] = {}
        """Oldest first, as above."""
        self._ended = 0

    def add(self, plain: Plain) -> None:
        """May end it at once: when all others of its address are busy."""
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
        """Descriptors are short: end the oldest that is idle."""
        self._end_oldest(self._all)

    def take_ended(self) -> int:
        """How many have been ended since the last call."""
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
        """Oldest first."""

    def __contains__(self, waiting: Waiting) -> bool:
        return waiting in self._since

    def add(self, waiting: Waiting) -> None:
        """Counts from the first call until `discard`."""
        self._since.setdefault(waiting, time.monotonic())

    def discard(self, waiting: Waiting) -> None:
        self._since.pop(waiting, None)

    def abort_late(self) -> int:
        """End those that took too long; how many they were."""
        deadline = time.monotonic() - self._seconds
        late = []
        for waiting, since in self._since.items():
            if since > deadline:
                break
            late.append(waiting)
        for waiting in late:
            self.discard(waiting)
            waiting.transport.abort()
        return len(late)


class AwaitedRequests(_Deadlines):
    """Those that owe a request, or what is left of one."""


class UnreadAnswers(_Deadlines):
    """Those that have not read all of an answer. What they leave unread together is bounded, too."""

    def __init__(self, seconds: float, *, max_bytes: int) -> None:
        super().__init__(seconds)
        self._max_bytes = max_bytes
        self._bytes: dict[Waiting, int] = {}
        """When it was last looked at."""
        self._total_bytes = 0
        self._ended = 0

    def add(self, waiting: Waiting) -> None:
        """To be called when the transport begins to hold something back. May end who leaves most."""
        super().add(waiting)
        self._look_at(waiting)
        if self._total_bytes > self._max_bytes:
            for one in list(self._bytes):
                self._look_at(one)
        while self._total_bytes > self._max_bytes:
            most = max(self._bytes, key=self._bytes.__getitem__)
            self.discard(most)
            self._ended += 1
            # Soon, since this may be called while that transport is writing.
            asyncio.get_running_loop().call_soon(most.transport.abort)

    def discard(self, waiting: Waiting) -> None:
        super().discard(waiting)
        self._total_bytes -= self._bytes.pop(waiting, 0)

    def abort_late(self) -> int:
        """End those that took too long; how many have been ended since the last call, for this or for leaving most."""
        ended, self._ended = self._ended + super().abort_late(), 0
        return ended

    def _look_at(self, waiting: Waiting) -> None:
        size = waiting.transport.get_write_buffer_size()
        self._total_bytes += size - self._bytes.get(waiting, 0)
        self._bytes[waiting] = size
