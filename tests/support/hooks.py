"""A backend that gets the events of the hooks service, and answers as a test wants."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
KEPT = "3600"


@dataclass(frozen=True)
class Answer:
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    after_seconds: float = 0.0
    body: bytes = b""


@dataclass(frozen=True)
class Received:
    """One request."""

    id: str
    body: bytes
    headers: dict[str, str]
    at: float
    """Monotonic seconds."""
    answer: Answer

    @property
    def event(self) -> dict[str, Any]:
        """Raises WebhookVerificationError if the signature is wrong."""
        event: dict[str, Any] = Webhook(SECRET).verify(self.body, self.headers)
        return event

    @property
    def room(self) -> str:
        """Empty for an event that is about no room."""
        room: str = self.event["data"].get("room_id", "")
        return room

    @property
    def is_taken(self) -> bool:
        return 200 <= self.answer.status < 300


class Receiver:
    """Remembers every request. `decide` gets the event, and how often it came before."""

    def __init__(self, port: int = 0) -> None:
        self.received: list[Received] = []
        self.decide: Callable[[dict[str, Any], int], Answer] = lambda _event, _before: Answer()
        self._connections: set[socket.socket] = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                receiver._connections.add(self.connection)

            def finish(self) -> None:
                receiver._connections.discard(self.connection)
                super().finish()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = receiver.take(body, {name.lower(): value for name, value in self.headers.items()})
                time.sleep(answer.after_seconds)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.status != 204:
                    self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: Any) -> None:
                """A client that has gone is none of the test's business."""

        self._server = Server(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def take(self, body: bytes, headers: dict[str, str]) -> Answer:
        with self._lock:
            name = headers["webhook-id"]
            before = sum(one.id == name for one in self.received)
            answer = self.decide(json.loads(body), before)
            self.received.append(Received(name, body, headers, time.monotonic(), answer))
            return answer

    def close(self) -> None:
        """Die: nobody can connect, and all connections end."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events?of=studyroom"

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a hooks service that sends events here."""
        return {
            "STUDYROOM_HOOKS_URL": self.url,
            "STUDYROOM_HOOKS_SECRETS": SECRET,
            "STUDYROOM_HOOKS_ALLOW_NETWORKS": "127.0.0.0/8",
            "STUDYROOM_STORAGE_HOOKS_MAX_AGE_SECONDS": KEPT,
        }

    def of(self, room: str, *types: str) -> list[Received]:
        """The requests about a room, in the order in which they came, of these types or all."""
        with self._lock:
            received = list(self.received)
        return [one for one in received if one.room == room and (not types or one.event["type"] in types)]

    def types(self, room: str) -> list[str]:
        """The type of each event that was taken of a room, without repetitions."""
        return [one.event["type"] for one in first_taken(self.of(room))]


def first_taken(received: list[Received]) -> list[Received]:
    """The first request with each id that was taken."""
    found: dict[str, Received] = {}
    for one in received:
        if one.is_taken:
            found.setdefault(one.id, one)
    return list(found.values())


def is_in_order(received: list[Received]) -> bool:
    """Whether the requests of one room are in order: none before all earlier events were taken, but for repetitions."""
    taken: set[str] = set()
    waiting = ""
    newest = 0
    for one in received:
        if one.id in taken:
            continue
        if waiting not in {"", one.id} or one.event["sequence"] < newest:
            return False
        newest, waiting = one.event["sequence"], "" if one.is_taken else one.id
        if one.is_taken:
            taken.add(one.id)
    return True


@contextmanager
def hook_receiver(port: int = 0) -> Iterator[Receiver]:
    receiver = Receiver(port)
    try:
        yield receiver
    finally:
        receiver.close()
