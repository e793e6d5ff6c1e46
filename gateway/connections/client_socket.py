"""The socket as a connection sees it, and a substitute for a connection without one."""

from collections.abc import Callable
from typing import Protocol


class Socket(Protocol):
    """The part of `gateway.wire.websocket.ClientSocket` that a connection uses."""

    @property
    def closing_since(self) -> float | None:
        """Monotonic seconds; None while no closing handshake is in progress."""

    @property
    def buffered_bytes(self) -> int:
        """How many written bytes the client has not read."""

    @property
    def progress_bytes(self) -> int:
        """Grows with the bytes that the client reads."""

    @property
    def write(self) -> Callable[[bytes], None]:
        """Takes encoded frames. Does not raise, and does nothing after the socket began to close."""

    def hold(self) -> None:
        """Read nothing until `release`, so that the client has to wait. Messages that were read already still come."""

    def release(self) -> None: ...
    def close(self, code: int, reason: str = "") -> None: ...
    def abort(self) -> None: ...


class Nowhere:
    """The socket of a connection before it is open and after it is closed."""

    closing_since = None
    buffered_bytes = progress_bytes = 0

    @staticmethod
    def write(frames: bytes) -> None:
        pass

    def hold(self) -> None:
        pass

    def release(self) -> None:
        pass

    def close(self, code: int, reason: str = "") -> None:
        pass

    def abort(self) -> None:
        pass


NOWHERE = Nowhere()
