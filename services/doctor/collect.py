"""Collects an observation of servers, connections, streams, consumers, leases and shards, from NATS and presence."""

import asyncio
import json
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from studyroom.shared.chassis.nats.all_answers import all_answers
from studyroom.shared.chassis.nats.bus import Bus, BusError, BusUnavailable, Message
from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import STATUS, SUBJECT, TIME, is_removal
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.presence import Outcome, RoomsReply, RoomsRequest

_CONNECTIONS = "$SYS.REQ.ACCOUNT.PING.CONNZ"
_STORAGE = "$SYS.REQ.SERVER.PING.JSZ"
"""NATS answers this only in the system account, unless that account exports it (deploy/nats/accounts.conf)."""
_LEASES = f"DIRECT.GET.{subjects.GATEWAYS_STREAM}"
_SILENCE_SECONDS = 0.5
"""After so long without another answer, all servers have answered."""
_ANSWER_SECONDS = 2.0
_SHARD_SECONDS = 1.0
_CONNECTIONS_MAX = 4096
_ASKED_AGAIN = 32
"""Further requests about a shard if the first got no answer. NATS distributes them over the replicas, so each replica
gets some."""
_END = "204"

Seen = TypeVar("Seen")


@dataclass(frozen=True, slots=True)
class Connection:
    """A client of NATS."""

    name: str
    user: str
    address: str
    uptime: str
    subscriptions: int
    pending_bytes: int
    """Bytes that the client has not read yet."""
    received: int = 0
    """Messages that the client has sent to NATS."""
    delivered: int = 0
    """Messages that NATS has sent to the client."""


@dataclass(frozen=True, slots=True)
class Store:
    """The file storage of a server, in bytes."""

    used: int
    reserved: int
    """Bytes that are set aside for streams, used or not."""
    limit: int
    sync_always: bool
    """Whether the server syncs messages to the disk before it acknowledges them."""


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    version: str
    connections: tuple[Connection, ...]
    store: Store | None = None
    """None if servers report it to their system account only."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A replica of a stream that is not the leader."""

    server: str
    current: bool
    offline: bool
    lag: int


@dataclass(frozen=True, slots=True)
class Consumer:
    name: str
    pending: int
    """Messages that NATS has not yet sent to the consumer."""
    bound: bool
    """Whether a client is subscribed."""


@dataclass(frozen=True, slots=True)
class Stream:
    name: str
    config: dict[str, Any]
    messages: int
    bytes: int
    last_sequence: int
    leader: str | None
    """None if there is one server only."""
    clustered: bool
    copies: tuple[Copy, ...]
    consumers: tuple[Consumer, ...]


@dataclass(slots=True)
class Observation:
    """The state of the system, as far as NATS and presence report it."""

    servers: list[Server] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    now: str = ""
    """The time at which the leases were read, by the servers' clock, RFC 3339."""
    leases: dict[str, str] = field(default_factory=dict)
    """The last renewal of each gateway's lease, by the servers' clock, RFC 3339."""
    silent: list[str] = field(default_factory=list)
    """Addresses of presence replicas that received requests and answered none."""
    room_gateways: list[int] = field(default_factory=list)
    """How many gateways host each room of a sample."""
    unserved: list[int] = field(default_factory=list)
    """Shards for which no presence replica answers."""
    failures: dict[str, str] = field(default_factory=dict)
    """The error of each part that did not answer. The observation does not have that part."""

    def lease_ages(self) -> dict[str, float]:
        """Return the seconds since each gateway renewed its lease."""
        if not self.now:
            return {}
        now = datetime.fromisoformat(self.now)
        return {
            gateway: (now - datetime.fromisoformat(renewed)).total_seconds() for gateway, renewed in self.leases.items()
        }

    def connected(self, service: str) -> list[Connection]:
        name = f"studyroom-{service}"
        return [one for server in self.servers for one in server.connections if one.name == name]


