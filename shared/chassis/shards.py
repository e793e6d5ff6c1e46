"""The shards that a replica serves, as a setting."""

from studyroom.shared.contract.subjects import SHARDS

ALL_SHARDS = f"0-{SHARDS - 1}"


def parse_shards(text: str) -> frozenset[int]:
    """Parse shards and ranges of shards, separated by commas, such as `0-7,40`. Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not (first.isascii() and first.isdigit() and (not last or (last.isascii() and last.isdigit()))):
            raise ValueError(f"{part.strip()!r} is neither a shard nor a range of shards such as 0-31")
        shards = range(int(first), int(last or first) + 1)
        if not shards or shards[-1] >= SHARDS:
            raise ValueError(f"{part.strip()!r} is not within 0-{SHARDS - 1}, or not in ascending order")
        if not found.isdisjoint(shards):
            raise ValueError(f"{part.strip()!r} repeats shards")
        found.update(shards)
    return frozenset(found)
