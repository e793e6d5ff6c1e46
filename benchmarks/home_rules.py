"""Simulates what the rules for homes of rooms lead to (docs/decisions/0035): `python -m benchmarks.home_rules`.

It uses the rule of the gateway for the parts of large rooms, and places parts at random, as a good hash does.
"""

import random
from collections.abc import Iterable, Sequence
from statistics import mean, median

from studyroom.shared.contract.room_hints import Spread

_RUNS = 40
_GATEWAYS = 8
_LIMITS = (0, 500, 250, 100, 64)
_ZIPF = ((2000, 2000), (500, 2000), (1000, 500))
"""The number of rooms, and the members of the largest."""
_STAYING = (0.1, 0.25, 0.5, 1.0)
"""Shares of clients that change rooms over the connection that they have."""
_STUDY_ROOM = 8


def zipf(rooms: int, largest: int) -> list[int]:
    return [max(1, round(largest / rank)) for rank in range(1, rooms + 1)]


def largest_over_mean(sizes: Iterable[int], spread: Spread, source: random.Random) -> float:
    """Place the members of all rooms by their hints, and return how uneven the gateways are."""
    loads = [0] * _GATEWAYS
    for size in sizes:
        homes = [source.randrange(_GATEWAYS) for _ in range(spread.parts(size))]
        for _ in range(size):
            loads[source.choice(homes)] += 1
    return max(loads) / mean(loads)


def gateways_per_room(gateways: int, staying: float, source: random.Random) -> float:
    """Return on how many gateways a study room is, if a share of its members has come over an open connection."""

    def place() -> int:
        return source.randrange(gateways) if source.random() < staying else 0

    return mean(len({place() for _ in range(_STUDY_ROOM)}) for _ in range(10_000))


def evenness() -> None:
    print(f"largest over mean connections of {_GATEWAYS} gateways, median and 95th percentile of {_RUNS} runs")
    print("rooms  largest  members  " + "".join(f"{f'<= {limit}' if limit else 'no parts':>14}" for limit in _LIMITS))
    for rooms, largest in _ZIPF:
        sizes = zipf(rooms, largest)
        found = [_evenness_of(sizes, Spread(limit)) for limit in _LIMITS]
        cells = "".join(f"{f'{middle:.2f} {high:.2f}':>14}" for middle, high in found)
        print(f"{rooms:5}  {largest:7}  {sum(sizes):7}  {cells}")


def _evenness_of(sizes: Sequence[int], spread: Spread) -> tuple[float, float]:
    source = random.Random(1)
    values = sorted(largest_over_mean(sizes, spread, source) for _ in range(_RUNS))
    return median(values), values[int(0.95 * _RUNS)]


def strays() -> None:
    print(f"\ngateways per room of {_STUDY_ROOM}, by the share of members that joined over an open connection")
    print("gateways  " + "".join(f"{share:>8.0%}" for share in _STAYING))
    source = random.Random(1)
    for gateways in (2, 8, 32):
        cells = "".join(f"{gateways_per_room(gateways, share, source):>8.2f}" for share in _STAYING)
        print(f"{gateways:8}  {cells}")


if __name__ == "__main__":
    evenness()
    strays()
