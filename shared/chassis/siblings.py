"""The workers of one service, and the way in which one gives another a socket that it has accepted.

The supervisor makes all of this before it forks. Each worker has an inbox, a pair of Unix sockets, and every process
has both ends of all inboxes. A message stays in the kernel until one process reads it. So if a worker does not read its
inbox, because it is frozen or dead, another one takes the message back, and no socket is lost or used twice.
"""

import mmap
import socket
import struct
import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple, Self

MESSAGE_MAX_BYTES = 65_536
_INBOX_BYTES = 1 << 20
"""Room for more than 1,000 messages of usual size, where the system allows it."""
_SENT_AT = struct.Struct("d")
"""The first part of each message: when it was sent (monotonic seconds, which are the same for all processes)."""
_NO, _YES = 0, 1


class Handed(NamedTuple):
    """A socket from the inbox of a worker, with what the sender knows about it."""

    connected: socket.socket
    message: bytes


class _Inbox(NamedTuple):
    incoming: socket.socket
    outgoing: socket.socket

    @classmethod
    def open(cls) -> Self:
        incoming, outgoing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        outgoing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _INBOX_BYTES)
        for end in (incoming, outgoing):
            end.setblocking(False)
        return cls(incoming, outgoing)


class Siblings:
    """All workers of one service, as the one with the number `own` sees them."""

    def __init__(self, own: int, inboxes: Sequence[_Inbox], accepting: mmap.mmap) -> None:
        self.own = own
        self._inboxes = inboxes
        self._accepting = accepting
        """A byte for each worker, in memory that all processes share."""

    @classmethod
    def open(cls, count: int) -> list[Self]:
        """Make the inboxes of `count` workers, and the view of each. All workers accept sockets."""
        inboxes = [_Inbox.open() for _ in range(count)]
        accepting = mmap.mmap(-1, count)
        accepting[:] = bytes([_YES]) * count
        return [cls(own, inboxes, accepting) for own in range(count)]

    def close(self) -> None:
        for inbox in self._inboxes:
            for end in inbox:
                end.close()
        self._accepting.close()

    def __len__(self) -> int:
        return len(self._inboxes)

    @property
    def files(self) -> int:
        """How many open files each process has for this."""
        return 2 * len(self._inboxes)

    def fileno(self) -> int:
        """Readable while there is a message in the own inbox."""
        return self._inboxes[self.own].incoming.fileno()

    def set_accepting(self, worker: int, *, accepting: bool) -> None:
        """Say to all processes whether a worker may get sockets from others."""
        self._accepting[worker] = _YES if accepting else _NO

    def home(self, key: str) -> int | None:
        """Return the worker for `key` among those that accept sockets; None if there is none.

        All workers give the same answer. If one goes, only its own keys get another worker (rendezvous hashing).
        """
        flags = self._accepting[:]
        name = key.encode()
        return max(
            (worker for worker, flag in enumerate(flags) if flag == _YES),
            key=lambda worker: blake2b(b"%d " % worker + name, digest_size=8).digest(),
            default=None,
        )

    def give(self, worker: int, connected: socket.socket, message: bytes) -> bool:
        """Put a socket into the inbox of a worker, and return whether that worked. The caller then closes its own end.

        It does not work if the inbox is full, or the message too long.
        """
        if len(message) > MESSAGE_MAX_BYTES:
            return False
        data = _SENT_AT.pack(time.monotonic()) + message
        try:
            socket.send_fds(self._inboxes[worker].outgoing, [data], [connected.fileno()])
        except OSError:
            return False
        return True

    def take(self) -> Handed | None:
        """Take the next socket from the own inbox; None if there is none. It is non-blocking."""
        return self._take(self.own)

    def take_back(self, worker: int, *, older_seconds: float) -> Handed | None:
        """Take a socket that has been in the inbox of a worker for so long; None if there is none."""
        try:
            head = self._inboxes[worker].incoming.recv(_SENT_AT.size, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        (sent_at,) = _SENT_AT.unpack(head)
        # If another process takes it first, this one takes a younger socket, and the worker only loses a client.
        return self._take(worker) if time.monotonic() - sent_at >= older_seconds else None

    def is_waiting(self, worker: int) -> bool:
        """Return whether there is a message in the inbox of a worker."""
        try:
            return bool(self._inboxes[worker].incoming.recv(_SENT_AT.size, socket.MSG_PEEK))
        except BlockingIOError:
            return False

    def _take(self, worker: int) -> Handed | None:
        incoming = self._inboxes[worker].incoming
        while True:
            try:
                data, files, _, _ = socket.recv_fds(incoming, _SENT_AT.size + MESSAGE_MAX_BYTES, 1)
            except BlockingIOError:
                return None
            if files:  # It is lost if this process cannot open another file, which callers prevent.
                connected = socket.socket(fileno=files[0])
                connected.setblocking(False)
                return Handed(connected, data[_SENT_AT.size :])
