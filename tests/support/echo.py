"""An echo server on the gateway's own HTTP and WebSocket protocols: `python -m tests.support.echo --port 9001`.

It says back what comes, as the conformance tests want it, binary messages too, which the gateway refuses with 1003.
"""

import argparse
import asyncio
import functools
import socket
from contextlib import suppress

import uvloop

from studyroom.gateway.edge.arrivals import Arrivals
from studyroom.gateway.http.app import build_app
from studyroom.gateway.transport.socket_transport import use_fast_transports
from studyroom.gateway.wire import websocket
from studyroom.gateway.wire.framing import Opcode, encode_frame, text_frame
from studyroom.gateway.wire.handshake import Handshake, RequestHead
from studyroom.gateway.wire.protocol import Event, Ping, WebSocketProtocol
from studyroom.gateway.wire.sockets import AwaitedRequests, PlainSockets, UnreadAnswers
from studyroom.gateway.wire.upgrade import HttpProtocol, WireLimits
from studyroom.gateway.wire.websocket import ClientSocket
from studyroom.shared.chassis.http import HttpServer
from studyroom.shared.chassis.listening import listen
from studyroom.shared.contract.errors import ErrorCode


class Echo:
    """Takes the place of the gateway's `Connection` at a socket."""

    silent_beats = 0
    binary_max_bytes = 0
    socket: ClientSocket

    def opened(self, socket: ClientSocket) -> None:
        self.socket = socket

    def received(self, payload: bytes) -> None:
        self.socket.write(text_frame(payload))

    def received_overhead(self) -> None:
        pass

    def congested(self) -> None:
        pass

    def relieved(self) -> None:
        pass

    def closed(self, code: int) -> None:
        pass


class BinaryToo(WebSocketProtocol):
    """Takes binary messages; everything else goes the gateway's way."""

    _binary: bytes | None = None

    def _take_other(self, first: int, payload: bytes, events: list[Event]) -> None:
        opcode = first & 0x0F
        begins = opcode == Opcode.BINARY and self._binary is None and self._assembler is None
        goes_on = opcode == Opcode.CONTINUATION and self._binary is not None
        if not (begins or goes_on):
            super()._take_other(first, payload, events)
            return
        self._binary = (self._binary or b"") + payload
        if first & 0x80:
            events.append(Ping(encode_frame(Opcode.BINARY, self._binary)))  # the socket writes what answers a ping
            self._binary = None


class Edge:
    def has_websocket(self, path: str) -> bool:
        return path.startswith("/")

    def hand_over(self, _handshake: Handshake, _connected: socket.socket, _rest: bytes) -> bool:
        return False

    def admit(self, handshake: Handshake) -> Echo:
        assert handshake.path
        return Echo()

    def check(self, _head: RequestHead) -> None: ...
    def request_refused(self, _code: ErrorCode) -> None: ...


async def serve(port: int, limits: WireLimits) -> HttpServer:
    use_fast_transports()
    edge, awaited, plain = Edge(), AwaitedRequests(10), PlainSockets(1000, lambda _peer: None)
    server = HttpServer(
        build_app(with_page=False, routers=[]),
        listen("127.0.0.1", port),
        http=functools.partial(HttpProtocol, edge, limits, awaited, UnreadAnswers(60, max_bytes=1 << 30), plain),
        serve=Arrivals(edge, limits, awaited, plain).serve,
        below=1000,
    )
    await server.start()
    return server


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--message-max-bytes", type=int, default=65_536)
    arguments = parser.parse_args()
    websocket.WebSocketProtocol = BinaryToo  # type: ignore[attr-defined] # a socket creates it
    server = await serve(arguments.port, WireLimits(arguments.message_max_bytes, 65_536, 65_536))
    print(f"listening on {server.port}", flush=True)
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
