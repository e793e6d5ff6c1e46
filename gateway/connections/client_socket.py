"""What a connection needs of its socket, and what it has instead while there is none."""

from collections.abc import Callable
from typing import Protocol


class Socket(Protocol):
    """What a connection needs of its socket; `gateway.wire.websocket.ClientSocket` is one."""

    @property
    def closing_since(self) -> float | None: ...
    @property
    def buffered_bytes(self) -> int: ...

    @property
    def progress_bytes(self) -> int:
        """Grows with what the client takes of that."""

    @property
    def write(self) -> Callable[[bytes], None]:
        """Encoded frames. Does not raise, and does nothing once the socket is closing."""

    def hold(self) -> None:
        """Read nothing more until `release`: the client has to wait. What was read already still comes."""

    def release(self) -> None: ...
    def close(self, code: int, reason: str = "") -> None: ...
    def abort(self) -> None: ...


class Nowhere:
    """The socket of a connection that has none (yet, or any more)."""

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
