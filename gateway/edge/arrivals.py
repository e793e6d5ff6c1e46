"""Serves new sockets: answers WebSocket handshakes, and gives all other sockets to uvicorn.

A handshake usually comes in one piece. Then nothing of uvicorn is necessary: no transport, protocol or task. Arrivals
look at the bytes of a new socket without taking them. If they are a whole, well-formed handshake, the gateway answers
it. Otherwise uvicorn gets the socket with all its bytes, and `HttpProtocol` decides.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from studyroom.gateway.wire.handshake import Handshake, read_handshake
from studyroom.gateway.wire.header_fields import combined
from studyroom.gateway.wire.sockets import AwaitedRequests, PlainSockets
from studyroom.gateway.wire.upgrade import Edge, WireLimits
from studyroom.gateway.wire.websocket import answer_handshake
from studyroom.shared.chassis import logs

log = logs.get(__name__)

_LOOK_BYTES = 8192
"""Longer heads go to uvicorn. Those of browsers have about 1 KB, with cookies and a token about 3 KB."""
_HEAD_END = b"\r\n\r\n"


Give = Callable[..., None]
"""Lets uvicorn serve a socket. Options are those of `HttpProtocol`."""


class Arrivals:
    def __init__(self, edge: Edge, limits: WireLimits, awaited: AwaitedRequests, plain: PlainSockets) -> None:
        self._edge = edge
        self._limits = limits
        self._awaited = awaited
        self._plain = plain
        self._look_bytes = min(_LOOK_BYTES, limits.headers_max_bytes)
        self._seen = memoryview(bytearray(self._look_bytes))
        """The bytes of the socket that is being looked at."""

    def serve(self, connected: socket.socket, peer: str | None, give: Give, connections: set[Any]) -> None:
        """Serve a new socket, which must be non-blocking.

        `peer`: the address of the other end. `connections`: those that uvicorn shuts down when it stops.
        """
        if not self._answer(connected, peer, give, connections):
            arrival = _Arrival(connected, peer)
            arrival.wait(partial(self._readable, arrival, give, connections), self._awaited, self._plain, connections)

    def _readable(self, arrival: "_Arrival", give: Give, connections: set[Any]) -> None:
        arrival.end_wait()
        give_late = partial(give, waits_since=arrival.since)
        try:
            if not self._answer(arrival.connected, arrival.peer, give_late, connections):
                give_late(arrival.connected)
        except Exception:
            log.exception("a new connection failed with an internal error")
            arrival.connected.close()

    def _answer(self, connected: socket.socket, peer: str | None, give: Give, connections: set[Any]) -> bool:
        """Look at the bytes of a socket, and serve it. Returns False if there are none yet."""
        try:
            size = connected.recv_into(self._seen, 0, socket.MSG_PEEK)
            data = bytes(self._seen[:size])
            found = self._whole_handshake(data, peer)
            if found is not None:
                connected.recv_into(self._seen, size)
        except BlockingIOError:
            return False
        except OSError:  # The client has disconnected already.
            connected.close()
            return True
        if found is None:
            give(connected)
            return True
        handshake, head_bytes = found
        rest = data[head_bytes:]
        if self._edge.hand_over(handshake, connected, rest):
            connected.close()
        else:
            answer_handshake(
                self._edge.admit,
                handshake,
                connected,
                rest,
                message_max_bytes=self._limits.message_max_bytes,
                connections=connections,
            )
        return True

    def _whole_handshake(self, data: bytes, peer: str | None) -> tuple[Handshake, int] | None:
        """The handshake with the size of its head; None if `data` is anything but the whole head of a well-formed
        one, perhaps with more data after it."""
        if not data.startswith(b"GET ") or _HEAD_END not in data:
            return None
        head = _Head()
        parser = HttpRequestParser(head)
        try:
            parser.feed_data(data)
        except HttpParserUpgrade as stopped:
            head_bytes: int = stopped.args[0]
        except HttpParserError:
            return None
        else:
            return None
        if len(head.urls) != 1:  # another request comes before
            return None
        headers = combined(head.fields)
        handshake = read_handshake(parser.get_method(), parser.get_http_version(), head.urls[0], headers, peer)
        if not isinstance(handshake, Handshake) or not self._edge.has_websocket(handshake.path):
            return None
        return handshake, head_bytes


class _Head:
    """The target and the fields of a request head, filled by the parser."""

    __slots__ = ("fields", "urls")

    def __init__(self) -> None:
        self.urls: list[bytes] = []
        self.fields: list[tuple[str, str]] = []

    def on_url(self, url: bytes) -> None:
        self.urls.append(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode("latin-1"), value.decode("latin-1")))


class _Arrival:
    """A socket from which nothing has come yet. It has the limits of plain sockets, and uvicorn ends it at its stop."""

    __slots__ = ("_awaited", "_connections", "_plain", "connected", "peer", "since")

    busy = False
    """No app answers a request of it."""

    def __init__(self, connected: socket.socket, peer: str | None) -> None:
        self.connected = connected
        self.peer = peer
        self.since = time.monotonic()

    def wait(
        self,
        readable: Callable[[], None],
        awaited: AwaitedRequests,
        plain: PlainSockets,
        connections: set[Any],
    ) -> None:
        """Call `readable` once bytes have come. Before that, `end_wait` may end the wait."""
        self._awaited, self._plain, self._connections = awaited, plain, connections
        asyncio.get_running_loop().add_reader(self.connected, readable)
        connections.add(self)
        awaited.add(self)
        plain.add(self)

    def end_wait(self) -> None:
        asyncio.get_running_loop().remove_reader(self.connected)
        self._connections.discard(self)
        self._awaited.discard(self)
        self._plain.discard(self)

    # --- for those that end it ----------------------------------------------------------------------------

    @property
    def transport(self) -> "_Arrival":
        return self

    @staticmethod
    def get_write_buffer_size() -> int:
        return 0

    def abort(self) -> None:
        self.end_wait()
        self.connected.close()

    def shutdown(self) -> None:
        """uvicorn stops."""
        self.abort()
