"""Faults in the code of services, as their logs show them: exceptions that nothing has handled."""

from collections.abc import Iterator
from pathlib import Path

_FAULTS = (b'"exc_type"', b"Traceback (most recent call last)", b"was never retrieved")
_SHOWN_CHARS = 2000
_watched: set[Path] = set()
_read_to: dict[Path, int] = {}
"""How far each log has been read."""


def watch(log: Path) -> None:
    """`log`: of a process that is about to start, or the directory of the logs of several."""
    _watched.add(log)


def new_faults() -> list[str]:
    """The lines that were logged since the last call and show a fault."""
    return [
        f"{log.name}: {line.decode(errors='replace')[:_SHOWN_CHARS]}"
        for log in _logs()
        for line in _new_lines(log)
        if any(fault in line for fault in _FAULTS)
    ]


def _logs() -> Iterator[Path]:
    for path in _watched:
        if path.is_dir():
            yield from path.glob("*.log")
        elif path.exists():
            yield path


def _new_lines(log: Path) -> list[bytes]:
    """The complete lines that were not read before."""
    start = _read_to.get(log, 0)
    if log.stat().st_size <= start:
        return []
    with log.open("rb") as file:
        file.seek(start)
        text = file.read()
    end = text.rfind(b"\n") + 1
    _read_to[log] = start + end
    return text[:end].splitlines()
