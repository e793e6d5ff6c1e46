"""Any frames in any pieces are answered as RFC 6455 requires.

On real sockets, with the echo server of the tests behind the gateway's own adapter.
"""

import asyncio
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from studyroom.gateway.wire.framing import may_be_sent
from studyroom.gateway.wire.upgrade import WireLimits
from studyroom.shared.chassis.http import HttpServer
from tests.support.echo import serve
from tests.support.frames import frame_bytes, frame_header

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
LIMIT_BYTES = 1024
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
GOODBYE = frame_bytes(CLOSE, struct.pack("!H", 1000))


@dataclass(frozen=True)
class Sent:
    opcode: int
    payload: bytes
    fin: bool = True
    reserved: int = 0
    masked: bool = True

    @property
    def broken(self) -> frozenset[int]:
        """The close codes for the frame alone, after any other frames. Empty when there is nothing wrong with it."""
        control = self.opcode in {CLOSE, PING, PONG}
        known = control or self.opcode in {CONTINUATION, TEXT, BINARY}
        if not self.masked or not known or (control and (not self.fin or len(self.payload) > 125)):
            return frozenset({1002})
        if len(self.payload) > LIMIT_BYTES:
            return frozenset({1009, 1007, 1002, 1003})
        codes = _closing(self.payload) if self.opcode == CLOSE else frozenset()
        return codes if codes & {1002, 1007} else frozenset()

    def encode(self) -> bytes:
        first = self.opcode | (0x80 if self.fin else 0) | self.reserved << 4
        return frame_header(first, len(self.payload), masked=self.masked) + self.payload


@dataclass(frozen=True)
class Answer:
    opcode: int
    payload: bytes


class Endpoint:
    """The behaviour that RFC 6455 requires of an endpoint that echoes text and takes nothing else."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.codes: frozenset[int] = frozenset()
        """Those it may close with; empty while it is open."""
        self._message: bytes | None = None

    def take(self, frame: Sent) -> None:
        """Does nothing once it is closed."""
        if self.codes:
            return
        data = frame.opcode in {CONTINUATION, TEXT, BINARY}
        if frame.broken:
            self.codes = frame.broken
        elif frame.reserved:
            self.codes = frozenset({1002, 1007}) if frame.opcode == CLOSE else frozenset({1002})
        elif frame.opcode == CLOSE:
            self.codes = _closing(frame.payload)
        elif frame.opcode == PING:
            self.answers.append(Answer(PONG, frame.payload))
        elif data:
            self._take_data(frame)

    def _take_data(self, frame: Sent) -> None:
        if frame.opcode == BINARY or (frame.opcode == TEXT) != (self._message is None):
            self.codes = frozenset({1003} if frame.opcode == BINARY else {1002})
            return
        self._message = (self._message or b"") + frame.payload
        problems = {1009} if len(self._message) > LIMIT_BYTES else set()
        try:
            self._message.decode()
        except UnicodeDecodeError as error:
            if frame.fin or error.reason != "unexpected end of data":
                problems.add(1007)
        self.codes = frozenset(problems)
        if frame.fin and not problems:
            self.answers.append(Answer(TEXT, self._message))
            self._message = None


def _closing(payload: bytes) -> frozenset[int]:
    if not payload:
        return frozenset({1000, 1005})
    code = struct.unpack("!H", payload[:2])[0] if len(payload) > 1 else 0
    problems = set() if may_be_sent(code) else {1002}
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        problems.add(1007)
    return frozenset(problems or {code})


# --- sent frames ---

PAYLOADS = st.text(max_size=40).map(str.encode) | st.binary(max_size=60) | st.just("aé€\U0001f44b".encode()[:7])
GOOD = st.builds(Sent, st.sampled_from([TEXT, TEXT, PING, PONG]), st.text(max_size=30).map(str.encode))
FRAGMENTS = st.builds(Sent, st.sampled_from([TEXT, CONTINUATION, CONTINUATION]), PAYLOADS, st.booleans())
CLOSES = st.builds(
    Sent,
    st.just(CLOSE),
    st.builds(lambda code, reason: struct.pack("!H", code) + reason, st.integers(0, 65_535), PAYLOADS),
)
LARGE = st.builds(
    Sent, st.just(TEXT), st.integers(LIMIT_BYTES - 1, LIMIT_BYTES + 1).map(lambda size: b"x" * size), st.booleans()
)
ANY = st.builds(
    Sent, st.integers(0, 15), st.binary(max_size=130), st.booleans(), st.sampled_from([0, 0, 0, 1, 2, 4]), st.booleans()
)
FRAMES = st.lists(GOOD | GOOD | FRAGMENTS | FRAGMENTS | CLOSES | LARGE | ANY, max_size=8)
CUTS = st.lists(st.integers(0, 400), max_size=4)


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        yield data[start:end]


async def exchange(port: int, data: bytes, cuts: list[int]) -> tuple[list[Answer], int]:
    """The answers, and the close code. It is 1006 when the socket ends without a close frame."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers: list[Answer] = []
    try:
        async with asyncio.timeout(10):
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces(data, cuts):
                writer.write(piece)
                await asyncio.sleep(0)
            while True:
                first, size = await reader.readexactly(2)
                assert first & 0x70 == 0
                assert size < 128
                if size == 126:
                    (size,) = struct.unpack("!H", await reader.readexactly(2))
                answer = Answer(first & 0x0F, await reader.readexactly(size))
                if answer.opcode == CLOSE:
                    return answers, struct.unpack("!H", answer.payload[:2])[0] if answer.payload else 1005
                answers.append(answer)
    except (ConnectionError, asyncio.IncompleteReadError):
        return answers, 1006
    finally:
        writer.transport.abort()


def test_any_frames_in_any_pieces_are_answered_as_the_protocol_wants():
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        server: HttpServer = runner.run(serve(0, WireLimits(LIMIT_BYTES, 65_536, 65_536)))

        @settings(max_examples=500, deadline=None)
        @given(FRAMES, CUTS)
        def run(sent: list[Sent], cuts: list[int]) -> None:
            wanted = Endpoint()
            for frame in sent:
                wanted.take(frame)
            codes = wanted.codes or {1000}
            data = b"".join(frame.encode() for frame in sent) + GOODBYE
            answers, code = runner.run(exchange(server.port, data, cuts))
            assert code in codes
            assert answers == wanted.answers

        try:
            run()
        finally:
            runner.run(server.stop(1.0))
