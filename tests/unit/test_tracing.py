"""Spans: which work has some, and which message and log line carries their ids."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from studyroom.shared.chassis.settings import BadSettings, load
from studyroom.shared.chassis.tracing import settings as settings_of_traces
from studyroom.shared.chassis.tracing.settings import TracesSettings
from studyroom.shared.chassis.tracing.spans import (
    Deliveries,
    Kind,
    Tracer,
    active,
    begun,
    current_span,
    outgoing,
    serving,
    within,
)
from studyroom.shared.contract.headers import TRACEPARENT
from tests.support.settings import without_settings

SENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""The example of W3C Trace Context."""


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    yield exporter
    exporter.shutdown()


def tracer_with(ratio: float, exporter: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider(ParentBased(TraceIdRatioBased(ratio)), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracer(provider)


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> Tracer:
    return tracer_with(1, exporter)


def names(exporter: InMemorySpanExporter) -> list[str]:
    return [span.name for span in exporter.get_finished_spans()]


def test_without_traces_nothing_has_a_span_and_the_libraries_for_it_are_not_imported():
    with begun(None, "join") as span, within("a part") as part, serving(None, {TRACEPARENT: SENT}, "work") as served:
        assert (span, part, served, current_span(), outgoing()) == (None,) * 5
    program = (
        "import sys, studyroom.gateway.service, studyroom.presence.service, studyroom.shared.chassis.process;"
        "found = [name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))];"
        "print(found)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=without_settings())
    assert run.stdout == b"[]\n"


def test_work_that_is_not_sampled_has_no_span_and_no_header(exporter: InMemorySpanExporter):
    with begun(tracer_with(0, exporter), "join") as span:
        assert (span, outgoing()) == (None, None)
    assert names(exporter) == []


def test_work_of_others_is_traced_if_they_have_sampled_it(exporter: InMemorySpanExporter):
    tracer = tracer_with(0, exporter)
    with serving(tracer, {TRACEPARENT: SENT}, "work") as span:
        assert span is not None
        assert outgoing() == {TRACEPARENT: f"00-0af7651916cd43dd8448eb211c80319c-{span.span_id}-01"}
    (done,) = exporter.get_finished_spans()
    assert done.parent is not None
    assert f"{done.parent.span_id:016x}" == "b7ad6b7169203331"


@pytest.mark.parametrize(
    "header",
    ["", "nonsense", SENT[:-1], SENT[:-2] + "00", SENT.upper(), f"ff{SENT[2:]}", f"00-{'0' * 32}-{'1' * 16}-01", "ä"],
)
def test_a_header_that_is_wrong_or_not_sampled_begins_nothing(
    tracer: Tracer, exporter: InMemorySpanExporter, header: str
):
    with serving(tracer, {TRACEPARENT: header}, "work") as span:
        assert span is None
    assert names(exporter) == []


def test_a_part_is_below_the_work_that_it_belongs_to(tracer: Tracer, exporter: InMemorySpanExporter):
    with begun(tracer, "join") as join, within("read chat", Kind.CLIENT) as part:
        assert join is not None
        assert part is not None
        assert part.trace_id == join.trace_id
        assert current_span() is part
    read, joined = exporter.get_finished_spans()
    assert (read.name, joined.name, joined.parent) == ("read chat", "join", None)
    assert read.parent is not None
    assert read.parent.span_id == joined.context.span_id
    assert current_span() is None


def test_work_that_fails_is_marked_with_the_type_of_its_error_alone(tracer: Tracer, exporter: InMemorySpanExporter):
    with pytest.raises(ValueError, match="hunter2"), begun(tracer, "join"):
        raise ValueError("the password is hunter2")
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok
    assert span.status.description == "ValueError"
    assert "hunter2" not in span.to_json()


async def test_a_task_that_goes_on_after_the_work_has_no_span_any_more(tracer: Tracer):
    may_look = asyncio.Event()

    async def look() -> tuple[object, object]:
        during = current_span()
        await may_look.wait()
        return during, current_span()

    with begun(tracer, "join") as span:
        task = asyncio.create_task(look())
        await asyncio.sleep(0)
    may_look.set()
    assert await task == (span, None)


def test_a_delivery_lasts_until_the_flush(tracer: Tracer, exporter: InMemorySpanExporter):
    done: list[list[str]] = []
    deliveries = Deliveries(tracer)
    flush = deliveries.ended_by(lambda: done.append(names(exporter)))
    deliveries.received({TRACEPARENT: SENT}, "deliver chat", {"number": 1}, waits=True)
    deliveries.received({TRACEPARENT: SENT}, "repeated chat", {}, waits=False)
    deliveries.received({TRACEPARENT: "nonsense"}, "untraced chat", {}, waits=True)
    flush()
    flush()
    assert done == [["repeated chat"], ["repeated chat", "deliver chat"]]


def test_a_span_that_has_ended_is_not_current(tracer: Tracer):
    span = tracer.begin("join", Kind.SERVER)
    assert span is not None
    with active(span):
        span.end()
        assert current_span() is None


# --- settings ----------------------------------------------------------------------------------------------


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for variable in TracesSettings.variables().values():
        monkeypatch.delenv(variable, raising=False)
    return monkeypatch


def problem_of(environment: pytest.MonkeyPatch, **variables: str) -> dict[str, str]:
    for name, value in variables.items():
        environment.setenv(f"STUDYROOM_TRACES_{name}", value)
    with pytest.raises(BadSettings) as caught:
        load([TracesSettings])
    return {variable.removeprefix("STUDYROOM_TRACES_"): text for variable, text in caught.value.problems.items()}


@pytest.mark.parametrize("endpoint", ["http://otel:4318", "https://otel.example/tenant/", "http://[::1]:4318"])
def test_an_endpoint_is_the_address_of_a_collector(no_settings: pytest.MonkeyPatch, endpoint: str):
    no_settings.setenv("STUDYROOM_TRACES_ENDPOINT", endpoint)
    settings = load([TracesSettings])[TracesSettings]
    assert isinstance(settings, TracesSettings)
    assert settings.endpoint == endpoint.rstrip("/")


@pytest.mark.parametrize(
    "endpoint",
    ["otel:4318", "grpc://otel:4317", "http://", "http://u:p@otel", "http://otel?a", "http://otel/v1/traces"],
)
def test_any_other_endpoint_is_refused(no_settings: pytest.MonkeyPatch, endpoint: str):
    assert list(problem_of(no_settings, ENDPOINT=endpoint)) == ["ENDPOINT"]


def test_an_endpoint_needs_the_packages_of_the_extra(no_settings: pytest.MonkeyPatch):
    no_settings.setattr(settings_of_traces, "_PACKAGES", ("studyroom.not_installed.at_all",))
    assert "pip install 'studyroom[tracing]'" in problem_of(no_settings, ENDPOINT="http://otel:4318")["ENDPOINT"]


def test_a_secret_for_no_collector_is_refused(no_settings: pytest.MonkeyPatch):
    assert list(problem_of(no_settings, AUTHORIZATION="Bearer hunter2")) == ["AUTHORIZATION"]


@pytest.mark.parametrize("secret", ["Bearer hunter2 ", "Bearer\thunter2", "Bearer hünter2"])
def test_a_secret_that_does_not_fit_into_a_header_is_refused_and_not_shown(
    no_settings: pytest.MonkeyPatch, secret: str
):
    problems = problem_of(no_settings, ENDPOINT="http://otel:4318", AUTHORIZATION=secret)
    assert list(problems) == ["AUTHORIZATION"]
    assert "nter2" not in str(problems)