async def look(bus: Bus, groups: int = 1) -> Observation:
    """Observe a system with so many groups of shards through a connected bus. Record errors in `failures` instead of
    raising them."""
    seen = Observation()
    before, *_ = await asyncio.gather(
        _or_failure(seen, "servers", _servers(bus, seen)),
        _streams(bus, seen, subjects.streams(groups)),
        _or_failure(seen, "leases", _leases(bus, seen)),
    )
    seen.servers = before or []
    rooms = await _shards(bus, seen)
    await _or_failure(seen, "gateways of rooms", _gateways_of(bus, seen, rooms))
    # The message counts of each connection show which replicas received requests, and which answered.
    after = await _or_failure(seen, "servers", _servers(bus, seen)) if seen.servers else None
    if after is not None:
        seen.silent = _silent(seen, after)
        seen.servers = await _with_stores(bus, after)
    return seen


def _silent(seen: Observation, after: list[Server]) -> list[str]:
    before = {one.address: one for one in seen.connected("presence")}
    return [
        one.address
        for server in after
        for one in server.connections
        if one.address in before
        and one.delivered > before[one.address].delivered
        and one.received == before[one.address].received
    ]


async def _or_failure(seen: Observation, asked: str, answer: Awaitable[Seen]) -> Seen | None:
    """Return the answer, or record the failure and return None."""
    try:
        return await answer
    except BusError as error:
        seen.failures[asked] = str(error)
        return None


async def _servers(bus: Bus, seen: Observation) -> list[Server]:
    servers = []
    for answer in await _ask_connections(bus, auth=True):
        seen.now = seen.now or answer["server"]["time"]
        connections = tuple(
            Connection(
                name=one.get("name", ""),
                user=one.get("authorized_user", ""),
                address=f"{one['ip']}:{one['port']}",
                uptime=one["uptime"],
                subscriptions=one["subscriptions"],
                pending_bytes=one["pending_bytes"],
                received=one["in_msgs"],
                delivered=one["out_msgs"],
            )
            for one in answer["data"].get("connections") or []
        )
        servers.append(Server(answer["server"]["name"], answer["server"]["ver"], connections))
    if not servers:
        raise BusUnavailable("no server lists its connections")
    return sorted(servers, key=lambda server: server.name)


async def _ask_connections(bus: Bus, **options: object) -> list[dict[str, Any]]:
    return await _ask(bus, _CONNECTIONS, json.dumps({"limit": _CONNECTIONS_MAX, **options}).encode())


async def _gateways_of(bus: Bus, seen: Observation, rooms: set[RoomId]) -> None:
    """Count the gateways that are subscribed to each of these rooms."""
    answers = await asyncio.gather(
        *(_ask_connections(bus, filter_subject=subjects.room_cursor(room)) for room in sorted(rooms))
    )
    counts = [
        sum(
            one.get("name") == "studyroom-gateway"
            for answer in of_room
            for one in answer["data"].get("connections") or []
        )
        for of_room in answers
    ]
    # A room whose members have just left is hosted nowhere.
    seen.room_gateways = [count for count in counts if count]


async def _with_stores(bus: Bus, servers: list[Server]) -> list[Server]:
    stores = {}
    for answer in await _ask(bus, _STORAGE, b""):
        data = answer["data"]
        if config := data.get("config"):
            stores[answer["server"]["name"]] = Store(
                data["storage"], data["reserved_storage"], config["max_storage"], bool(config.get("sync_always"))
            )
    return [replace(server, store=stores.get(server.name)) for server in servers]


async def _ask(bus: Bus, subject: str, request: bytes) -> list[dict[str, Any]]:
    """Return the answer of every server to a monitoring request."""
    return [json.loads(message.data) for message in await _all_answers(bus, subject, request) if message.data]


def _is_status(message: Message) -> bool:
    """Return whether the message is the end of an answer, or shows that there are no subscribers."""
    return STATUS in (message.headers or {})


