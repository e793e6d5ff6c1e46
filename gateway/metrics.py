"""Metrics of the gateway.

The data path counts in `Traffic`, which a collector reads for each scrape.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from studyroom.gateway import DATA_PATH
from studyroom.gateway.wire.items import MESSAGE_TYPES
from studyroom.gateway.wire.traffic import LATENCY_BUCKETS, Traffic
from studyroom.shared.chassis.metrics import by_shards
from studyroom.shared.contract.close_codes import CloseCode
from studyroom.shared.contract.errors import ErrorCode

_BACKFILL_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_REQUEST_REFUSALS = (
    ErrorCode.HOST_NOT_ALLOWED,
    ErrorCode.RATE_LIMITED,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.HEADERS_TOO_LARGE,
)
_HANDSHAKE_REFUSALS = (
    ErrorCode.KEYS_UNAVAILABLE,
    ErrorCode.TOO_MANY_CONNECTIONS,
    ErrorCode.TOO_MANY_HANDSHAKES,
    ErrorCode.TOO_MANY_OF_ADDRESS,
)
_OWN_FAULTS = (
    ErrorCode.CHAT_STORAGE_FULL,
    ErrorCode.CHAT_UNAVAILABLE,
    ErrorCode.INTERNAL,
    ErrorCode.KEYS_UNAVAILABLE,
    ErrorCode.PRESENCE_UNAVAILABLE,
)
_LOST = (CloseCode.ABNORMAL, CloseCode.SLOW_CONSUMER, CloseCode.PING_TIMEOUT)
"""Alerts read these, the refusals and the own faults. A counter that begins at 1 hides its first event from `rate`."""


class GatewayMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.traffic = Traffic()
        Info("studyroom_gateway_data_path", "Compiled, or Python.", registry=registry).info({"variant": DATA_PATH})
        self.accepted = Counter(
            "studyroom_gateway_connections_accepted", "WebSocket handshakes accepted.", registry=registry
        )
        self.fallback_connections = Counter(
            "studyroom_gateway_fallback_connections",
            "Connections opened over HTTP, by clients whose network blocks WebSockets.",
            registry=registry,
        )
        self.channels = Gauge(
            "studyroom_gateway_channels",
            "Open channels. Each is in the number of connections too.",
            registry=registry,
        )
        self.refused = Counter(
            "studyroom_gateway_handshakes_refused",
            "WebSocket handshakes refused, by code.",
            ["code"],
            registry=registry,
        )
        for code in _HANDSHAKE_REFUSALS:
            self.refused.labels(code=code)
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
        self.handovers = Counter(
            "studyroom_gateway_handovers",
            "Handshakes that a worker gave to the home of their room or took from another worker, by outcome.",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("given", "kept", "taken", "taken_back"):
            self.handovers.labels(outcome=outcome)
        self.shed = Counter(
            "studyroom_gateway_shed",
            "Connections that load shedding has asked to reconnect.",
            registry=registry,
        )
        self.home_probes = Counter(
            "studyroom_gateway_home_probes",
            "Members asked to reconnect to find out whether their room has its home on another gateway.",
            registry=registry,
        )
        self.rooms_moved = Counter(
            "studyroom_gateway_rooms_moved",
            "Rooms, or parts of large rooms, whose members were asked to follow to their home on another gateway.",
            registry=registry,
        )
        self.members_moved = Counter(
            "studyroom_gateway_room_members_moved",
            "Members that were asked to follow their room to its home on another gateway.",
            registry=registry,
        )
        self.moves_late = Counter(
            "studyroom_gateway_moves_late",
            "Connections closed because their client did not move in time after Moving.",
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
        for lost in _LOST:
            self.disconnects.labels(code=lost)
        self.errors_sent = Counter(
            "studyroom_gateway_errors_sent",
            "Error messages sent to clients, by code.",
            ["code"],
            registry=registry,
        )
        for code in _OWN_FAULTS:
            self.errors_sent.labels(code=code)
        self.dropped = Counter(
            "studyroom_gateway_dropped",
            "Room messages that were not delivered to a member, by lane and reason.",
            ["lane", "reason"],
            registry=registry,
        )
        for lane, reason in (
            ("essential", "slow_consumer"),
            ("ephemeral", "not_in_roster"),
            ("ephemeral", "out_of_order"),
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
            buckets=LATENCY_BUCKETS,
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
        for result in ("recovered", "other_epoch", "trimmed", "erased", "unknown_position"):
            self.resumes.labels(result=result)
        self.join_duration = Histogram(
            "studyroom_gateway_join_duration_seconds",
            "Time from JoinRoom to JoinedRoom or a refusal, by result.",
            ["result"],
            registry=registry,
        )
        for result in ("joined", "unavailable"):
            self.join_duration.labels(result=result)
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


class Gauges(Protocol):
    """Numbers that the collector reads for each scrape."""

    def connections(self) -> int: ...
    def rooms(self) -> int: ...
    def members(self) -> int: ...
    def collection_seconds(self) -> float: ...
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
        for name, documentation, value in (
            ("connections", "Open WebSocket connections.", gauges.connections()),
            ("rooms", "Rooms with a connection on this gateway.", gauges.rooms()),
            ("room_connections", "Connections that are in a room.", gauges.members()),
            (
                "collection_seconds",
                "How long rooms collect before they send, which follows the load of the event loop.",
                gauges.collection_seconds(),
            ),
            (
                "drain_remaining",
                "Connections that the drain has yet to close. 0 without a drain.",
                gauges.drain_remaining(),
            ),
            ("address_connections", "Connections of the address that has the most.", gauges.most_of_an_address()),
            ("user_connections", "Connections of the user who has the most.", gauges.most_of_a_user()),
        ):
            yield GaugeMetricFamily(f"studyroom_gateway_{name}", documentation, value=value)
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
            "Cursors, typing notices and events with a key replaced by newer ones before they were sent.",
            _named(traffic.conflated),
        )
        latency = HistogramMetricFamily(
            "studyroom_gateway_delivery_latency_seconds",
            "Time from the author's socket to the write to the members' sockets, once per message and gateway.",
            labels=["type"],
        )
        for kind, histogram in traffic.latencies_us.items():
            latency.add_metric([MESSAGE_TYPES[kind]], *histogram.read(1_000_000))
        yield latency
        flushes = HistogramMetricFamily("studyroom_gateway_flush_batch_size", "Frames per flush of a room.")
        flushes.add_metric([], *traffic.flush_sizes.read())
        yield flushes
        gateways_of = HistogramMetricFamily(
            "studyroom_gateway_room_gateways",
            "Gateways with members of a room, sampled every five seconds. A room counts at one of them.",
        )
        gateways_of.add_metric([], *traffic.room_gateways.read())
        yield gateways_of
        yield CounterMetricFamily(
            "studyroom_gateway_crossed_deliveries",
            "Cursors that came from other gateways, times the members here.",
            value=traffic.crossed_deliveries,
        )
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
