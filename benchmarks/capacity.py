"""Computes the table of a million connections in docs/operations.md: `python -m benchmarks.capacity`. Pure.

Each result follows from an assumption and from constants that were measured, with the place where they are noted.
"""

from collections.abc import Iterator

from benchmarks.many_gateways import spread

# Assumptions.
CONNECTIONS = 1_000_000
PER_GATEWAY = 8_000
ROOM = 8
MOVING, HZ = 0.1, 5
CHAT_EVERY_SECONDS = 50
VISIT_SECONDS = 1_800
ZONES = 3
CHAT_TEXT_BYTES = 60
MARKER_SECONDS, DUPLICATES_SECONDS = 600, 120
"""The defaults of the settings of storage."""
SHARDS = 64
PRESENCE_PODS = 8
OTHER_CORES = 5
"""Load balancers, Prometheus, the provisioner."""
DOLLARS_PER_CORE = 40
HEADROOM = 2

# Measured.
DELIVERY_US = 8.2
"""CPU of a gateway for a cursor to a member, study rooms at 5 Hz on one gateway (benchmarks/RESULTS.md, 2026-11-24)."""
RECEIVE_US = 5.6
"""CPU of a gateway for a message from NATS (docs/operations.md, Sizing)."""
GATEWAY_MB, CONNECTION_KB, SUBSCRIPTION_KB = 90, 10, 4.7
"""Memory of a gateway, of a connection in a room of 8, and of a room's subscription (docs/operations.md, Sizing)."""
CURSOR_BYTES = 150
NATS_OUT_US = 5.0
"""CPU of NATS for a message to a client: bare nats-server, big room at 400/s (benchmarks/RESULTS.md)."""
NATS_STORE_US = 185
"""CPU of all three servers for a stored message at 2,000 a second, and that rate (docs/decisions/0029)."""
WRITES_TRIED = 2_000
IDLE_US = 2.0
"""CPU of NATS for an idle pair of room and gateway every ten seconds, at most (`make bench ARGS="--check home"`)."""
MESSAGE_BYTES, MEMBER_BYTES, MARKER_BYTES = 430, 330, 230
"""Storage (docs/operations.md, Storage)."""
DUPLICATE_BYTES = 250
"""Memory of NATS for the id of a message: 400,000 messages with ids of 36 characters, and without (2026-11-29)."""
JOINS_PER_REPLICA = 1_300

ROOMS = CONNECTIONS // ROOM
GATEWAYS = CONNECTIONS // PER_GATEWAY
CHAT = CONNECTIONS / CHAT_EVERY_SECONDS
JOINS = CONNECTIONS / VISIT_SECONDS
MOVES = CONNECTIONS * MOVING * HZ
DELIVERIES = MOVES * (ROOM - 1)
ANYWHERE = spread(ROOM, GATEWAYS)
"""Gateways of a room whose members are anywhere."""

Line = tuple[str, ...]


def lines() -> Iterator[Line]:
    """Yield quantity, arithmetic, result with members anywhere, result with rooms at home."""
    both = [_of(ANYWHERE), _of(1.0)]
    yield "gateway pods", f"{CONNECTIONS:,} ÷ {PER_GATEWAY:,}", *_twice(f"{GATEWAYS} of 1 core")
    memory = (CONNECTIONS * CONNECTION_KB / 1e6) + GATEWAYS * GATEWAY_MB / 1e3
    yield (
        "memory of connections",
        f"{CONNECTIONS:,} × {CONNECTION_KB} KB + {GATEWAYS} × {GATEWAY_MB} MB",
        *_twice(f"{memory:.0f} GB"),
    )
    yield "gateways of a room", f"{GATEWAYS} × (1 − (1 − 1/{GATEWAYS})^{ROOM})", f"{ANYWHERE:.1f}", "1"
    yield (
        "room subscriptions",
        f"{ROOMS:,} rooms × gateways of a room, {SUBSCRIPTION_KB} KB each",
        *(f"{one.pairs:,.0f}: {one.pairs * SUBSCRIPTION_KB / GATEWAYS / 1e3:.0f} MB per gateway" for one in both),
    )
    yield (
        "cursor deliveries",
        f"{CONNECTIONS * MOVING:,.0f} × {HZ} × {ROOM - 1}",
        *_twice(f"{DELIVERIES / 1e6:.1f} million/s, {DELIVERIES / GATEWAYS:,.0f} per gateway"),
    )
    yield (
        "CPU of gateways",
        f"{DELIVERY_US} µs per delivery, and {RECEIVE_US} µs per cursor out of NATS",
        *(f"{one.gateway_cores:.0f} cores" for one in both),
    )
    yield (
        "cursors out of NATS",
        f"{MOVES:,.0f}/s × (gateways of a room − 1), {CURSOR_BYTES} bytes each",
        *(f"{one.cursors / 1e6:.1f} million/s, {one.cursors * CURSOR_BYTES * 8 / 1e9:.1f} Gbit/s" for one in both),
    )
    yield (
        "chat out of NATS",
        f"{CHAT:,.0f}/s × gateways of a room",
        *(f"{one.chat:,.0f}/s" for one in both),
    )
    yield (
        "joins and leaves out of NATS",
        f"2 × {CONNECTIONS:,} ÷ {VISIT_SECONDS:,} s × gateways of a room",
        *(f"{one.changes:,.0f}/s" for one in both),
    )
    yield (
        "digests of cursors",
        f"each second, from each gateway for each shard: {GATEWAYS} × {SHARDS}",
        *_twice(f"{GATEWAYS * SHARDS:,}/s"),
    )
    yield (
        "polling of idle rooms",
        f"subscriptions ÷ 10 s × {IDLE_US:g} µs of NATS",
        *(f"{one.idle_cores:.2f} cores" for one in both),
    )
    yield (
        "CPU of NATS",
        f"{NATS_OUT_US:g} µs for each message out, {NATS_STORE_US} µs for each stored one",
        *(f"{one.nats_cores:.0f} cores" for one in both),
    )
    yield (
        "NATS servers",
        f"{HEADROOM} times that, in servers of 8 cores, at least three",
        *(f"**{one.nats_servers}**" for one in both),
    )
    yield from _storage()
    yield from _recovery()


