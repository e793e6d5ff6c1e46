"""Counters that alerts and objectives read are at zero from the start.

A counter that appears with its first event begins at 1. `rate` and `increase` compare two samples, so they miss that
event, and a fault that happens once would never be seen.
"""

import re
from itertools import product
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from studyroom.gateway.http.audit import Audit
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.presence.metrics import PresenceMetrics
from studyroom.services.documents.metrics import DocumentsMetrics
from studyroom.services.probe.metrics import ProbeMetrics
from studyroom.shared.chassis.metrics import BusMetrics

RULES = Path(__file__).parents[2] / "monitoring" / "rules"
EXPRESSIONS = [
    rule["expr"]
    for file in sorted(RULES.glob("*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
SELECTOR = re.compile(r"\b(studyroom_\w+_(?:total|count|bucket))\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)=~?"([^"]*)"')
TRAFFIC = {"type"}
"""These count what users do all the time, and nobody looks for the first of it."""

Series = tuple[str, frozenset[tuple[str, str]]]


def read() -> set[Series]:
    """The series of the services that rules select by the values of labels."""
    found = set[Series]()
    for name, matchers in {selector for text in EXPRESSIONS for selector in SELECTOR.findall(text)}:
        choices = [[(label, value) for value in values.split("|")] for label, values in MATCHER.findall(matchers)]
        labels = {label for choice in choices for label, _ in choice}
        if not labels & TRAFFIC:
            found |= {(name, frozenset(chosen)) for chosen in product(*choices)}
    return found


def _name(series: Series) -> str:
    return f"{series[0]} {dict(sorted(series[1]))}"


@pytest.fixture(scope="module")
def at_the_start() -> set[Series]:
    registry = CollectorRegistry()
    for metrics in (GatewayMetrics, PresenceMetrics, DocumentsMetrics, BusMetrics, ProbeMetrics, Audit):
        metrics(registry)
    samples = [one for metric in registry.collect() for one in metric.samples if one.name.startswith("studyroom_")]
    assert all(sample.value == 0 for sample in samples if sample.name.endswith(("_total", "_count", "_bucket")))
    return {(sample.name, frozenset(sample.labels.items())) for sample in samples}


def test_rules_read_series_by_the_values_of_labels():
    assert ("studyroom_presence_requests_refused_total", frozenset({("outcome", "storage_full")})) in read()
    assert len(read()) > 20


SERIES: list[Series] = sorted(read(), key=_name)


@pytest.mark.parametrize("series", SERIES, ids=_name)
def test_a_counter_is_there_before_its_first_event(at_the_start: set[Series], series: Series):
    assert series in at_the_start
