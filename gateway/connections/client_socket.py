"""The socket as a connection sees it, a substitute for a connection without one, and the log lines of both ends."""

import time
from collections.abc import Callable
from typing import Protocol

from studyroom.shared.chassis import logs
from studyroom.shared.contract.close_codes import CloseCode
from studyroom.shared.contract.ids import ConnectionId, RoomId, UserId

log = logs.FrequentLogger(__name__)


class Socket(Protocol):
    """The part of `gateway.wire.websocket.ClientSocket` that a connection uses."""

    @property
    def closing_since(self) -> float | None:
        """Monotonic seconds; None while no closing handshake is in progress."""

    @property
    def close_reason(self) -> str | None:
        """The reason for which the gateway has closed the socket; None if it has not."""

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

    closing_since = close_reason = None
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


class Logged(Protocol):
    """A connection of any kind, as its log lines show it."""

    socket: Socket

    @property
    def kind(self) -> str:
        """`connection`, `channel` or `editor`."""

    @property
    def id(self) -> ConnectionId: ...
    @property
    def user(self) -> UserId: ...
    @property
    def connected_at(self) -> float:
        """Monotonic seconds."""


def log_connected(client: Logged, room: RoomId | None) -> None:
    """`room`: the one that the address names."""
    log.info("connected", kind=client.kind, connection=client.id, user=client.user, room=room)


def log_disconnected(client: Logged, code: int, room: RoomId | None) -> None:
    """Call it while the client still has its socket. `room`: where it was, or was about to join.

    `by` in the line is the side that has ended it: "gateway", "client", or "network" if there was no close frame.
    `reason` is that of the gateway; reasons of clients may have anything in them, and are not logged.
    """
    reason = client.socket.close_reason
    by = "network" if code == CloseCode.ABNORMAL else "client"
    if reason is not None:
        by = "gateway"
    seconds = round(time.monotonic() - client.connected_at, 3)
    log.info(
        "disconnected",
        kind=client.kind,
        connection=client.id,
        user=client.user,
        room=room,
        code=int(code),
        by=by,
        reason=reason,
        seconds=seconds,
    )
