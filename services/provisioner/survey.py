"""Surveys NATS: its servers, their versions and stores, and the limits of the account.

The answers of servers depend on the permissions. `deploy/nats/accounts.conf` lets the provisioner ask all servers about
JetStream. With other permissions, such as those of a managed NATS, every server still reports its version.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from studyroom.shared.chassis.nats.all_answers import all_answers
from studyroom.shared.chassis.nats.bus import Bus, BusError, Message
from studyroom.shared.chassis.nats.version import is_too_old
from studyroom.shared.contract import subjects

_STORES = "$SYS.REQ.SERVER.PING.JSZ"
_VERSIONS = "$SYS.REQ.ACCOUNT.PING.STATZ"
_USER_INFO = "$SYS.REQ.USER.INFO"
_ANSWER_SECONDS = 1.0
_SILENCE_SECONDS = 0.3
"""After so long without another answer, all servers have answered."""


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    version: str
    max_file_bytes: int | None = None
    """The limit of its file storage; None if it does not report one."""
    max_memory_bytes: int | None = None
    messages: tuple[tuple[str, int], ...] = ()
    """Names and numbers of messages of Studyroom's streams on its disk, also of streams unknown to the cluster."""


@dataclass(frozen=True, slots=True)
class Survey:
    servers: tuple[Server, ...]
    account: dict[str, Any]
    """The answer to `$JS.API.INFO`; empty if a server is too old."""
    time_ns: int
    """Unix time by the clock of NATS in nanoseconds; 0 if NATS does not report it."""
    cluster_size: int = 0
    """The number of servers; 0 if it is unknown."""

    @property
    def silent(self) -> str:
        """A text such as "1 of 3 servers" for those that have not answered; empty if all have, or if it is unknown."""
        answered = len(self.servers)
        return f"{self.cluster_size - answered} of {self.cluster_size} servers" if answered < self.cluster_size else ""

    @property
    def too_old(self) -> list[Server]:
        return [server for server in self.servers if is_too_old(server.version)]

    def server_bytes(self, kind: str) -> int | None:
        """Return the size of the smallest store of all servers; None if no server reports it."""
        limits = [server.max_memory_bytes if kind == "memory" else server.max_file_bytes for server in self.servers]
        return min((limit for limit in limits if limit is not None and limit > 0), default=None)


async def survey(bus: Bus) -> Survey:
    """Survey NATS, servers first: each answers for itself, even if JetStream has no leader. Raises BusError."""
    name = await _account_name(bus)
    stores = await _answers(bus, _STORES, {"account": name, "streams": True} if name else {})
    versions = stores or await _answers(bus, _VERSIONS, {"include_unused": True})
    servers = [_server(answer) for answer in versions if answer["server"].get("jetstream", True)]
    if not servers:
        servers = [Server("the connected server", bus.server_version)]
    times = [answer["server"].get("time", "") for answer in versions]
    return Survey(
        servers=tuple(sorted(servers, key=lambda server: server.name)),
        account={} if any(is_too_old(server.version) for server in servers) else await bus.api("INFO"),
        time_ns=_unix_ns(max(times, default="")),
        cluster_size=max(map(_cluster_size, stores), default=0),
    )


async def _account_name(bus: Bus) -> str:
    try:
        answer = await bus.request(_USER_INFO, b"", timeout_seconds=_ANSWER_SECONDS)
        name: str = json.loads(answer.data)["data"]["account"]
    except (BusError, ValueError, KeyError):
        return ""
    return name


def _server(answer: dict[str, Any]) -> Server:
    about, data = answer["server"], answer.get("data") or {}
    config = data.get("config") or {}
    details = [stream for account in data.get("account_details") or [] for stream in account.get("stream_detail") or []]
    return Server(
        name=about["name"],
        version=about["ver"],
        max_file_bytes=config.get("max_storage"),
        max_memory_bytes=config.get("max_memory"),
        messages=tuple(
            (stream["name"], stream["state"]["messages"])
            for stream in details
            if stream["name"] in subjects.ALL_STREAMS
        ),
    )


def _unix_ns(time: str) -> int:
    try:
        return int(datetime.fromisoformat(time).timestamp() * 1e9)
    except ValueError:
        return 0


async def _answers(bus: Bus, subject: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the answer of every server; none if the permissions do not allow the request."""

    def is_complete(answers: list[Message]) -> bool:
        return not answers[-1].data or len(answers) >= _expected(bus, _decoded(answers))

    return _decoded(
        await all_answers(
            bus,
            subject,
            json.dumps(request).encode(),
            is_complete=is_complete,
            first_seconds=_ANSWER_SECONDS,
            silence_seconds=_SILENCE_SECONDS,
        )
    )


def _decoded(answers: list[Message]) -> list[dict[str, Any]]:
    """Decode the answers, without the empty message that NATS sends if there are no subscribers."""
    return [json.loads(answer.data) for answer in answers if answer.data]


def _expected(bus: Bus, found: list[dict[str, Any]]) -> float:
    if not bus.clustered:
        return 1
    return max(map(_cluster_size, found), default=0) or float("inf")


def _cluster_size(answer: dict[str, Any]) -> int:
    size: int = ((answer.get("data") or {}).get("meta_cluster") or {}).get("cluster_size", 0)
    return size
