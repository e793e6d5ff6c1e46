"""The system under attack: real processes as in production, a recorder of all NATS traffic, and the vitals."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nats
from nats.aio.msg import Msg

from tests.hostile.stranger import Target
from tests.support.accounts import options_of, user_of
from tests.support.backend import SETTINGS as BACKENDS
from tests.support.processes import NatsServer, ServiceProcess, deployed_nats_server, running, service

SECRET = "a secret for tests, long enough for HS256"
_SETTINGS = {
    **BACKENDS,
    "STUDYROOM_GATEWAY_REQUESTS_PER_SECOND": "0",
    "STUDYROOM_GATEWAY_HANDSHAKES_PER_SECOND": "0",
    "STUDYROOM_GATEWAY_ADDRESS_CONNECTIONS_MAX": "0",
    "STUDYROOM_GATEWAY_HANDSHAKE_SECONDS": "2",
    "STUDYROOM_GATEWAY_CLOSE_TIMEOUT_SECONDS": "1",
    "STUDYROOM_GATEWAY_PING_INTERVAL_SECONDS": "1",
    "STUDYROOM_GATEWAY_PING_TIMEOUT_SECONDS": "4",
    "STUDYROOM_GATEWAY_SLOW_SECONDS": "2",
    "STUDYROOM_GATEWAY_FLOOD_SECONDS": "1",
    "STUDYROOM_PRESENCE_GRACE_SECONDS": "1",
}
"""Less patience than by default, so that an attack is over soon; and no limits that would end it at the door."""

_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ALLOWED = re.compile(
    rf"""chat\.\d+\.{_ID} | room\.\d+\.{_ID}\.(?:chat|cursor|typing|newest|presence\.{_ID})
    | presence\.\d+\.(?:join|leave|roster|complete|compare|rooms|cursors) | presence\.recall | gateways\.load
    | moderation\..+
    | \$KV\.retention\.claim | \$KV\.gateways\.{_ID} | \$KV\.presence\.\d+\.{_ID}\.{_ID}
    | _INBOX\.(?:gateway|presence|provisioner|operator)\..+ | \$JS\.(?:API|ACK|FC|EVENT)\..+
    | \$SYS\.REQ\.(?:SERVER\.PING\.JSZ|ACCOUNT\.PING\.STATZ|USER\.INFO)""",
    re.VERBOSE,
)
MARGINS = {
    "connections": 0, "rooms": 0, "subscriptions": 0,
    "tasks": 8,  # recurring work has a task now and then
    "files": 4,
    "resident_bytes": 40 * 1024 * 1024,  # kept by the allocator, see shared/chassis/memory
}  # fmt: skip
"""The growth that an attack may leave."""


@dataclass(frozen=True)
class Vitals:
    connections: float
    rooms: float
    subscriptions: float
    tasks: float
    files: int
    resident_bytes: int


@dataclass
class Site:
    nats: NatsServer
    gateway: ServiceProcess
    others: list[ServiceProcess]
    _read: dict[str, int] = field(default_factory=dict)
    """How much of each process's log has been looked at."""

    @property
    def target(self) -> Target:
        return Target.of(self.gateway.url)

    @property
    def resident_bytes(self) -> int:
        fields = Path(f"/proc/{self.gateway.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    async def vitals(self) -> Vitals:
        def read() -> Vitals:
            metric = self.gateway.metric
            return Vitals(
                metric("studyroom_gateway_connections"),
                metric("studyroom_gateway_rooms"),
                metric("studyroom_nats_subscriptions"),
                metric("studyroom_event_loop_tasks"),
                len(list(Path(f"/proc/{self.gateway.pid}/fd").iterdir())),
                self.resident_bytes,
            )

        return await asyncio.to_thread(read)

    async def leaks(self, before: Vitals) -> list[str]:
        now = await self.vitals()
        return [
            f"{name}: {getattr(now, name):.0f}, {getattr(before, name):.0f} before"
            for name, margin in MARGINS.items()
            if getattr(now, name) > getattr(before, name) + margin
        ]

    def complaints(self) -> list[str]:
        """The processes that have ended, and the errors that all have logged since the last call."""
        processes = [self.gateway, *self.others]
        ended = [f"{process.name} ended" for process in (self.nats, *processes) if not process.running]
        lines: list[str] = []
        for process in processes:
            logged = process.output().split("\n")[:-1]
            lines += logged[self._read.get(process.name, 0) :]
            self._read[process.name] = len(logged)
        return ended + [line for line in lines if "Traceback" in line or _level(line) in {"error", "critical"}]


def _level(line: str) -> str:
    try:
        return str(json.loads(line)["level"])
    except (ValueError, KeyError, TypeError):
        return ""


@contextmanager
def running_site(directory: Path, **settings: str) -> Iterator[Site]:
    with ExitStack() as started:
        server = started.enter_context(running(deployed_nats_server(directory)))
        variables = {**_SETTINGS, "STUDYROOM_GATEWAY_JWT_SECRET": SECRET, **settings}
        processes = [
            started.enter_context(running(service(name, directory, server.url, **variables, **user_of(name))))
            for name in ("provisioner", "presence", "gateway")
        ]
        yield Site(server, processes[-1], processes[:-1])


class Recorder:
    """Receives all messages in NATS."""

    def __init__(self) -> None:
        self.subjects: set[str] = set()

    @property
    def strange(self) -> list[str]:
        """Subjects outside the contract, or with something else in the place of an id."""
        return sorted(subject for subject in self.subjects if _ALLOWED.fullmatch(subject) is None)

    @classmethod
    @asynccontextmanager
    async def listening(cls, site: Site) -> AsyncIterator["Recorder"]:
        recorder = cls()

        async def receive(message: Msg) -> None:
            recorder.subjects.add(message.subject)

        connection = await nats.connect(site.nats.url, **options_of("operator"))
        try:
            await connection.subscribe(">", cb=receive, pending_msgs_limit=-1, pending_bytes_limit=-1)
            await connection.flush()
            yield recorder
        finally:
            await connection.close()
