"""Metrics of the gateway.

The data path counts with plain integers, which a collector reads for each scrape. It observes histograms once for each
flush and frame, never for each member.
"""

import time
from collections import Counter as Tally
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from studyroom.gateway.wire.items import MESSAGE_TYPES, Item, Kind
from studyroom.shared.chassis.metrics import PlainHistogram, by_shards
from studyroom.shared.contract.errors import ErrorCode

_LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_BACKFILL_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_REQUEST_REFUSALS = (
    ErrorCode.HOST_NOT_ALLOWED,
    ErrorCode.RATE_LIMITED,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.HEADERS_TOO_LARGE,
)
_LATENT_KINDS = (Kind.CHAT, Kind.CURSOR, Kind.TYPING)


def _per_kind() -> list[int]:
    return [0] * len(MESSAGE_TYPES)


@dataclass(slots=True)
class Traffic:
    """The counters of the data path."""

    messages_received: Tally[str] = field(default_factory=Tally)
    cursor_shortcuts: int = 0
    """Cursors that the gateway recognised without parsing. They are not in `messages_received`."""
    room_messages_sent: list[int] = field(default_factory=_per_kind)
    """Messages to members, by kind."""
    replies_sent: Tally[str] = field(default_factory=Tally)
    """Messages to one connection, by message type."""
    conflated: list[int] = field(default_factory=_per_kind)
    """Messages that newer ones replaced, by kind."""
    received: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    flush_sizes: PlainHistogram = field(default_factory=lambda: PlainHistogram(_BATCH_BUCKETS))
    latencies_us: dict[Kind, PlainHistogram] = field(
        default_factory=lambda: {
            kind: PlainHistogram([bucket * 1_000_000 for bucket in _LATENCY_BUCKETS]) for kind in _LATENT_KINDS
        }
    )


class GatewayMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.traffic = Traffic()
        self.accepted = Counter(
            "studyroom_gateway_connections_accepted", "WebSocket handshakes accepted.", registry=registry
        )
        self.refused = Counter(
            "studyroom_gateway_handshakes_refused",
            "WebSocket handshakes refused, by code.",
            ["code"],
            registry=registry,
        )
        self.requests_refused = Counter(
            "studyroom_gateway_requests_refused",
            "HTTP requests refused before the gateway read them, by code.",
            ["code"],
            registry=registry,
        )
        for code in _REQUEST_REFUSALS:
            self.requests_refused.labels(code=code)
        self.key_reads = Counter(
            "studyroom_gateway_public_key_reads",
            "Reads of the public keys of access tokens, by result.",
            ["result"],
            registry=registry,
        )
        for result in ("read", "failed"):
            self.key_reads.labels(result=result)
        self.shed = Counter(
            "studyroom_gateway_shed",
            "Connections that load shedding has asked to reconnect.",
            registry=registry,
        )
        self.unread_answers = Counter(
            "studyroom_gateway_unread_answers",
            "Sockets closed because the client did not read the answer to an HTTP request.",
            registry=registry,
        )
        self.idle_sockets = Counter(
            "studyroom_gateway_idle_sockets_ended",
            "Idle HTTP sockets closed because their address had too many, or too few file descriptors were left.",
            registry=registry,
        )
        self.late_heads = Counter(
            "studyroom_gateway_late_request_heads",
            "Sockets closed because a request head, or the body that it announced, was not complete in time.",
            registry=registry,
        )
        self.disconnects = Counter(
            "studyroom_gateway_disconnects",
            "Closed connections, by close code.",
            ["code"],
            registry=registry,
        )
        self.errors_sent = Counter(
            "studyroom_gateway_errors_sent",
            "Error messages sent to clients, by code.",
            ["code"],
            registry=registry,
        )
        self.dropped = Counter(
            "studyroom_gateway_dropped",
            "Room messages that were not delivered to a member, by lane and reason.",
            ["lane", "reason"],
            registry=registry,
        )
        for lane, reason in (
            ("essential", "slow_consumer"),
            ("ephemeral", "not_in_roster"),
            ("ephemeral", "slow_consumer"),
        ):
            self.dropped.labels(lane=lane, reason=reason)
        self.rate_limited = Counter(
            "studyroom_gateway_rate_limited",
            "Messages of clients beyond their rate limit. Cursors among them are conflated, others are refused.",
            registry=registry,
        )
        self.commit_latency = Histogram(
            "studyroom_gateway_chat_commit_latency_seconds",
            "Time from the receipt of a chat message to its acknowledgement by the stream.",
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.chat_storage_full = Counter(
            "studyroom_gateway_chat_storage_full",
            "Chat messages refused because the storage for chat is full.",
            registry=registry,
        )
        self.duplicates = Counter(
            "studyroom_gateway_chat_duplicates",
            "Retries of chat messages that were stored already.",
            registry=registry,
        )
        self.chat_repeats = Counter(
            "studyroom_gateway_chat_repeats",
            "Stored chat messages that the gateway received again, and did not deliver twice.",
            registry=registry,
        )
        self.backfill_messages = Histogram(
            "studyroom_gateway_chat_backfill_messages",
            "Missed chat messages that one backfill of a room has read from the stream.",
            buckets=_BACKFILL_BUCKETS,
            registry=registry,
        )
        self.chat_behind = Counter(
            "studyroom_gateway_chat_rooms_behind",
            "Rooms in which a comparison with the stream found missed chat.",
            registry=registry,
        )
        self.chat_losses = Counter(
            "studyroom_gateway_chat_resets",
            "Rooms whose members got `ChatReset`, because missed chat was removed or too much.",
            registry=registry,
        )
        self.resumes = Counter(
            "studyroom_gateway_resumes",
            "Joins that asked for missed chat, by result.",
            ["result"],
            registry=registry,
        )
        for result in ("recovered", "other_epoch", "trimmed", "unknown_position"):
            self.resumes.labels(result=result)
        self.join_duration = Histogram(
            "studyroom_gateway_join_duration_seconds",
            "Time from JoinRoom to JoinedRoom or a refusal, by result.",
            ["result"],
            registry=registry,
        )
        self.barrier_retries = Counter(
            "studyroom_gateway_join_barrier_retries",
            "Joins repeated because their own event did not arrive.",
            registry=registry,
        )
        self.resyncs = Counter(
            "studyroom_gateway_resyncs",
            "Complete resyncs with presence, such as after a reconnection to NATS.",
            registry=registry,
        )
        self.resync_differences = Counter(
            "studyroom_gateway_resync_differences",
            "Changes of rosters that clients got from a resync or a comparison.",
            registry=registry,
        )
        self.restored = Counter(
            "studyroom_gateway_connections_restored",
            "Connections restored to their rooms because presence did not have them.",
            registry=registry,
        )
        self.lost_changes = Counter(
            "studyroom_gateway_rooms_behind",
            "Rooms in which a comparison with presence found a missed change.",
            registry=registry,
        )
        self._registry = registry

    def watch(self, gauges: "Gauges") -> None:
        self._registry.register(_Collector(self.traffic, gauges))

    def error_sent(self, code: str) -> None:
        self.errors_sent.labels(code=code).inc()
        self.traffic.replies_sent["Error"] += 1

    def count_sent(self, items: Iterable[Item], times: int) -> None:
        sent = self.traffic.room_messages_sent
        for _, kind, _ in items:
            sent[kind] += times

    def count_cursors(self, cursors: Collection[tuple[bytes, int]], members: int, not_sent: int) -> None:
        """Count a flush that has only cursors. `cursors`: each with its time of receipt, Unix microseconds or 0."""
        traffic = self.traffic
        traffic.flush_sizes.observe(len(cursors))
        traffic.room_messages_sent[Kind.CURSOR] += len(cursors) * members - not_sent
        latencies = traffic.latencies_us[Kind.CURSOR]
        now_us = time.time_ns() // 1000
        for _, ingress_us in cursors:
            if ingress_us:
                latencies.observe(max(0, now_us - ingress_us))

    def count_flush(self, items: list[Item], members: int, not_sent: Iterable[int]) -> None:
        """Count a flush. `not_sent`: for each item that a member did not get, the index of the item."""
        traffic = self.traffic
        sent, latencies = traffic.room_messages_sent, traffic.latencies_us
        now_us = time.time_ns() // 1000
        traffic.flush_sizes.observe(len(items))
        for _, kind, ingress_us in items:
            sent[kind] += members
            if ingress_us:
                latencies[kind].observe(max(0, now_us - ingress_us))
        for index in not_sent:
            sent[items[index].kind] -= 1


class Gauges(Protocol):
    """Numbers that the collector reads for each scrape."""

    def connections(self) -> int: ...
    def rooms(self) -> int: ...
    def members(self) -> int: ...
    def drain_remaining(self) -> int: ...
    def most_of_an_address(self) -> int: ...
    def most_of_a_user(self) -> int: ...
    def waiting_requests(self) -> Mapping[str, Mapping[int, int]]:
        """Return the number of waiting requests to presence, by kind and shard."""

    def silent_shards(self) -> Iterable[int]: ...


class _Collector:
    def __init__(self, traffic: Traffic, gauges: Gauges) -> None:
        self._traffic = traffic
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        gauges, traffic = self._gauges, self._traffic
        yield GaugeMetricFamily(
            "studyroom_gateway_connections", "Open WebSocket connections.", value=gauges.connections()
        )
        yield GaugeMetricFamily(
            "studyroom_gateway_rooms", "Rooms with a connection on this gateway.", value=gauges.rooms()
        )
        yield GaugeMetricFamily(
            "studyroom_gateway_room_connections", "Connections that are in a room.", value=gauges.members()
        )
        yield GaugeMetricFamily(
            "studyroom_gateway_drain_remaining",
            "Connections that the drain has yet to close. 0 without a drain.",
            value=gauges.drain_remaining(),
        )
        yield GaugeMetricFamily(
            "studyroom_gateway_address_connections",
            "Connections of the address that has the most.",
            value=gauges.most_of_an_address(),
        )
        yield GaugeMetricFamily(
            "studyroom_gateway_user_connections",
            "Connections of the user who has the most.",
            value=gauges.most_of_a_user(),
        )
        yield from _questions(gauges)
        received = traffic.messages_received.copy()
        received["CursorMove"] += traffic.cursor_shortcuts
        yield _by_type("studyroom_gateway_messages_received", "Messages from clients, by type.", received)
        yield _by_type(
            "studyroom_gateway_messages_sent",
            "Messages written to clients, by type.",
            {**traffic.replies_sent, **_named(traffic.room_messages_sent)},
        )
        yield _by_type(
            "studyroom_gateway_conflated",
            "Cursors and typing notices replaced by a newer one of the same member before they were sent.",
            _named(traffic.conflated),
        )
        latency = HistogramMetricFamily(
            "studyroom_gateway_delivery_latency_seconds",
            "Time from the author's socket to the write to the members' sockets, once per message and gateway.",
            labels=["type"],
        )
        for kind, histogram in traffic.latencies_us.items():
            latency.add_metric([MESSAGE_TYPES[kind]], *histogram.read(divisor=1_000_000))
        yield latency
        flushes = HistogramMetricFamily("studyroom_gateway_flush_batch_size", "Frames per flush of a room.")
        flushes.add_metric([], *traffic.flush_sizes.read())
        yield flushes
        yield CounterMetricFamily(
            "studyroom_gateway_received_bytes",
            "Bytes of message text from clients.",
            value=traffic.received_bytes,
        )
        yield CounterMetricFamily(
            "studyroom_gateway_sent_bytes", "Bytes of frames written to clients.", value=traffic.sent_bytes
        )


def _questions(gauges: Gauges) -> Iterable[Metric]:
    waiting = GaugeMetricFamily(
        "studyroom_gateway_presence_questions_waiting",
        "Questions to presence that wait for a slot, by kind and shards.",
        labels=["lane", "shards"],
    )
    for lane, by_shard in gauges.waiting_requests().items():
        for shards, count in by_shards(by_shard).items():
            waiting.add_metric([lane, shards], count)
    yield waiting
    silent = GaugeMetricFamily(
        "studyroom_gateway_presence_shards_silent",
        "Shards of presence that were asked of late and do not answer this gateway.",
        labels=["shards"],
    )
    for shards, count in by_shards(dict.fromkeys(gauges.silent_shards(), 1)).items():
        silent.add_metric([shards], count)
    yield silent


def _named(per_kind: list[int]) -> dict[str, int]:
    return {name: count for name, count in zip(MESSAGE_TYPES, per_kind, strict=True) if count}


def _by_type(name: str, documentation: str, tally: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=["type"])
    for message_type, count in sorted(tally.items()):
        family.add_metric([message_type], count)
    return family
