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
"""The outcome of a join for which the bucket has no room. The gateway gets `unavailable`."""
LATE = "late"
"""The outcome of a request that arrived or finished too late for an answer."""
_GHOST_BUCKETS = (7, 7.5, 8, 9, 10, 12, 14, 16, 20, 25, 30, 60)


class PresenceMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.joins = Counter(
            "studyroom_presence_joins",
            "Joins of connections, with repeated ones.",
            registry=registry,
        )
        self.updates = Counter(
            "studyroom_presence_updates",
            "Changes of the custom presence of members.",
            registry=registry,
        )
        self.leaves = Counter(
            "studyroom_presence_leaves",
            "Connections removed from a room, by cause: by the `client`, `lost` by the gateway, with a dead gateway "
            "(`lease_expired`), or absent from a gateway's announcement (`not_announced`).",
            ["cause"],
            registry=registry,
        )
        for cause in ("client", "lost", "lease_expired", "not_announced"):
            self.leaves.labels(cause=cause)
        self.request_duration = Histogram(
            "studyroom_presence_roster_request_duration_seconds",
            "Time from the receipt of a request to its answer, by request.",
            ["request"],
            registry=registry,
        )
        self.refused = Counter(
            "studyroom_presence_requests_refused",
            "Requests that presence did not carry out, or too late to answer them, by outcome.",
            ["outcome"],
            registry=registry,
        )
        for outcome in (
            Outcome.UNAVAILABLE,
            Outcome.FULL,
            Outcome.NOT_MEMBER,
            Outcome.TOO_LARGE,
            Outcome.INVALID,
            STORAGE_FULL,
            LATE,
        ):
            self.refused.labels(outcome=outcome)
        self.conflicts = Counter(
            "studyroom_presence_conflicts", "Compare-and-set writes repeated after a conflict.", registry=registry
        )
        self.rebuilds = Counter(
            "studyroom_presence_mirror_rebuilds",
            "Times a mirror was rebuilt from its stream, or brought up to date after its watch broke, by stream.",
            ["stream"],
            registry=registry,
        )
        self.lease_expirations = Counter(
            "studyroom_presence_lease_expirations",
            "Dead gateways whose members this replica dropped.",
            registry=registry,
        )
        grace_outcomes = Counter(
            "studyroom_presence_grace_outcomes",
            "Grace periods that have ended, by outcome: the member `returned`, or the period `expired`.",
            ["outcome"],
            registry=registry,
        )
        self.grace_outcomes = {outcome: grace_outcomes.labels(outcome=outcome.value) for outcome in GraceOutcome}
        self.ghost_seconds = Histogram(
            "studyroom_presence_ghost_seconds",
            "Time from the last renewal of a dead gateway until this replica has dropped the last of its members.",
            buckets=_GHOST_BUCKETS,
            registry=registry,
        )
        self._registry = registry

    def watch(self, state: "PresenceState") -> None:
        self._registry.register(_StateCollector(state))


@dataclass(frozen=True, slots=True)
class PresenceState:
    mirrors: Callable[[], list[Mirror]]
    leases: Callable[[], int]
    shards: Collection[int]
    """The shards that this replica serves."""
    waiting: Callable[[], Mapping[int, int]]
    """The number of requests that wait for a slot, by shard."""


class _StateCollector:
    def __init__(self, state: PresenceState) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        state = self._state
        mirrors = state.mirrors()
        yield GaugeMetricFamily(
            "studyroom_presence_members",
            "Members of all rooms. A user with several connections to a room counts once.",
            value=sum(mirror.member_count for mirror in mirrors),
        )
        yield GaugeMetricFamily(
            "studyroom_presence_rooms",
            "Rooms with at least one member.",
            value=sum(mirror.room_count for mirror in mirrors),
        )
        yield GaugeMetricFamily("studyroom_presence_leases", "Gateways with a valid lease.", value=state.leases())
        waiting = GaugeMetricFamily(
            "studyroom_presence_requests_waiting",
            "Requests that wait because presence works on many others of the same shard.",
            labels=["shards"],
        )
        for shards, count in by_shards(state.waiting(), state.shards).items():
            waiting.add_metric([shards], count)
        yield waiting
