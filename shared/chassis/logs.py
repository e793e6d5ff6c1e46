"""Structured logs through structlog: readable on a terminal, one JSON object per line elsewhere.

Logs of libraries that use the standard library's logging have the same form.
"""

import asyncio
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import structlog
import structlog.tracebacks
from pydantic_core import to_json

from studyroom.shared.chassis import recent_problems
from studyroom.shared.chassis.settings import ProcessSettings
from studyroom.shared.chassis.tracing.spans import current_span

Logger = structlog.stdlib.BoundLogger


def _trace_ids() -> dict[str, str]:
    """Return the ids of the trace and the span that the present task works on."""
    span = current_span()
    return {"trace_id": span.trace_id, "span_id": span.span_id} if span is not None else {}


def _add_trace_ids(_logger: object, _method: str, event: Any) -> Any:
    event.update(_trace_ids())
    return event


_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    _add_trace_ids,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    recent_problems.remember,
]

_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
"""Tracebacks without the values of variables, which may have secrets or chat in them."""


def configure(settings: ProcessSettings, service: str) -> None:
    readable = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    finish: list[Any] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if readable
        else [_TRACEBACKS, structlog.processors.JSONRenderer()]
    )
    handler = _Handler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    FrequentLogger.handler = None if readable else handler
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for chatty in ("uvicorn", "uvicorn.error", "nats"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def get(name: str) -> Logger:
    logger: Logger = structlog.get_logger(name)
    return logger


class _Handler(logging.StreamHandler[Any]):
    """Writes lines in their order, those of `FrequentLogger` too."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._waiting: list[str] = []

    def write_soon(self, line: str) -> None:
        """Write a line in the next iteration of the event loop, together with others. Without a loop, write it now."""
        self.acquire()
        self._waiting.append(line)
        is_first = len(self._waiting) == 1
        self.release()
        if is_first:
            try:
                asyncio.get_running_loop().call_soon(self.write_waiting)
            except RuntimeError:
                self.write_waiting()

    def write_waiting(self) -> None:
        self.acquire()
        try:
            lines, self._waiting = self._waiting, []
            if lines:
                self.stream.write("".join(lines))
                super().flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            return
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        self.write_waiting()
        super().emit(record)

    def flush(self) -> None:
        """Also called when the process exits."""
        self.write_waiting()
        super().flush()


class FrequentLogger:
    """Logs events of every connection, as lines of the same form and in a fifth of the time (docs/decisions/0058)."""

    handler: _Handler | None = None
    """The handler of JSON lines; None for readable ones."""

    def __init__(self, name: str) -> None:
        self._level = logging.getLogger(name)
        self._readable = get(name)

    def info(self, event: str, **fields: str | float | None) -> None:
        """Log an event. A line that cannot be written is lost, as with all logs.

        Lines of one iteration of the event loop are written together after it. A process that is killed loses them.
        """
        if not self._level.isEnabledFor(logging.INFO):
            return
        handler = self.handler
        if handler is None:
            self._readable.info(event, **fields)
            return
        line = {
            **fields,
            "event": event,
            **structlog.contextvars.get_contextvars(),
            **_trace_ids(),
            "level": "info",
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        }
        handler.write_soon(f"{to_json(line).decode()}\n")
