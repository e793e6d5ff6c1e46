"""Metrics of the probe.

They are not those of every process. A namespace with these is an installation, and a probe may run anywhere
(docs/decisions/0057-a-probe-at-the-public-door.md).
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from studyroom import __version__
from studyroom.services.probe.probe import Pass, Step

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SUCCESS, _FAILURE = "success", "failure"


class ProbeMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        ProcessCollector(registry=registry)
        Info("studyroom_probe_build", "The version of the probe.", registry=registry).info({"version": __version__})
        self._passes = Counter(
            "studyroom_probe_passes", "Passes of the probe, by result.", ["result"], registry=registry
        )
        self._failures = Counter(
            "studyroom_probe_failures", "Passes that failed, by the step that failed.", ["step"], registry=registry
        )
        self._seconds = Histogram(
            "studyroom_probe_step_duration_seconds",
            "Time of each step that succeeded. `receive` counts from the same moment as `store`.",
            ["step"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._success = Gauge("studyroom_probe_success", "1 if the last pass succeeded, else 0.", registry=registry)
        self._last_success = Gauge(
            "studyroom_probe_last_success_timestamp_seconds",
            "When a pass succeeded last; 0 before the first.",
            registry=registry,
        )
        self._certificate = Gauge(
            "studyroom_probe_certificate_expires_timestamp_seconds",
            "When the certificate of the public address expires; none without TLS.",
            ["side"],
            registry=registry,
        )
        for result in (_SUCCESS, _FAILURE):
            self._passes.labels(result=result)
        for step in Step:
            self._failures.labels(step=step.value)
            self._seconds.labels(step=step.value)

    def count(self, done: Pass) -> None:
        for step, seconds in done.seconds.items():
            self._seconds.labels(step=step.value).observe(seconds)
        self._passes.labels(result=_SUCCESS if done.succeeded else _FAILURE).inc()
        self._success.set(float(done.succeeded))
        if done.failed is None:
            self._last_success.set_to_current_time()
        else:
            self._failures.labels(step=done.failed.value).inc()

    def certificate_expires(self, at: float) -> None:
        """`at`: Unix seconds."""
        self._certificate.labels(side="server").set(at)