async def _streams(bus: Bus, seen: Observation, ours: tuple[str, ...]) -> None:
    """Look at all streams. Without a list, look at Studyroom's, since servers without a majority may report them."""
    listed = await _or_failure(seen, "streams", _names(bus))
    names = ours if listed is None else listed
    asked = (_or_failure(seen, f"stream {name}", _stream(bus, seen, name)) for name in sorted(names))
    seen.streams = [stream for stream in await asyncio.gather(*asked) if stream is not None]


async def _names(bus: Bus) -> list[str]:
    return (await bus.api("STREAM.NAMES", timeout_seconds=_ANSWER_SECONDS)).get("streams") or []


async def _stream(bus: Bus, seen: Observation, name: str) -> Stream:
    info = await bus.api(f"STREAM.INFO.{name}", timeout_seconds=_ANSWER_SECONDS)
    consumers = await _or_failure(seen, f"consumers of {name}", _consumers(bus, name))
    cluster, state = info.get("cluster", {}), info["state"]
    return Stream(
        name=name,
        config=info["config"],
        messages=state["messages"],
        bytes=state["bytes"],
        last_sequence=state["last_seq"],
        leader=cluster.get("leader"),
        clustered="name" in cluster,
        copies=tuple(
            Copy(one["name"], bool(one.get("current")), bool(one.get("offline")), one.get("lag", 0))
            for one in cluster.get("replicas") or []
        ),
        consumers=consumers or (),
    )


async def _consumers(bus: Bus, stream: str) -> tuple[Consumer, ...]:
    listed = (await bus.api(f"CONSUMER.LIST.{stream}", timeout_seconds=_ANSWER_SECONDS)).get("consumers") or []
    return tuple(Consumer(one["name"], one["num_pending"], bool(one.get("push_bound"))) for one in listed)


async def _leases(bus: Bus, seen: Observation) -> None:
    request = json.dumps({"multi_last": [subjects.LEASE_KEYS]}).encode()
    answers = await _all_answers(bus, bus.jetstream(_LEASES), request)
    for message in answers:
        headers = message.headers or {}
        # A status can have the subject too.
        if STATUS not in headers and not is_removal(headers):
            seen.leases[subjects.parse_gateway_key(headers[SUBJECT])] = headers[TIME]
    end = (answers[-1].headers or {}).get(STATUS) if answers else None
    if end not in {_END, "404"}:
        raise BusUnavailable(f"status {end}" if end else "the answer did not end in time")


async def _shards(bus: Bus, seen: Observation) -> set[RoomId]:
    """Find the shards that no replica serves. Return a room of each of the others, if there is one."""
    first_rooms = await asyncio.gather(*(_first_room(bus, shard) for shard in range(subjects.SHARDS)))
    seen.unserved = [shard for shard, rooms in enumerate(first_rooms) if rooms is None]
    return {room for rooms in first_rooms for room in rooms or ()}


async def _first_room(bus: Bus, shard: int) -> list[RoomId] | None:
    """Return None if no replica answers. The first request may have gone to a replica that hangs."""
    rooms = await _ask_for_room(bus, shard)
    if rooms is not None:
        return rooms
    again = await asyncio.gather(*(_ask_for_room(bus, shard) for _ in range(_ASKED_AGAIN)))
    return next((rooms for rooms in again if rooms is not None), None)


async def _ask_for_room(bus: Bus, shard: int) -> list[RoomId] | None:
    request = RoomsRequest(shard=shard, limit=1).encode()
    with suppress(BusError, ValidationError):
        answer = await bus.request(subjects.presence_rooms(shard), request, timeout_seconds=_SHARD_SECONDS)
        reply = RoomsReply.decode(answer.data)
        if reply.outcome is Outcome.OK:
            return [summary.room for summary in reply.rooms]
    return None


async def _all_answers(bus: Bus, subject: str, request: bytes) -> list[Message]:
    """Return all answers up to the first status without a message."""
    return await all_answers(
        bus,
        subject,
        request,
        is_complete=lambda answers: _is_status(answers[-1]),
        first_seconds=_ANSWER_SECONDS,
        silence_seconds=_SILENCE_SECONDS,
    )