class _of:  # noqa: N801 - reads as a function of the gateways per room
    """Quantities that depend on the number of gateways with members of a room."""

    def __init__(self, gateways_per_room: float) -> None:
        self.pairs = ROOMS * gateways_per_room
        self.cursors = MOVES * (gateways_per_room - 1)
        self.chat = CHAT * gateways_per_room
        self.changes = 2 * JOINS * gateways_per_room
        self.idle_cores = self.pairs / 10 * IDLE_US / 1e6
        self.gateway_cores = (DELIVERIES * DELIVERY_US + self.cursors * RECEIVE_US) / 1e6
        out = self.cursors + self.chat + self.changes + GATEWAYS * SHARDS
        self.nats_cores = (out * NATS_OUT_US + (CHAT + 2 * JOINS) * NATS_STORE_US) / 1e6 + self.idle_cores
        self.nats_servers = max(3, round(HEADROOM * self.nats_cores / 8 + 0.5))


def _storage() -> Iterator[Line]:
    chat_bytes = CHAT * (MESSAGE_BYTES + CHAT_TEXT_BYTES)
    yield (
        "disk for chat",
        f"{CHAT:,.0f}/s × ({MESSAGE_BYTES} + {CHAT_TEXT_BYTES}) bytes, on three servers each",
        *_twice(f"{chat_bytes / 1e6:.1f} MB/s, {chat_bytes * 86_400 / 1e9:,.0f} GB a day"),
    )
    yield (
        "deduplication",
        f"{CHAT:,.0f}/s × {DUPLICATES_SECONDS} s × {DUPLICATE_BYTES} bytes of memory",
        *_twice(f"{CHAT * DUPLICATES_SECONDS * DUPLICATE_BYTES / 1e6:,.0f} MB on each server"),
    )
    yield (
        "members",
        f"{CONNECTIONS:,} × {MEMBER_BYTES} bytes on disk",
        *_twice(f"{CONNECTIONS * MEMBER_BYTES / 1e6:.0f} MB"),
    )
    markers = JOINS * MARKER_SECONDS
    yield (
        "markers of those who have left",
        f"{JOINS:.0f}/s × {MARKER_SECONDS} s × {MARKER_BYTES} bytes",
        *_twice(f"{markers:,.0f}, {markers * MARKER_BYTES / 1e6:.0f} MB"),
    )


def _recovery() -> Iterator[Line]:
    yield "joins", f"{CONNECTIONS:,} ÷ {VISIT_SECONDS:,} s", *_twice(f"{JOINS:.0f}/s: 1 core of presence")
    yield "presence", "four groups of 16 shards, two replicas each", *_twice(f"**{PRESENCE_PODS} pods**")
    lost = CONNECTIONS // ZONES
    seconds = lost / (PRESENCE_PODS * JOINS_PER_REPLICA)
    yield (
        "loss of a zone",
        f"{lost:,} clients come back, {PRESENCE_PODS} replicas × {JOINS_PER_REPLICA:,} joins a second",
        *_twice(f"{seconds:.0f} s"),
    )
    yield (
        "writes to members meanwhile",
        f"2 × {lost:,} (lost, and back) ÷ {seconds:.0f} s",
        *_twice(f"{2 * lost / seconds:,.0f}/s"),
    )
    yield (
        "leaders for chat, and for that recovery",
        f"writes ÷ {WRITES_TRIED:,}/s, the most that was tried with one leader",
        *_twice(
            f"{CHAT / WRITES_TRIED:.0f}, and {2 * lost / seconds / WRITES_TRIED:.0f}: `STUDYROOM_STORAGE_GROUPS=16`"
        ),
    )
    yield "a deploy", f"{GATEWAYS} pods, one after another, 20 s each", *_twice(f"{GATEWAYS * 20 / 60:.0f} minutes")
    yield (
        "cores, and $ a month at 40 $ for a core with 4 GB",
        f"gateways, NATS, {PRESENCE_PODS} of presence, {OTHER_CORES} others",
        *(f"{cores}, {cores * DOLLARS_PER_CORE:,} $" for cores in map(_cores, (ANYWHERE, 1.0))),
    )


def _cores(gateways_per_room: float) -> int:
    return GATEWAYS + 8 * _of(gateways_per_room).nats_servers + PRESENCE_PODS + OTHER_CORES


def _twice(text: str) -> tuple[str, str]:
    return text, "the same"


def table() -> list[str]:
    """Return the rows as Markdown."""
    head = ["| quantity | arithmetic | members anywhere | rooms at home |", "| --- | --- | --- | --- |"]
    return [*head, *(f"| {' | '.join(line)} |" for line in lines())]


if __name__ == "__main__":
    print("\n".join(table()))
