"""The data path of the gateway alone: from readable sockets through rooms to `send`, without NATS and the rest.

`python -m benchmarks.data_path` compares the compiled data path with Python, in turns. The parts are those of the
gateway, and the frames come through real sockets. In each pass every member moves its cursor once, and every room
writes to its members. CPU is that of the gateway's part of the pass, not of the clients.
"""

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from statistics import median
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import click
import uvloop
from prometheus_client import CollectorRegistry

from studyroom.gateway import DATA_PATH
from studyroom.gateway.auth.identity import Identity
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.cursor_move import update_prefix
from studyroom.gateway.connections.hub import Hub
from studyroom.gateway.connections.registry import Registry
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.cursors import Cursors
from studyroom.gateway.rooms.fanout import Fanout
from studyroom.gateway.rooms.neighbours import Neighbours
from studyroom.gateway.settings import GatewaySettings
from studyroom.gateway.wire.websocket import open_on_socket
from studyroom.shared.contract.ids import GatewayId, RoomId, UserId

_MASK = b"\x5a\x01\xfe\x77"


def _masked(payload: bytes) -> bytes:
    wide = (_MASK * (len(payload) // 4 + 1))[: len(payload)]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(wide, "big")).to_bytes(len(payload), "big")
    return struct.pack("!BB", 0x81, 0x80 | len(payload)) + _MASK + masked


class Rooms:
    """Rooms on one gateway, without presence and NATS."""

    def __init__(self, members: int) -> None:
        self.metrics = GatewayMetrics(CollectorRegistry())
        self._members = members
        parts: Any = SimpleNamespace(beat=0, retry_seconds=0)  # in place of those that cursors do not reach
        settings = GatewaySettings(messages_per_second=1_000_000, bytes_per_second=1_000_000_000)
        self._hub = Hub(
            settings.limits, settings.stated_limits, False, self.metrics, parts, Registry[Connection](), *[parts] * 7
        )
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.rooms: list[tuple[dict[UserId, None], Cursors, Fanout]] = []

    def join(self, number: int, connected: socket.socket) -> None:
        if number % self._members == 0:
            users: dict[UserId, None] = {}
            fanout = Fanout(self.metrics, lambda: None)
            cursors = Cursors(
                RoomId(str(uuid4())), fanout, lambda _subject, _data: None, lambda: None, self.metrics,
                members=users.keys(), neighbours=Neighbours(GatewayId(str(uuid4()))),
            )  # fmt: skip
            cursors.roster_loaded()
            self.rooms.append((users, cursors, fanout))
        users, cursors, fanout = self.rooms[-1]
        identity = Identity(user=UserId(str(uuid4())), username="Ann", avatar_url=None)
        connection = Connection(self._hub, identity, address=b"", hint=None, chat_max_chars=1000)
        users[connection.user] = None
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        open_on_socket(connected, connection, b"", b"", message_max_bytes=65_536, connections=set())
        fanout.admit(connection, b"")
        connection._update_prefix = update_prefix(connection.user)  # noqa: SLF001 - as after a join
        connection._cursors = cursors  # noqa: SLF001


async def _measure(rooms: int, members: int, passes: int) -> dict[str, float | str]:
    made, traffic = Rooms(members), None
    clients = []
    for number in range(rooms * members):
        listener = made.listener
        clients.append(socket.create_connection(listener.getsockname()))
        clients[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.join(number, listener.accept()[0])
    traffic, buffer = made.metrics.traffic, bytearray(1 << 16)
    reading, writing = [], []
    for number in range(passes):
        for client in clients:
            client.send(_masked(b'{"type":"CursorMove","payload":{"x":%d.25,"y":412.5,"element_id":null}}' % number))
        due = traffic.received + len(clients)
        began = time.thread_time_ns()
        while traffic.received < due:
            await asyncio.sleep(0)
        read = time.thread_time_ns()
        for _, cursors, _ in made.rooms:
            cursors.flush()
        ended = time.thread_time_ns()
        reading.append(read - began)
        writing.append(ended - read)
        for client in clients:
            with suppress(BlockingIOError):
                client.recv_into(buffer, 0, socket.MSG_DONTWAIT)
    moves = len(clients) * 1000
    return {
        "variant": DATA_PATH,
        "read_us": median(reading) / moves,
        "write_us": median(writing) / moves,
    }


@click.command()
@click.option("--rooms", default=50)
@click.option("--members", default=8)
@click.option("--passes", default=40)
@click.option("--pairs", default=5, help="0 to measure only the variant that runs here")
def main(rooms: int, members: int, passes: int, pairs: int) -> None:
    """Print the CPU (µs) to read a cursor, and to write those of a room to one member, medians of all passes."""
    if not pairs:
        print(json.dumps(uvloop.run(_measure(rooms, members, passes))))
        return
    shape = ["--rooms", str(rooms), "--members", str(members), "--passes", str(passes)]
    command = [sys.executable, "-m", "benchmarks.data_path", *shape, "--pairs", "0"]
    rows: dict[str, list[dict[str, Any]]] = {"true": [], "false": []}
    for _ in range(pairs):
        for pure, of_variant in rows.items():
            environment = {**os.environ, "STUDYROOM_PURE_PYTHON": pure}
            answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            of_variant.append(json.loads(answer.stdout))
    for figure in ("read_us", "write_us"):
        slow, fast = ([row[figure] for row in of_variant] for of_variant in rows.values())
        ratio = median(after / before for before, after in zip(slow, fast, strict=True))
        print(f"{figure}: Python {median(slow):.2f}, compiled {median(fast):.2f}, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
