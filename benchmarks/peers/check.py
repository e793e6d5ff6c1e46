"""Checks that each peer follows its protocol: `python -m benchmarks.peers.check [NAME ...]` in the repository's root.

It starts every installed peer, lets clients join, move and chat, and prints `ok`, `FAILED`, or `missing` with the
install command. `--frames` prints all frames. The exit status is 1 if a peer failed.
"""

import argparse
import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from . import PEERS, NotBuilt, Peer

DEADLINE_SECONDS = 5.0
SILENCE_SECONDS = 0.2
STOP_SECONDS = 10.0
BURST = 500

Json = dict[str, Any]


class Failed(Exception):
    """The peer did not follow its protocol."""


class Event(NamedTuple):
    """A decoded event. `text` is the content of chat, the element of a cursor, or the size of the roster."""

    kind: str
    text: str = ""


class Client:
    """One connection. Each subclass has one protocol."""

    heartbeat_answer: str | bytes = ""

    def __init__(self, connection: ClientConnection, name: str, frames: bool) -> None:
        self._connection = connection
        self._name = name
        self._frames = frames
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())
        self.room = ""

    async def hello(self) -> None:
        """Do the handshake that comes before the first join."""

    async def join(self, room: str) -> None:
        raise NotImplementedError

    async def publish(self, kind: str, payload: Json) -> None:
        raise NotImplementedError

    def decode(self, frame: str | bytes) -> Iterable[Event]:
        raise NotImplementedError

    async def move(self, element_id: str) -> None:
        await self.publish("CursorMove", {"x": 1.5, "y": 2, "element_id": element_id})

    async def chat(self, content: str) -> None:
        await self.publish("Chat", {"content": content})

    async def ping(self) -> None:
        """Ask for a pong, if the protocol has one."""

    async def send(self, frame: str | bytes) -> None:
        self._show(">", frame)
        await self._connection.send(frame)

    async def expect(self, kind: str, text: str | None = None) -> Event:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                event = await self._events.get()
        except TimeoutError:
            raise Failed(f"{self._name} waited for {kind} {text or ''}") from None
        if event.kind != kind or (text is not None and event.text != text):
            raise Failed(f"{self._name} got {event}, not {kind} {text or ''}")
        return event

    async def expect_silence(self) -> None:
        await asyncio.sleep(SILENCE_SECONDS)
        if not self._events.empty():
            raise Failed(f"{self._name} got {self._events.get_nowait()}, and nothing was due")

    async def close(self) -> None:
        await self._connection.close()
        await self._reader

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for frame in self._connection:
                self._show("<", frame)
                for event in self.decode(frame):
                    if event.kind == "heartbeat":
                        await self.send(self.heartbeat_answer)
                    else:
                        self._events.put_nowait(event)

    def _show(self, direction: str, frame: str | bytes) -> None:
        if self._frames:
            print(f"    {self._name} {direction} {frame!r}")


def _understood(kind: str, payload: Json) -> Event:
    """Return the event of a message of `room` or `socketio`."""
    match kind:
        case "JoinedRoom":
            return Event(kind, str(len(payload["users"])))
        case "UserJoined":
            return Event(kind, payload["user"]["username"])
        case "Chat":
            return Event(kind, payload["content"])
        case "CursorUpdate":
            return Event(kind, payload["element_id"])
    return Event(kind)


def _published(payload: Json) -> Event:
    """Return the event of a message in protocols that relay messages of clients unchanged."""
    return Event("Chat", payload["content"]) if "content" in payload else Event("CursorUpdate", payload["element_id"])


class RoomClient(Client):
    async def hello(self) -> None:
        await self.expect("Welcome")

    async def join(self, room: str) -> None:
        await self.publish("JoinRoom", {"room_id": room})
        await self.expect("JoinedRoom")

    async def publish(self, kind: str, payload: Json) -> None:
        await self.send(json.dumps({"type": kind, "payload": payload}))

    async def ping(self) -> None:
        await self.send('{"type":"Ping"}')
        await self.expect("Pong")

    def decode(self, frame: str | bytes) -> Iterable[Event]:
        message = json.loads(frame)
        yield _understood(message["type"], message.get("payload", {}))


