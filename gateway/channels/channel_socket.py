"""The sockets of channels. All write to the one real socket, and say first which channel the frames belong to."""

import time
from collections.abc import Callable

from studyroom.gateway.connections.client_socket import NOWHERE, Socket
from studyroom.gateway.wire.framing import text_frame
from studyroom.shared.contract.channels import Channel, ChannelPayload
from studyroom.shared.contract.messages import encode


class Line:
    """The real socket, for all channels of a connection."""

    __slots__ = ("_writes_in", "socket", "wrote")

    def __init__(self, wrote: Callable[[], None]) -> None:
        """`wrote`: called after every write."""
        self.socket: Socket = NOWHERE
        self.wrote = wrote
        self._writes_in = 0
        """The channel to which the last frames belong."""

    def write(self, channel: int, frames: bytes) -> None:
        if channel != self._writes_in:
            self._writes_in = channel
            frames = _switch(channel) + frames
        self.socket.write(frames)
        self.wrote()


class LeadSocket:
    """The socket of channel 0, which is the connection itself."""

    __slots__ = ("_line",)

    def __init__(self, line: Line) -> None:
        self._line = line

    @property
    def closing_since(self) -> float | None:
        return self._line.socket.closing_since

    @property
    def close_reason(self) -> str | None:
        return self._line.socket.close_reason

    @property
    def buffered_bytes(self) -> int:
        return self._line.socket.buffered_bytes

    @property
    def progress_bytes(self) -> int:
        return self._line.socket.progress_bytes

    def write(self, frames: bytes) -> None:
        self._line.write(0, frames)

    def hold(self) -> None:
        self._line.socket.hold()

    def release(self) -> None:
        self._line.socket.release()

    def close(self, code: int, reason: str = "") -> None:
        self._line.socket.close(code, reason)

    def abort(self) -> None:
        self._line.socket.abort()


class ChannelSocket:
    """The socket of another channel."""

    __slots__ = ("_close", "_close_reason", "_closed_at", "_line", "_number")
    buffered_bytes = 0
    """Unread bytes count for the connection, and not again for each channel."""

    def __init__(self, line: Line, number: int, close: Callable[[int, str], None]) -> None:
        """`close`: notifies the client that the channel has ended, with a close code and a reason. Called once."""
        self._line = line
        self._number = number
        self._close = close
        self._closed_at: float | None = None
        self._close_reason = ""
        """Empty for a channel that the client closes."""

    @property
    def closing_since(self) -> float | None:
        return self._closed_at or self._line.socket.closing_since

    @property
    def close_reason(self) -> str | None:
        if self._closed_at is None:
            return self._line.socket.close_reason
        return self._close_reason or None

    @property
    def progress_bytes(self) -> int:
        return self._line.socket.progress_bytes

    def write(self, frames: bytes) -> None:
        if self._closed_at is None:
            self._line.write(self._number, frames)

    def hold(self) -> None:
        """The connection as a whole sends too much, or none of it."""

    def release(self) -> None: ...

    def close(self, code: int, reason: str = "") -> None:
        if self._closed_at is None:
            self._closed_at, self._close_reason = time.monotonic(), reason
            self._close(code, reason)

    def abort(self) -> None:
        """Do nothing: a channel ends when it closes, or with the socket of its connection."""


def _switch(channel: int) -> bytes:
    return text_frame(encode(Channel.model_construct(payload=ChannelPayload.model_construct(channel=channel))))
