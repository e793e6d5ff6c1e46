"""The newest warnings and errors in the log of this process, for `studyroom room` and `studyroom user`.

Like the log itself they are the same for the whole process, and have neither chat nor secrets.
"""

import sys
from collections import deque
from collections.abc import MutableMapping
from typing import Any

from studyroom.shared.contract.inspection import PROBLEMS_MAX, LoggedProblem

_KEPT = 100
_LEVELS = frozenset({"warning", "error", "critical"})
_NO_FIELDS = frozenset({"event", "level", "timestamp", "service", "exc_info", "exception", "stack", "stack_info"})
_FIELDS_MAX = 8
_TEXT_MAX_CHARS = 160
_OTHERS = ("room", "user")
"""A problem without these fields is about the process as a whole."""

_recent: deque[LoggedProblem] = deque(maxlen=_KEPT)


def remember(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep a warning or an error, and return it unchanged: a processor of structlog."""
    if event.get("level") in _LEVELS:
        _recent.append(_problem(event))
    return event


def newest_about(subject: str) -> list[LoggedProblem]:
    """Return the newest problems that name a room or a user, or that name neither, newest first."""
    found = [problem for problem in reversed(_recent) if _is_about(problem, subject)]
    return found[:PROBLEMS_MAX]


def _is_about(problem: LoggedProblem, subject: str) -> bool:
    fields = problem.fields
    return any(subject in value for value in fields.values()) or fields.keys().isdisjoint(_OTHERS)


def _problem(event: MutableMapping[str, Any]) -> LoggedProblem:
    fields = {name: _short(value) for name, value in event.items() if name not in _NO_FIELDS and value is not None}
    if (raised := _raised(event.get("exc_info"))) is not None:
        fields["exception"] = raised
    return LoggedProblem.model_construct(
        time=str(event.get("timestamp", "")),
        level=str(event["level"]),
        event=_short(event.get("event", "")),
        fields=dict(list(fields.items())[-_FIELDS_MAX:]),
    )


def _raised(exc_info: Any) -> str | None:
    """Return the name of the exception that was logged; None if there was none."""
    if isinstance(exc_info, BaseException):
        return type(exc_info).__name__
    kind = exc_info[0] if isinstance(exc_info, tuple) else sys.exc_info()[0] if exc_info else None
    return kind.__name__ if kind is not None else None


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _TEXT_MAX_CHARS else f"{text[: _TEXT_MAX_CHARS - 1]}…"
