"""The promises of a step, and the table that shows how they were kept. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.kube.history import Outcome


@dataclass(frozen=True)
class Promise:
    """The most that a step may cost. None: it is shown, and has no bound."""

    outside_seconds: float
    """Without a connection in the room."""
    chat_seconds: float
    """From writing a message until everybody in the room saw it."""
    lost: int = 0
    doubled: int = 0
    left: int | None = 0
    resets: int | None = 0


@dataclass
class Result:
    step: str
    promise: Promise
    outcome: Outcome = field(default_factory=Outcome)
    note: str = ""
    failure: str = ""
    """The part that the cluster did not do."""
    skipped: str = ""
    """The reason why the step was not carried out."""

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept."""
        if self.skipped:
            return []
        promise, outcome = self.promise, self.outcome
        counts = (
            ("lost", len(outcome.lost), promise.lost),
            ("doubled", len(outcome.doubled), promise.doubled),
            ("reported as left", len(outcome.left), promise.left),
            ("resets", outcome.resets, promise.resets),
        )
        times = (
            ("without a connection", outcome.seconds_outside, promise.outside_seconds),
            ("without chat", outcome.seconds_without_chat, promise.chat_seconds),
        )
        return [
            *([self.failure] if self.failure else []),
            *(f"{count} {what}, {most} allowed" for what, count, most in counts if most is not None and count > most),
            *(f"{took:.1f} s {what}, {most:g} allowed" for what, took, most in times if took > most),
            *outcome.wrong,
        ]


HEADS = ("step", "messages", "lost", "doubled", "left", "no connection", "no chat", "result")


def table(results: Iterable[Result]) -> str:
    """Times are the longest ones in seconds, each with its bound."""
    rows = [HEADS, *map(_row, results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _row(result: Result) -> tuple[str, ...]:
    if result.skipped:
        return (result.step, *["-"] * (len(HEADS) - 2), f"not run: {result.skipped}")
    outcome, promise = result.outcome, result.promise
    return (
        result.step,
        str(outcome.messages),
        str(len(outcome.lost)),
        str(len(outcome.doubled)),
        str(len(outcome.left)),
        f"{outcome.seconds_outside:.1f} of {promise.outside_seconds:g}",
        f"{outcome.seconds_without_chat:.1f} of {promise.chat_seconds:g}",
        ", ".join(filter(None, ["BROKEN" if result.broken else "kept", result.note])),
    )
