"""Metrics that every process has. Each service adds its own, in an object that takes the registry as an argument."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily, Metric

from studyroom import __version__
from studyroom.shared.chassis.ticks import seconds_to_tick
from studyroom.shared.contract.subjects import SHARDS

_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_LAG_SAMPLE_SECONDS = 0.25
CALLBACK = "callback"
"""The task to which exceptions in callbacks of the event loop are counted."""
_SHARDS_OF_A_LABEL = 8


class ProcessMetrics:
    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.task_failures = Counter(
            f"studyroom_{service}_task_failures",
            "Failures of background tasks, by task, and of callbacks of the event loop.",
            ["task"],
            registry=registry,
        )
        self._callback_failures = self.task_failures.labels(task=CALLBACK)
        self._ready = Gauge(
            f"studyroom_{service}_ready", "1 while the process should get traffic, as /readyz says.", registry=registry
        )
        Info("studyroom_build", "The version of this process.", registry=registry).info({"version": __version__})
        Gauge("studyroom_event_loop_tasks", "Running asyncio tasks.", registry=registry).set_function(_count_tasks)
        self.event_loop_lag = Histogram(
            f"studyroom_{service}_event_loop_lag_seconds",
            "Delay of a timer beyond its time, sampled four times a second.",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )

    def watch_readiness(self, is_ready: Callable[[], bool]) -> None:
        """Ask `is_ready` whenever somebody reads the metrics."""
        self._ready.set_function(lambda: float(is_ready()))

    def count_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Count an exception in a callback of the event loop, and log it. For `set_exception_handler`."""
        self._callback_failures.inc()
        loop.default_exception_handler(context)

    async def sample_event_loop_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            wait_seconds = seconds_to_tick(_LAG_SAMPLE_SECONDS)
            due = loop.time() + wait_seconds
            await asyncio.sleep(wait_seconds)
            self.event_loop_lag.observe(max(0.0, loop.time() - due))


def _count_tasks() -> float:
    try:
        return float(len(asyncio.all_tasks()))
    except RuntimeError:
        return 0.0  # The caller is outside the event loop.


def by_shards(values: Mapping[int, int], served: Iterable[int] = range(SHARDS)) -> dict[str, int]:
    """Add up the values of the `served` shards in groups of eight, for a label with few values such as "0-7"."""
    added: dict[str, int] = {}
    for shard in sorted(served):
        first = shard - shard % _SHARDS_OF_A_LABEL
        label = f"{first}-{first + _SHARDS_OF_A_LABEL - 1}"
        added[label] = added.get(label, 0) + values.get(shard, 0)
    return added


_OTHER_ERROR = "other"
_SERVER_ERRORS = frozenset(
    {
        "account authentication expired",
        "authentication timeout",
        "authorization violation",
        "maximum account active connections exceeded",
        "maximum connections exceeded",
        "maximum payload violation",
        "maximum subscriptions exceeded",
        "server shutdown",
        "user authentication expired",
        "user authentication revoked",
    }
)


class BusState(Protocol):
    @property
    def connected(self) -> bool: ...
    @property
    def pending_bytes(self) -> int: ...
    @property
    def subscriptions(self) -> int: ...
    @property
    def certificates_expire(self) -> Mapping[str, float]: ...


class BusMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.reconnects = Counter("studyroom_nats_reconnects", "Reconnections to NATS.", registry=registry)
        self.errors = Counter(
            "studyroom_nats_errors", "Errors of the NATS connection by kind.", ["kind"], registry=registry
        )
        self.refusals = Counter(
            "studyroom_nats_refusals",
            "Attempts to use subjects that the service's NATS user may not use.",
            registry=registry,
        )
        self.server_errors = Counter(
            "studyroom_nats_server_errors",
            "Errors that NATS sent, by their text if it is a known one.",
            ["reason"],
            registry=registry,
        )
        for reason in (*_SERVER_ERRORS, _OTHER_ERROR):
            self.server_errors.labels(reason=reason)
        self.unsent = Counter(
            "studyroom_nats_unsent",
            "Messages that the service did not publish because NATS was away.",
            registry=registry,
        )
        self._registry = registry

    def count_server_error(self, text: str) -> None:
        """Count an error that NATS sent. `text`: its text in lower case."""
        self.server_errors.labels(reason=text if text in _SERVER_ERRORS else _OTHER_ERROR).inc()

    def watch(self, bus: BusState) -> None:
        self._registry.register(_BusStateCollector(bus))


class _BusStateCollector:
    def __init__(self, bus: BusState) -> None:
        self._bus = bus

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "studyroom_nats_connected", "1 while connected to NATS.", value=float(self._bus.connected)
        )
        yield GaugeMetricFamily(
            "studyroom_nats_subscriptions", "NATS subscriptions of this process.", value=self._bus.subscriptions
        )
        yield GaugeMetricFamily(
            "studyroom_nats_pending_bytes",
            "Bytes that the NATS client has not yet written to its socket.",
            value=self._bus.pending_bytes,
        )
        expire = GaugeMetricFamily(
            "studyroom_nats_certificate_expires_timestamp_seconds",
            "When the certificate of the client or the server of the NATS connection expires; none without TLS.",
            labels=["side"],
        )
        for side, time in self._bus.certificates_expire.items():
            expire.add_metric([side], time)
        yield expire
