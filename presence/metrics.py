"""Metrics of presence."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from studyroom.presence.grace import GraceOutcome
from studyroom.presence.roster import Mirror
from studyroom.shared.chassis.metrics import by_shards
from studyroom.shared.contract.presence import Outcome

STORAGE_FULL = "storage_full"
"""Outcome of joins for which the bucket has no room; to gateways they are unavailable."""
LATE = "late"
"""The outcome of a request that came, or was carried out, too late to be answered."""
_GHOST_BUCKETS = (7, 7.5, 8, 9, 10, 12, 14, 16, 20, 25, 30, 60)


class PresenceMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.joins = Counter(
            "studyroom_presence_joins",
            "Connections that joined a room, repeated joins included.",
            registry=registry,
        )
        self.leaves = Counter(
            "studyroom_presence_leaves",
            "Connections that left a room, by cause; `lease_expired` and `not_announced` were swept.",
            ["cause"],
            registry=registry,
        )
        for cause in ("client", "lost", "lease_expired", "not_announced"):
            self.leaves.labels(cause=cause)
        self.request_duration = Histogram(
            "studyroom_presence_roster_request_duration_seconds",
            "From receipt of a request to its answer, by request.",
            ["request"],
            registry=registry,
        )
        self.refused = Counter(
            "studyroom_presence_requests_refused",
            "Requests not carried out, or too late to be answered, by outcome.",
            ["outcome"],
            registry=registry,
        )
        for outcome in (Outcome.UNAVAILABLE, Outcome.FULL, Outcome.INVALID, STORAGE_FULL, LATE):
            self.refused.labels(outcome=outcome)
        self.conflicts = Counter(
            "studyroom_presence_conflicts", "Compare-and-set writes that were tried again.", registry=registry
        )
        self.rebuilds = Counter(
            "studyroom_presence_mirror_rebuilds",
            "Times the mirror was built from the stream, or brought up to date after its watch was lost.",
            registry=registry,
        )
        self.lease_expirations = Counter(
            "studyroom_presence_lease_expirations",
            "Dead gateways whose members this replica dropped.",
            registry=registry,
        )
        grace_outcomes = Counter(
            "studyroom_presence_grace_outcomes",
            "Places kept for lost members, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        self.grace_outcomes = {outcome: grace_outcomes.labels(outcome=outcome.value) for outcome in GraceOutcome}
        self.ghost_seconds = Histogram(
            "studyroom_presence_ghost_seconds",
            "From the last sign of life of a dead gateway to the end of its last member that this replica dropped.",
            buckets=_GHOST_BUCKETS,
            registry=registry,
        )
        self._registry = registry

    def watch(self, state: "PresenceState") -> None:
        self._registry.register(_StateCollector(state))


@dataclass(frozen=True, slots=True)
class PresenceState:
    mirror: Callable[[], Mirror]
    leases: Callable[[], int]
    shards: Collection[int]
    """That are served."""
    waiting: Callable[[], Mapping[int, int]]
    """Requests without a slot, by shard."""


class _StateCollector:
    def __init__(self, state: PresenceState) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        state = self._state
        mirror = state.mirror()
        yield GaugeMetricFamily(
            "studyroom_presence_members",
            "Members of all rooms: users, not connections.",
            value=mirror.member_count,
        )
        yield GaugeMetricFamily("studyroom_presence_rooms", "Rooms with at least one member.", value=mirror.room_count)
        yield GaugeMetricFamily("studyroom_presence_leases", "Gateways that are alive.", value=state.leases())
        waiting = GaugeMetricFamily(
            "studyroom_presence_requests_waiting",
            "Requests that are not worked on yet since many others of their shards are.",
            labels=["shards"],
        )
        for shards, count in by_shards(state.waiting(), state.shards).items():
            waiting.add_metric([shards], count)
        yield waiting
