"""Metrics of the hooks service."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from studyroom.services.hooks.events import EventType
from studyroom.services.hooks.sending import Outcome

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_DELAY_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


@dataclass(frozen=True)
class HooksState:
    """Functions that return the present state."""

    groups: Callable[[], int]
    """The number of groups of shards that this replica works on."""
    waiting_rooms: Callable[[], int]
    oldest_seconds: Callable[[], float]
    """The age of the oldest event that is not delivered, 0 if there is none."""


class HooksMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.events = Counter(
            "studyroom_hooks_events", "Events that were put into the log, by type.", ["type"], registry=registry
        )
        for kind in EventType:
            self.events.labels(type=kind.value)
        self.attempts = Counter(
            "studyroom_hooks_attempts",
            "Requests to the backend by outcome. All but `delivered` are repeated.",
            ["outcome"],
            registry=registry,
        )
        for outcome in Outcome:
            self.attempts.labels(outcome=outcome.value)
        self.attempt_duration = Histogram(
            "studyroom_hooks_attempt_duration_seconds",
            "Time from the beginning of a request to the backend to its answer or failure.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.delay = Histogram(
            "studyroom_hooks_delivery_delay_seconds",
            "Time from the commit of what an event is about to its delivery.",
            buckets=_DELAY_BUCKETS,
            registry=registry,
        )
        self.expired = Counter(
            "studyroom_hooks_expired_events",
            "Events that left the log before they were delivered, because of its age or size.",
            registry=registry,
        )

    def watch(self, state: HooksState) -> None:
        self._registry.register(_Collector(state))


class _Collector:
    def __init__(self, state: HooksState) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "studyroom_hooks_groups", "Groups of shards that this replica works on.", self._state.groups()
        )
        yield GaugeMetricFamily(
            "studyroom_hooks_waiting_rooms", "Rooms with events that are not delivered.", self._state.waiting_rooms()
        )
        yield GaugeMetricFamily(
            "studyroom_hooks_oldest_undelivered_seconds",
            "Age of the oldest event that is not delivered, 0 if there is none.",
            self._state.oldest_seconds(),
        )
