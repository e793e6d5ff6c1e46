"""Metrics of shared documents."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from studyroom.gateway.wire.traffic import LATENCY_BUCKETS, PlainHistogram

EDIT, MALFORMED = "Edit", "malformed"
_MESSAGES = ("SyncStep1", EDIT, "Awareness", "QueryAwareness", "Token", "Close", "Ignored", MALFORMED)


class DocumentMetrics(Collector):
    def __init__(self, registry: CollectorRegistry) -> None:
        self._connections = Gauge(
            "studyroom_gateway_document_connections", "Open connections to shared documents.", registry=registry
        )
        self._documents = Gauge(
            "studyroom_gateway_documents", "Shared documents that are open on this gateway.", registry=registry
        )
        self.messages = dict.fromkeys(_MESSAGES, 0)
        """Messages from editors, by type. This and the next three are plain numbers, because each edit changes them."""
        self.stored = 0
        self.deliveries = 0
        self.commit_seconds = PlainHistogram(LATENCY_BUCKETS)
        registry.register(self)
        self.not_stored = Counter(
            "studyroom_gateway_document_updates_not_stored",
            "Updates of shared documents without an acknowledgement, which the gateway asks the editor for again.",
            registry=registry,
        )
        self.sync_duration = Histogram(
            "studyroom_gateway_document_sync_duration_seconds",
            "Time until the documents service has answered what a document has and an editor has not.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.sync_failures = Counter(
            "studyroom_gateway_document_sync_failures",
            "Questions to the documents service without an answer in time, which are repeated.",
            registry=registry,
        )
        self.refused = Counter(
            "studyroom_gateway_document_edits_refused",
            "Edits of shared documents that were refused, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in ("malformed", "read_only", "too_large", "full", "too_many_documents", "deleted"):
            self.refused.labels(reason=reason)
        self.gaps = Counter(
            "studyroom_gateway_document_gaps",
            "Shared documents that have missed stored updates and were synced again.",
            registry=registry,
        )
        self.fresh_syncs = Counter(
            "studyroom_gateway_document_fresh_syncs",
            "Slow editors that have caught up by a fresh sync instead of a backlog.",
            registry=registry,
        )

    def collect(self) -> Iterable[Metric]:
        """The plain numbers, for each scrape."""
        messages = CounterMetricFamily(
            "studyroom_gateway_document_messages",
            "Messages from editors of shared documents, by type.",
            labels=["type"],
        )
        for kind, count in self.messages.items():
            messages.add_metric([kind], count)
        yield messages
        yield CounterMetricFamily(
            "studyroom_gateway_document_updates_stored",
            "Updates of shared documents that the stream has acknowledged, each merged from one or more edits.",
            value=self.stored,
        )
        yield CounterMetricFamily(
            "studyroom_gateway_document_deliveries",
            "Stored updates written to editors, once for each update and editor.",
            value=self.deliveries,
        )
        latency = HistogramMetricFamily(
            "studyroom_gateway_document_commit_latency_seconds",
            "Time from the publication of an update of a shared document to its acknowledgement by the stream.",
        )
        latency.add_metric([], *self.commit_seconds.read())
        yield latency

    def watch(self, connections: Callable[[], int], documents: Callable[[], int]) -> None:
        self._connections.set_function(connections)
        self._documents.set_function(documents)
