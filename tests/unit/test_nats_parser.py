"""Data of NATS is read as nats-py reads it, however it is divided."""

import asyncio
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from studyroom.shared.chassis.nats.parser import MessageParser

MESSAGES = [
    b"MSG a.b 1 5\r\nhello\r\n",
    b"MSG a.b 12 _INBOX.gateway.x.7 0\r\n\r\n",
    b"HMSG a.b 3 12 17\r\nNATS/1.0\r\n\r\nhello\r\n",
    b"HMSG a.b 3 reply 18 22\r\nNATS/1.0\r\nA: 1\r\n\r\nMSG \r\n",
    b"MSG  spaced   1\t2\r\nhi\r\n",
    b"PING\r\n",
    b"PONG\r\n",
    b"+OK\r\n",
    b"-ERR 'Permissions Violation'\r\n",
    b'INFO {"version":"2"}\r\n',
]
DAMAGED = [
    b"MSG a.b x 5\r\nhello\r\n",
    b"MSG a.b 1 5\r\nhelloXX",
    b"MSG a\r\n",
    b"NONSENSE\r\n",
    b"HMSG a 1 9 5\r\nhello\r\n",
]


class Recorder:
    """Has what a parser calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    async def _process_msg(self, *what: object) -> None:
        self.calls.append(what)

    async def _process_err(self, *what: object) -> None:
        self.calls.append(what)

    async def _process_info(self, *what: object) -> None:
        self.calls.append(what)

    async def _process_ping(self) -> None:
        self.calls.append(("ping",))

    async def _process_pong(self) -> None:
        self.calls.append(("pong",))


def read(parser_type: type[Parser], pieces: list[bytes]) -> list[tuple[object, ...]]:
    recorder = Recorder()
    parser = parser_type(recorder)

    async def run() -> None:
        try:
            for piece in pieces:
                await parser.parse(piece)
        except ProtocolError as error:
            recorder.calls.append((type(error),))

    asyncio.run(run())
    return recorder.calls


@given(st.lists(st.sampled_from(MESSAGES), max_size=8), st.lists(st.integers(0, 200), max_size=6), st.data())
def test_messages_are_those_that_nats_py_reads(sent: list[bytes], cuts: list[int], data: st.DataObject) -> None:
    stream = b"".join(sent) + data.draw(st.sampled_from([b"", *DAMAGED]))
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(edges)]
    assert read(MessageParser, pieces) == read(Parser, pieces)


def test_nothing_of_a_lost_connection_is_read_after_it() -> None:
    class Losing(Recorder):
        async def _process_msg(self, *what: object) -> None:
            await super()._process_msg(*what)
            parser.reset()

    recorder = Losing()
    parser = MessageParser(recorder)
    asyncio.run(parser.parse(MESSAGES[0] * 3))
    assert len(recorder.calls) == 1