class SocketIoClient(Client):
    heartbeat_answer = "3"

    async def hello(self) -> None:
        await self.expect("open")
        await self.send("40")
        await self.expect("connected")

    async def join(self, room: str) -> None:
        await self.publish("JoinRoom", {"room_id": room})
        await self.expect("JoinedRoom")

    async def publish(self, kind: str, payload: Json) -> None:
        await self.send("42" + json.dumps([kind, payload]))

    def decode(self, frame: str | bytes) -> Iterable[Event]:
        text = str(frame)
        if text.startswith("42"):
            yield _understood(*json.loads(text[2:]))
        elif text.startswith("40"):
            yield Event("connected")
        elif text.startswith("0"):
            yield Event("open")
        elif text == "2":
            yield Event("heartbeat")
        else:
            raise Failed(f"unknown packet {text}")


class CentrifugoClient(Client):
    heartbeat_answer = "{}"
    _last_id = 0

    async def hello(self) -> None:
        await self._command("connect", {})
        await self.expect("reply")

    async def join(self, room: str) -> None:
        self.room = room
        await self._command("subscribe", {"channel": room})
        await self.expect("reply")

    async def publish(self, kind: str, payload: Json) -> None:
        del kind
        await self._command("publish", {"channel": self.room, "data": payload})

    async def _command(self, name: str, arguments: Json) -> None:
        self._last_id += 1
        await self.send(json.dumps({"id": self._last_id, name: arguments}))

    def decode(self, frame: str | bytes) -> Iterable[Event]:
        for line in str(frame).splitlines():
            match json.loads(line):
                case {"push": {"pub": {"data": data}}}:
                    yield _published(data)
                case {"push": {"join": {"info": {"client": client}}}}:
                    yield Event("UserJoined", client)
                case {"push": {"leave": _}}:
                    yield Event("UserLeft")
                case {"connect": _} | {"subscribe": _}:
                    yield Event("reply")
                case {"publish": _}:
                    pass
                case {} as message if not message:
                    yield Event("heartbeat")
                case other:
                    raise Failed(f"unknown {other}")


class NchanClient(Client):
    async def join(self, room: str) -> None:
        self.room = room

    async def publish(self, kind: str, payload: Json) -> None:
        del kind
        await self.send(json.dumps(payload))

    def decode(self, frame: str | bytes) -> Iterable[Event]:
        yield _published(json.loads(frame))


class NatsClient(Client):
    heartbeat_answer = b"PONG\r\n"
    _unread = b""

    async def hello(self) -> None:
        await self.expect("INFO")
        await self.send(b'CONNECT {"verbose":false,"pedantic":false,"echo":false}\r\n')

    async def join(self, room: str) -> None:
        self.room = room
        await self.send(f"SUB room.{room} 1\r\nPING\r\n".encode())
        await self.expect("PONG")

    async def publish(self, kind: str, payload: Json) -> None:
        del kind
        body = json.dumps(payload).encode()
        await self.send(b"PUB room.%s %d\r\n%s\r\n" % (self.room.encode(), len(body), body))

    def decode(self, frame: str | bytes) -> Iterable[Event]:
        self._unread += frame if isinstance(frame, bytes) else frame.encode()
        while b"\r\n" in self._unread:
            line, _, rest = self._unread.partition(b"\r\n")
            verb, *arguments = line.decode().split(" ", 1)
            if verb == "MSG":
                size = int(arguments[0].split()[-1])
                if len(rest) < size + 2:
                    return
                yield _published(json.loads(rest[:size]))
                rest = rest[size + 2 :]
            elif verb in {"INFO", "PONG"}:
                yield Event(verb)
            elif verb == "PING":
                yield Event("heartbeat")
            else:
                raise Failed(f"unknown operation {line!r}")
            self._unread = rest


