"""The reference of metrics, from the registries of the services."""

import asyncio
from importlib.metadata import entry_points
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from structlog.testing import capture_logs

from studyroom.services.probe.metrics import ProbeMetrics
from studyroom.shared.chassis.metrics import BusMetrics, ProcessMetrics
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.settings import NatsSettings, ProcessSettings, Settings, load
from studyroom.shared.chassis.spec import Chassis, ServiceSpec
from studyroom.shared.chassis.tasks import Tasks
from website.markdown import code, table

_HEAD = ("metric", "type", "labels", "meaning")
_INTRODUCTION = """# Metrics

Every process serves its metrics at `/metrics` of its admin port, in the text format of Prometheus. A histogram has the
series `_bucket`, `_sum` and `_count`. No label names a room, a user or a connection.
"""
_PREFIX = "studyroom_"
_SUFFIXES = {"counter": "_total", "info": "_info"}


def metrics_page() -> str:
    sections = [_INTRODUCTION]
    of_all: dict[str, tuple[str, ...]] = {}
    own: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, spec in _specs().items():
        found = asyncio.run(_metrics(spec))
        own[name] = {metric: row for metric, row in found.items() if metric.startswith(f"{_PREFIX}{name}_")}
        of_all |= {metric: row for metric, row in found.items() if metric not in own[name]}
    for name, rows in own.items():
        sections += [f"## {name.capitalize()}", table(_HEAD, [rows[metric] for metric in sorted(rows)])]
    sections += ["## Probe", table(_HEAD, _metrics_of_probe())]
    sections += ["## Every process", table(_HEAD, [of_all[metric] for metric in sorted(of_all)])]
    return "\n\n".join(sections) + "\n"


def _metrics_of_probe() -> list[tuple[str, ...]]:
    """A row for each metric of `studyroom probe`, which is a command beside the services."""
    registry = CollectorRegistry()
    ProbeMetrics(registry)
    labels = _labels(registry)
    own = [metric for metric in registry.collect() if metric.name.startswith(f"{_PREFIX}probe_")]
    return [_row(metric, labels.get(metric.name, ())) for metric in sorted(own, key=lambda metric: metric.name)]


def _specs() -> dict[str, ServiceSpec]:
    entries = sorted(entry_points(group="studyroom.services"), key=lambda entry: entry.name)
    return {entry.name: entry.load() for entry in entries}


async def _metrics(spec: ServiceSpec) -> dict[str, tuple[str, ...]]:
    """A row for each metric that a process of this service exports. The service is made, and not started.

    A coroutine, since services may ask for the running event loop.
    """
    registry = CollectorRegistry()
    process = ProcessMetrics(registry, spec.name)
    bus_metrics = BusMetrics(registry)
    settings: dict[type[Settings], Any] = load([ProcessSettings, NatsSettings, *spec.settings])
    bus = Bus(settings[NatsSettings], bus_metrics, name=spec.name, no_echo=spec.bus_without_echo)
    bus_metrics.watch(bus)
    with capture_logs():  # advice about settings, for operators
        spec.load()(Chassis(spec.name, settings[ProcessSettings], bus, Tasks(process), registry), settings)
    labels = _labels(registry)
    return {metric.name: _row(metric, labels.get(metric.name, ())) for metric in registry.collect()}


def _labels(registry: CollectorRegistry) -> dict[str, tuple[str, ...]]:
    """Labels of metrics that have no sample yet: only the metric itself knows them."""
    collectors = registry._collector_to_names  # noqa: SLF001 - nothing public says it
    return {each._name: tuple(each._labelnames) for each in collectors if isinstance(each, MetricWrapperBase)}  # noqa: SLF001


def _row(metric: Metric, known: tuple[str, ...]) -> tuple[str, ...]:
    of_family = tuple(getattr(metric, "_labelnames", ()))  # of families that collectors make, which may have no sample
    of_samples = dict.fromkeys(label for sample in metric.samples for label in sample.labels if label != "le")
    labels = known or of_family or tuple(of_samples)
    name = metric.name + _SUFFIXES.get(metric.type, "")
    return code(name), metric.type, ", ".join(map(code, labels)), metric.documentation
