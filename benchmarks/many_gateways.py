"""Simulates where ten million members connect among a thousand gateways: `python -m benchmarks.many_gateways`.

Sizes of rooms follow Zipf's law. With hints, rooms are where the hash ring of HAProxy puts them. Without, members are
anywhere. Nothing runs, so the output ends with what it cannot show.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.rings import Ring
from studyroom.gateway.lifecycle.settings import LifecycleSettings
from studyroom.shared.contract.room_hints import Spread

MEAN_SIZE = 8
LARGEST = 2000
"""The limit of a room."""
PART_MEMBERS: int = LifecycleSettings.model_fields["room_part_members"].default
"""The most members of a room with one home."""
MOVING_SHARE, MOVES_PER_SECOND = 0.1, 5
"""One of ten members moves a cursor, as in docs/operations.md."""
_SHOWN_SIZES = (2, 8, 100, 2000)
_NOT_SHOWN = """Not simulated, because no machine here can run it:
- the CPU of NATS with a thousand connections and routes between servers
- load balancers with ten million connections, and how soon all of them know a new gateway
- shedding, and the storm of handshakes when a gateway is lost
- members who come and go, which makes rooms smaller than their homes were chosen for"""


def zipf_sizes(members: int, mean: int = MEAN_SIZE, largest: int = LARGEST) -> list[int]:
    """Return sizes of rooms, the largest first: proportional to 1/rank, between 1 and `largest`, of this mean."""
    rooms = members // mean

    def sizes(scale: float) -> list[int]:
        return [max(1, min(largest, round(scale / rank))) for rank in range(1, rooms + 1)]

    low, high = 1.0, float(members)
    while high - low > max(1.0, low * 1e-4):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(sizes(middle)) < members else (low, middle)
    return sizes(high)


@dataclass(frozen=True)
class Part:
    """Members with the same hint. `place`: where it is on the ring."""

    size: int
    place: int


def divided(sizes: Sequence[int], part_members: int, draw: random.Random) -> Iterator[Part]:
    """Yield the parts of all rooms. `part_members`: the most members of a part; 0 to divide none."""
    for size in sizes:
        parts = Spread(part_members).parts(size)
        for number in range(parts):
            yield Part((size + number) // parts, draw.getrandbits(32))


def loads(parts: Sequence[Part], homes: Sequence[int], gateways: int) -> list[int]:
    """Return the connections of each gateway."""
    counts = [0] * gateways
    for part, home in zip(parts, homes, strict=True):
        counts[home] += part.size
    return counts


def largest_over_mean(counts: Sequence[int]) -> float:
    return max(counts) * len(counts) / sum(counts)


def spread(size: int, gateways: int) -> float:
    """Return the expected number of gateways with members of a room, if each member is anywhere."""
    return float(gateways * (1 - (1 - 1 / gateways) ** size))


def simulate(gateways: int, members: int, part_members: int, seed: int) -> Iterator[str]:
    """Yield lines of a report."""
    draw = random.Random(seed)
    sizes = zipf_sizes(members)
    keys = [draw.getrandbits(32) for _ in range(gateways + 1)]
    parts = list(divided(sizes, part_members, draw))
    rings = [Ring(keys[:count]) for count in (gateways - 1, gateways, gateways + 1)]
    homes = [[ring.gateway(part.place) for part in parts] for ring in rings]
    yield f"{gateways:,} gateways, {sum(sizes):,} members, {len(sizes):,} rooms, the largest of {sizes[0]:,}"
    yield f"rooms in more than one part: {sum(size > part_members > 0 for size in sizes):,}"
    yield f"parts: {len(parts):,}"
    yield ""
    yield "| figure | by hint | without hints |"
    yield "| --- | --- | --- |"
    balance = largest_over_mean(loads(parts, homes[1], gateways))
    yield f"| largest over mean connections | {balance:.2f} | 1.00 with the fewest connections |"
    anywhere = sum(spread(size, gateways) for size in sizes)
    yield f"| pairs of room and gateway | {len(parts):,} | {anywhere:,.0f} |"
    yield f"| gateways per room, mean | {len(parts) / len(sizes):.2f} | {anywhere / len(sizes):.2f} |"
    for size in _SHOWN_SIZES:
        own = Spread(part_members).parts(size)
        yield f"| gateways of a room of {size:,} | {own} | {spread(size, gateways):.1f} |"
    crossing = [
        sum(MOVING_SHARE * MOVES_PER_SECOND * size * (on - 1) for size, on in zip(sizes, counts, strict=True))
        for counts in (
            [Spread(part_members).parts(size) for size in sizes],
            [spread(size, gateways) for size in sizes],
        )
    ]
    yield f"| cursors that NATS delivers, each second | {crossing[0]:,.0f} | {crossing[1]:,.0f} |"
    for what, (before, after) in zip(("one is removed", "one is added"), pairwise(homes), strict=True):
        moved = sum(part.size for part, old, new in zip(parts, before, after, strict=True) if old != new)
        without = 1 / gateways if what == "one is removed" else 0.0
        yield f"| members that move when {what} | {moved / sum(sizes):.3%} | {without:.3%} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_gateways", description=__doc__)
    parser.add_argument("--gateways", type=int, default=1000)
    parser.add_argument("--members", type=int, default=10_000_000)
    parser.add_argument(
        "--part-members", type=int, default=PART_MEMBERS, help="the most members with one home; 0 for no limit"
    )
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for line in simulate(arguments.gateways, arguments.members, arguments.part_members, arguments.seed):
        print(line, flush=True)
    print(f"\n{_NOT_SHOWN}")


if __name__ == "__main__":
    main()
