"""Metrics of the documents service."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from studyroom.shared.chassis.metrics import by_shards
from studyroom.shared.contract.document_requests import RequestOutcome
from studyroom.shared.contract.documents import Outcome

_SIZE_BUCKETS = tuple(1024 * 4**power for power in range(9))
"""1 KiB to 64 MiB."""


@dataclass(frozen=True)
class DocumentsState:
    """Functions that return the present state."""

    documents: Callable[[], int]
    document_bytes: Callable[[], int]
    waiting: Callable[[], Mapping[int, int]]
    """The number of requests that wait for a slot, by shard."""
    shards: frozenset[int]
    """The shards that this replica serves."""


class DocumentsMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.request_duration = Histogram(
            "studyroom_documents_sync_duration_seconds",
            "Time from the receipt of a request for a document to its answer.",
            registry=registry,
        )
        self.refused = Counter(
            "studyroom_documents_requests_refused",
            "Requests for a document that the service did not carry out, by outcome.",
            ["outcome"],
            registry=registry,
        )
        for refusal in (Outcome.UNAVAILABLE, Outcome.INVALID):
            self.refused.labels(outcome=refusal.value)
        self.management_duration = Histogram(
            "studyroom_documents_management_duration_seconds",
            "Time from the receipt of a request about whole documents or versions to its answer.",
            registry=registry,
        )
        self.management = Counter(
            "studyroom_documents_management_requests",
            "Requests about whole documents and their versions, by outcome.",
            ["outcome"],
            registry=registry,
        )
        for outcome in RequestOutcome:
            self.management.labels(outcome=outcome.value)
        self.full = Counter(
            "studyroom_documents_full_answers",
            "Answers about a document that accepts no more edits, by reason: `document` if it is too large, `storage` "
            "if the stream is nearly full, or `room` if the room has too many others.",
            ["reason"],
            registry=registry,
        )
        for reason in ("document", "storage", "room"):
            self.full.labels(reason=reason)
        self.load_duration = Histogram(
            "studyroom_documents_load_duration_seconds",
            "Time to read a document that was not in memory.",
            registry=registry,
        )
        self.malformed = Counter(
            "studyroom_documents_malformed_updates",
            "Stored updates that cannot be applied, each time that they are read.",
            registry=registry,
        )
        self.snapshots = Counter(
            "studyroom_documents_snapshots",
            "Snapshots by outcome: `stored`, `conflict` if another replica was faster, or `failed`.",
            ["outcome"],
            registry=registry,
        )
        for result in ("stored", "conflict", "failed"):
            self.snapshots.labels(outcome=result)
        self.snapshot_bytes = Histogram(
            "studyroom_documents_snapshot_bytes",
            "Length of the snapshots that were stored.",
            buckets=_SIZE_BUCKETS,
            registry=registry,
        )
        self.purged = Counter(
            "studyroom_documents_purged_updates",
            "Updates that were removed from logs because a snapshot covers them.",
            registry=registry,
        )

    def watch(self, state: DocumentsState) -> None:
        self._registry.register(_Collector(state))


class _Collector:
    def __init__(self, state: DocumentsState) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "studyroom_documents_cached", "Documents that this replica has in memory.", self._state.documents()
        )
        yield GaugeMetricFamily(
            "studyroom_documents_cached_bytes",
            "Length of these documents, with something for each. They take several times as much memory.",
            self._state.document_bytes(),
        )
        waiting = GaugeMetricFamily(
            "studyroom_documents_requests_waiting",
            "Requests that wait because the service works on many others of the same shard.",
            labels=["shards"],
        )
        for shards, count in by_shards(self._state.waiting(), self._state.shards).items():
            waiting.add_metric([shards], count)
        yield waiting
