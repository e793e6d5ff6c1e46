"""Gives a handshake to the worker that is the home of its room, so that the members of a room meet on one worker.

The worker that has accepted the socket reads the head of the request, and gives away the socket before it answers. The
home decides about the handshake as if it had accepted the socket itself.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable

from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.wire.handshake import Handshake
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.descriptors import lowest_free
from studyroom.shared.chassis.siblings import Handed, Siblings
from studyroom.shared.contract.room_hints import parse_room_hint

log = logs.get(__name__)

_PATIENCE_SECONDS = 1.0
"""After this time in its inbox, a socket is taken back from a worker that is frozen or dead."""
_BEAT_SECONDS = 1.0
_AT_ONCE = 64
"""The most sockets per iteration of the loop, so that open connections get their time."""
_HEAD_LENGTH = struct.Struct("I")


class Handover:
    def __init__(
        self, siblings: Siblings, metrics: GatewayMetrics, *, below: int, has_room: Callable[[], bool]
    ) -> None:
        """`below`: sockets of clients must have descriptors with lower numbers. `has_room`: whether this worker admits
        clients, because it is neither full nor draining."""
        self._siblings = siblings
        self._metrics = metrics
        self._below = below
        self._has_room = has_room
        self._serve: Callable[[Handshake, socket.socket, bytes], None] | None = None
        self._is_reading = False
        self._lacks_files = False
        """It does not read, because too few file descriptors are left."""
        self._due: dict[int, asyncio.TimerHandle] = {}
        """The checks of the inboxes of other workers, by worker."""

    def start(self, serve: Callable[[Handshake, socket.socket, bytes], None]) -> None:
        """Take sockets. `serve` answers a handshake, with the bytes after its head, and owns the socket."""
        self._serve = serve
        self._read()
        for worker in range(len(self._siblings)):
            if worker != self._siblings.own:
                self._check_soon(worker)  # An earlier process of this worker may have given it a socket.

    async def run(self) -> None:
        """Tell the others once a second whether this worker takes sockets. Never returns."""
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            if self._lacks_files and self._has_files():
                self._lacks_files = False
                self._read()
            self.announce()

    def announce(self) -> None:
        """Tell the others whether this worker takes sockets. Call it when that changes."""
        self._siblings.set_accepting(self._siblings.own, accepting=self._is_reading and self._has_room())

    def stop(self) -> None:
        """Take no more sockets. Those in the inbox are given to others, or refused here."""
        if self._serve is None:
            return
        self._lacks_files = False
        self._pause()
        while (handed := self._siblings.take()) is not None:
            self._accept(handed)
        for check in self._due.values():
            check.cancel()

    def give(self, handshake: Handshake, connected: socket.socket, rest: bytes) -> bool:
        """Give a handshake to the home of its room, if that is another worker. Return whether the home has it.

        `rest`: the bytes after the head. The caller then closes its own descriptor of the socket.
        """
        self.announce()
        room = parse_room_hint(handshake.query.get("room"))
        home = self._siblings.home(room) if room is not None else None
        if home is None or home == self._siblings.own:
            return False
        if not self._siblings.give(home, connected, _encode(handshake, rest)):
            self._count("kept")
            return False
        self._count("given")
        self._check_soon(home)
        return True

    # --- sockets from others ------------------------------------------------------------------------------

    def _read(self) -> None:
        self._is_reading = True
        asyncio.get_running_loop().add_reader(self._siblings.fileno(), self._readable)
        self.announce()

    def _pause(self) -> None:
        if self._is_reading:
            self._is_reading = False
            asyncio.get_running_loop().remove_reader(self._siblings.fileno())
        self.announce()

    def _readable(self) -> None:
        for _ in range(_AT_ONCE):
            handed = self._siblings.take()
            if handed is None:
                return
            number = handed.connected.fileno()
            self._count("taken")
            self._accept(handed)
            if number + 1 >= self._below:
                self._lacks_files = True
                self._pause()  # Others take back the rest.
                return

    def _accept(self, handed: Handed) -> None:
        """Serve a handshake. If this worker is not its home any more, give it to the home."""
        handshake, rest = _decode(handed.message)
        if self._serve is None or self.give(handshake, handed.connected, rest):
            handed.connected.close()
        else:
            self._serve(handshake, handed.connected, rest)

    # --- sockets that others do not take ------------------------------------------------------------------

    def _check_soon(self, worker: int) -> None:
        if worker not in self._due:
            loop = asyncio.get_running_loop()
            self._due[worker] = loop.call_later(_PATIENCE_SECONDS, self._check, worker)

    def _check(self, worker: int) -> None:
        del self._due[worker]
        late = 0
        while self._has_files():
            handed = self._siblings.take_back(worker, older_seconds=_PATIENCE_SECONDS)
            if handed is None:
                break
            self._siblings.set_accepting(worker, accepting=False)  # It announces itself when it runs again.
            late += 1
            self._count("taken_back")
            self._accept(handed)
        if late:
            log.warning("a worker did not take its sockets, so others serve them", worker=worker, sockets=late)
        if self._siblings.is_waiting(worker):
            self._check_soon(worker)

    def _has_files(self) -> bool:
        return lowest_free(self._siblings.fileno()) + 1 < self._below

    def _count(self, outcome: str) -> None:
        self._metrics.handovers.labels(outcome=outcome).inc()


def _encode(handshake: Handshake, rest: bytes) -> bytes:
    head = json.dumps([handshake.path, handshake.headers, handshake.peer, handshake.query]).encode()
    return _HEAD_LENGTH.pack(len(head)) + head + rest


def _decode(message: bytes) -> tuple[Handshake, bytes]:
    end = _HEAD_LENGTH.size + _HEAD_LENGTH.unpack_from(message)[0]
    return Handshake(*json.loads(message[_HEAD_LENGTH.size : end])), message[end:]
