"""Metrics of presence."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from presence.roster import Mirror
from shared.presence import Outcome


class PresenceMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.joins = Counter(
            "studyroom_presence_joins",
            "Connections that joined a room, repeated joins included.",
            registry=registry,
        )
        self.leaves = Counter(
            "studyroom_presence_leaves",
            "Connections that left a room, by cause.",
            ["cause"],
            registry=registry,
        )
        self.request_duration = Histogram(
            "studyroom_presence_roster_request_duration_seconds",
            "From receipt of a request to its answer, by request.",
            ["request"],
            registry=registry,
        )
        self.refused = Counter(
            "studyroom_presence_requests_refused",
            "Requests not carried out, by outcome.",
            ["outcome"],
            registry=registry,
        )
        for outcome in (Outcome.UNAVAILABLE, Outcome.FULL, Outcome.INVALID):
            self.refused.labels(outcome=outcome.value)
        self.conflicts = Counter(
            "studyroom_presence_conflicts", "Compare-and-set writes that were tried again.", registry=registry
        )
        self.rebuilds = Counter(
            "studyroom_presence_mirror_rebuilds",
            "Times the mirror was built from the stream.",
            registry=registry,
        )
        self.lease_expirations = Counter(
            "studyroom_presence_lease_expirations",
            "Dead gateways whose members this replica dropped.",
            registry=registry,
        )
        self._registry = registry

    def watch(self, mirror: Callable[[], Mirror], leases: Callable[[], int]) -> None:
        self._registry.register(_StateCollector(mirror, leases))


class _StateCollector:
    def __init__(self, mirror: Callable[[], Mirror], leases: Callable[[], int]) -> None:
        self._mirror = mirror
        self._leases = leases

    def collect(self) -> Iterable[Metric]:
        mirror = self._mirror()
        yield GaugeMetricFamily(
            "studyroom_presence_members",
            "Members of all rooms: users, not connections.",
            value=mirror.member_count,
        )
        yield GaugeMetricFamily("studyroom_presence_rooms", "Rooms with at least one member.", value=mirror.room_count)
        yield GaugeMetricFamily("studyroom_presence_leases", "Gateways that are alive.", value=self._leases())
