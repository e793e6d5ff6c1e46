"""Sends spans to a collector, from a thread of its own."""

import asyncio

from studyroom import __version__
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.threads import in_daemon_thread
from studyroom.shared.chassis.tracing.settings import TracesSettings
from studyroom.shared.chassis.tracing.spans import Tracer

_FLUSH_SECONDS = 2.0
"""How long a process waits at its end for a collector."""

log = logs.get(__name__)


def start_tracer(settings: TracesSettings, service: str) -> Tracer | None:
    """Return the tracer of this process; None if there are no traces. It starts a thread, so fork before.

    A collector that is away costs nothing but the spans: they wait in a queue of 2,048, and then the newest replace the
    oldest (`OTEL_BSP_MAX_QUEUE_SIZE`).
    """
    if settings.endpoint is None:
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    given = OTELResourceDetector().detect().attributes  # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
    resource = Resource.create({"service.name": f"studyroom-{service}", "service.version": __version__, **given})
    sampler = ParentBased(TraceIdRatioBased(settings.sample_ratio))
    provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
    secret = settings.authorization
    headers = {"authorization": secret.get_secret_value()} if secret is not None else None
    exporter = OTLPSpanExporter(f"{settings.endpoint}/v1/traces", headers=headers)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracer(provider)


async def stop_tracer(tracer: Tracer | None) -> None:
    """Send the spans that wait, for at most two seconds."""
    if tracer is None:
        return
    try:
        async with asyncio.timeout(_FLUSH_SECONDS):
            await in_daemon_thread("last spans", tracer.provider.shutdown)
    except TimeoutError:
        log.warning("the collector of traces did not take the last spans in time")
