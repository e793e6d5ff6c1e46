"""How long to wait before an event is sent again. Pure."""

from collections.abc import Callable

_FIRST_SECONDS = 0.5


def pause_seconds(failures: int, most: float, asked: float, uniform: Callable[[float, float], float]) -> float:
    """Return the pause after so many failures of an event in a row.

    It doubles up to `most`, with full jitter. `asked`: the pause that the backend asked for, which it gets at least.
    `uniform`: returns a random number between two others.
    """
    longest = min(most, _FIRST_SECONDS * 2.0 ** min(failures - 1, 30))
    return asked + uniform(0.0, longest)
