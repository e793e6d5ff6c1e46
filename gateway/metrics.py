"""Metrics of the gateway.

What the data path counts are plain integers, read when Prometheus asks; histograms are observed once per flush and
frame, never per member.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.outbox import Kind

_LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_LATENT_KINDS = (Kind.CHAT, Kind.CURSOR, Kind.TYPING)


@dataclass(slots=True)
class Traffic:
    """What the data path counts."""

    messages_received: Tally[str] = field(default_factory=Tally)
    messages_sent: Tally[str] = field(default_factory=Tally)
    received_bytes: int = 0
    sent_bytes: int = 0


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
        self.late_heads = Counter(
            "studyroom_gateway_late_request_heads",
            "Sockets ended since no complete request head came.",
            registry=registry,
        )
        self.disconnects = Counter(
            "studyroom_gateway_disconnects",
            "Connections that ended, by close code.",
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
            "Room messages not delivered, by lane and reason.",
            ["lane", "reason"],
            registry=registry,
        )
        for lane, reason in (("essential", "slow_consumer"), ("ephemeral", "not_in_roster")):
            self.dropped.labels(lane=lane, reason=reason)
        latency = Histogram(
            "studyroom_gateway_delivery_latency_seconds",
            "From the author's socket to the write to the members' sockets; once per message and gateway.",
            ["type"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.delivery_latency = {kind: latency.labels(type=kind.value) for kind in _LATENT_KINDS}
        self.flush_batch_size = Histogram(
            "studyroom_gateway_flush_batch_size",
            "Frames per flush of a room.",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self.commit_latency = Histogram(
            "studyroom_gateway_chat_commit_latency_seconds",
            "From the author's socket to the acknowledgement of the stream.",
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.duplicates = Counter(
            "studyroom_gateway_chat_duplicates",
            "Chat messages that had been stored before.",
            registry=registry,
        )
        self.join_duration = Histogram(
            "studyroom_gateway_join_duration_seconds",
            "From JoinRoom to JoinedRoom or refusal, by result.",
            ["result"],
            registry=registry,
        )
        self.barrier_retries = Counter(
            "studyroom_gateway_join_barrier_retries",
            "Joins asked again since their own event did not arrive.",
            registry=registry,
        )
        self.resyncs = Counter(
            "studyroom_gateway_resyncs",
            "Times everything was put right after a doubt.",
            registry=registry,
        )
        self.resync_differences = Counter(
            "studyroom_gateway_resync_differences",
            "Changes that clients were told of by a resync or a comparison.",
            registry=registry,
        )
        self.restored = Counter(
            "studyroom_gateway_connections_restored",
            "Connections put back into their rooms since presence may have lost them.",
            registry=registry,
        )
        self.lost_changes = Counter(
            "studyroom_gateway_rooms_behind",
            "Rooms found to have missed a change that presence knows.",
            registry=registry,
        )
        self._registry = registry

    def watch(self, gauges: "Gauges") -> None:
        self._registry.register(_Collector(self.traffic, gauges))

    def error_sent(self, code: str) -> None:
        self.errors_sent.labels(code=code).inc()
        self.traffic.messages_sent["Error"] += 1


@dataclass(frozen=True, slots=True)
class Gauges:
    connections: Callable[[], int]
    rooms: Callable[[], int]
    members: Callable[[], int]
    drain_remaining: Callable[[], int]


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
            "Connections a drain has still to close; 0 when not draining.",
            value=gauges.drain_remaining(),
        )
        yield _by_type(
            "studyroom_gateway_messages_received",
            "Messages from clients, by type.",
            traffic.messages_received,
        )
        yield _by_type(
            "studyroom_gateway_messages_sent", "Messages written to clients, by type.", traffic.messages_sent
        )
        yield CounterMetricFamily(
            "studyroom_gateway_received_bytes",
            "Bytes of message text from clients.",
            value=traffic.received_bytes,
        )
        yield CounterMetricFamily(
            "studyroom_gateway_sent_bytes", "Bytes of frames written to clients.", value=traffic.sent_bytes
        )


def _by_type(name: str, documentation: str, tally: Tally[str]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=["type"])
    for message_type, count in sorted(tally.items()):
        family.add_metric([message_type], count)
    return family