CLIENTS: dict[str, type[Client]] = {
    "room": RoomClient,
    "socketio": SocketIoClient,
    "centrifugo": CentrifugoClient,
    "nchan": NchanClient,
    "nats": NatsClient,
}


@contextlib.asynccontextmanager
async def running(peer: Peer, directory: Path, announce_joins: bool) -> AsyncIterator[int]:
    """Start a peer. The value is its port."""
    port = _free_port()
    command = peer.command(port, directory, announce_joins=announce_joins)
    process = await asyncio.to_thread(subprocess.Popen[bytes], command)
    try:
        await _listening(port, process)
        if process.pid not in peer.pids(process.pid):
            raise Failed("its process is not among its processes")
        yield port
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _listening(port: int, process: subprocess.Popen[bytes]) -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS):
            while True:
                if process.poll() is not None:
                    raise Failed(f"exited with {process.returncode}")
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return
    except TimeoutError:
        raise Failed("does not listen") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _client(peer: Peer, port: int, name: str, room: str, frames: bool) -> Client:
    url = f"ws://127.0.0.1:{port}{peer.path.format(room=room, username=name)}"
    connection = await connect(url, proxy=None, ping_interval=None, compression=None)
    client = CLIENTS[peer.dialect](connection, name, frames)
    await client.hello()
    return client


async def converse(peer: Peer, port: int, announced: bool, frames: bool) -> None:
    """Let two members of a room chat, while a member of another room must receive nothing. Raises Failed."""
    room, other_room = str(uuid.uuid4()), str(uuid.uuid4())
    ann = await _client(peer, port, "ann", room, frames)
    ben = await _client(peer, port, "ben", room, frames)
    eve = await _client(peer, port, "eve", other_room, frames)
    await ann.join(room)
    await eve.join(other_room)
    await ann.ping()
    if peer.dialect == "centrifugo" and announced:  # Subscribers receive their own joins.
        await ann.expect("UserJoined")
        await eve.expect("UserJoined")
    await ben.join(room)
    if announced:
        await ann.expect("UserJoined", "ben" if peer.dialect != "centrifugo" else None)
        if peer.dialect == "centrifugo":
            await ben.expect("UserJoined")
    await ann.move("e1")
    await ben.expect("CursorUpdate", "e1")
    if peer.echoes_cursor:
        await ann.expect("CursorUpdate", "e1")
    await ben.chat("hi")
    await ann.expect("Chat", "hi")
    if peer.echoes_chat:
        await ben.expect("Chat", "hi")
    for number in range(BURST):
        await ann.move(str(number))
    for number in range(BURST):
        await ben.expect("CursorUpdate", str(number))
        if peer.echoes_cursor:
            await ann.expect("CursorUpdate", str(number))
    await ben.close()
    if announced:
        await ann.expect("UserLeft")
    await ann.expect_silence()
    await eve.expect_silence()
    await ann.close()
    await eve.close()


async def check(peer: Peer, frames: bool) -> str:
    missing = peer.missing()
    if missing is not None:
        return f"missing: {missing}"
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        try:
            await asyncio.to_thread(peer.prepare)
        except NotBuilt as error:
            return f"FAILED: {error}"
        for announce_joins in (True, False) if peer.announces_joins else (False,):
            try:
                async with running(peer, directory, announce_joins) as port:
                    await converse(peer, port, announce_joins, frames)
            except (Failed, OSError) as failure:
                return f"FAILED: {failure}" + ("" if announce_joins else ", joins not announced")
    return f"ok ({peer.version()})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="peers to check; all when none is named")
    parser.add_argument("--frames", action="store_true", help="print what goes over the wire")
    options = parser.parse_args()
    failed = False
    for peer in PEERS:
        if options.names and peer.name not in options.names:
            continue
        outcome = asyncio.run(check(peer, options.frames))
        failed = failed or outcome.startswith("FAILED")
        print(f"{peer.name:16}{outcome}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
