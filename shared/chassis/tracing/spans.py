"""Spans of sampled work, and the span that the present task works on.

Only gateways begin traces, and one header of NATS carries them on (W3C Trace Context). Work that is not sampled has no
span, and its messages have no header. Without traces there is no `Tracer`. Then each function here looks at a variable
and does nothing, and the SDK of OpenTelemetry is not imported.

The names and attributes of spans have neither users nor contents, because they leave the system.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from enum import Enum
from typing import TYPE_CHECKING

from studyroom import __version__
from studyroom.shared.contract.headers import TRACEPARENT

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OpenTelemetrySpan

Attributes = Mapping[str, str | int | float | bool]
_NONE: Attributes = {}


class Kind(Enum):
    """The role of a span in its trace. The names are those of OpenTelemetry."""

    INTERNAL = "a part of the work of a process"
    SERVER = "the answer to a client or to another process"
    CLIENT = "a question to another process"
    PRODUCER = "a published message"
    CONSUMER = "a received message"


class Span:
    """One span. Call `end` once, or use `active`."""

    __slots__ = ("_span", "_tracer", "span_id", "trace_id")

    def __init__(self, span: "OpenTelemetrySpan", tracer: "Tracer") -> None:
        self._span, self._tracer = span, tracer
        context = span.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self.span_id = f"{context.span_id:016x}"

    @property
    def traceparent(self) -> str:
        """The header by which another process makes spans below this one."""
        return f"00-{self.trace_id}-{self.span_id}-01"

    @property
    def is_open(self) -> bool:
        return self._span.is_recording()

    def child(self, name: str, kind: Kind = Kind.INTERNAL, attributes: Attributes = _NONE) -> "Span | None":
        return self._tracer.start(name, kind, attributes, self._span)

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def end(self, error: str = "") -> None:
        """End it, as failed if there is an `error`, which must not have contents of messages."""
        if error:
            self._tracer.fail(self._span, error)
        self._span.end()


_CURRENT: ContextVar[Span | None] = ContextVar("span", default=None)
_NOTHING: AbstractContextManager[None] = nullcontext()


class Tracer:
    """Begins the spans of one process."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.provider = provider
        self._api = trace
        self._context = Context
        self._extract = TraceContextTextMapPropagator().extract
        self._tracer = provider.get_tracer("studyroom", __version__)

    def begin(self, name: str, kind: Kind, attributes: Attributes = _NONE) -> Span | None:
        """Begin a trace; None if this one is not sampled."""
        return self.start(name, kind, attributes, None)

    def follow(self, headers: Mapping[str, str], name: str, kind: Kind, attributes: Attributes = _NONE) -> Span | None:
        """Begin a span below that of the sender of a message; None without a valid header."""
        context = self._extract({TRACEPARENT: headers.get(TRACEPARENT, "")}, self._context())
        sender = self._api.get_current_span(context)
        found = sender.get_span_context()
        return self.start(name, kind, attributes, sender) if found.is_valid and found.trace_flags.sampled else None

    def start(self, name: str, kind: Kind, attributes: Attributes, parent: "OpenTelemetrySpan | None") -> Span | None:
        """Begin a span below `parent`, or a trace if that is None."""
        context = self._context()
        if parent is not None:
            context = self._api.set_span_in_context(parent, context)
        span = self._tracer.start_span(name, context, self._api.SpanKind[kind.name], dict(attributes))
        return Span(span, self) if span.is_recording() else None

    def fail(self, span: "OpenTelemetrySpan", error: str) -> None:
        span.set_status(self._api.StatusCode.ERROR, error)


def current_span() -> Span | None:
    """Return the span of the present task.

    Tasks and timers inherit it, and may go on after its end. Then they have none.
    """
    span = _CURRENT.get()
    return span if span is not None and span.is_open else None


@contextmanager
def active(span: Span) -> Iterator[Span]:
    """Make it the current span of the block, and end it then. The type of an exception that leaves the block is its
    error."""
    before, error = _CURRENT.set(span), ""
    try:
        yield span
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        _CURRENT.reset(before)
        span.end(error)


@contextmanager
def continued(span: Span) -> Iterator[None]:
    """Make it the current span of the block, which does not end it."""
    before = _CURRENT.set(span)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def begun(tracer: Tracer | None, name: str, attributes: Attributes = _NONE) -> AbstractContextManager[Span | None]:
    """Work for a client, which begins a trace if it is sampled."""
    span = tracer.begin(name, Kind.SERVER, attributes) if tracer is not None else None
    return active(span) if span is not None else _NOTHING


def serving(tracer: Tracer | None, headers: Mapping[str, str] | None, name: str) -> AbstractContextManager[Span | None]:
    """Work for another process, in its trace if its message has one."""
    if tracer is None or headers is None or TRACEPARENT not in headers:
        return _NOTHING
    span = tracer.follow(headers, name, Kind.SERVER)
    return active(span) if span is not None else _NOTHING


def within(name: str, kind: Kind = Kind.INTERNAL) -> AbstractContextManager[Span | None]:
    """A part of the work of the current span; nothing without one."""
    parent = current_span()
    span = parent.child(name, kind) if parent is not None else None
    return active(span) if span is not None else _NOTHING


def outgoing() -> dict[str, str] | None:
    """Return the headers that a message of the present task carries; None without a span."""
    span = current_span()
    return {TRACEPARENT: span.traceparent} if span is not None else None


class Deliveries:
    """The spans of messages that wait for a flush, each from its receipt to the write to clients."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._waiting: list[Span] = []

    def received(self, headers: Mapping[str, str], name: str, attributes: Attributes, *, waits: bool) -> None:
        """A message with a trace has come. `waits`: whether the next flush delivers it."""
        span = self._tracer.follow(headers, name, Kind.CONSUMER, attributes)
        if span is not None and waits:
            self._waiting.append(span)
        elif span is not None:
            span.end()

    def ended_by(self, flush: Callable[[], None]) -> Callable[[], None]:
        """Return a function that flushes, and then ends the spans."""

        def flush_and_end() -> None:
            flush()
            if self._waiting:
                ended, self._waiting = self._waiting, []
                for span in ended:
                    span.end()

        return flush_and_end
