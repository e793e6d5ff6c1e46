"""The counters of the data path: plain numbers, which a collector reads for each scrape.

They count once for each flush and frame, never for each member.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from prometheus_client.utils import floatToGoString

from studyroom.gateway.wire.items import MESSAGE_TYPES, Item, Kind

LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""In seconds."""
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_GATEWAYS_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
_LATENT_KINDS = (Kind.CHAT, Kind.CURSOR, Kind.TYPING, Kind.BROADCAST, Kind.EDITED, Kind.REACTION)
"""Kinds with an author."""
_CURSOR = int(Kind.CURSOR)


class PlainHistogram:
    """A histogram for hot paths, without locks and label lookups. A collector exports it."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Create it. `bounds`: ascending, inclusive upper bounds of the buckets, without infinity."""
        self._bounds = list(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def read(self, divisor: float = 1.0) -> tuple[list[tuple[str, float]], float]:
        """Return cumulative buckets and the sum for `HistogramMetricFamily.add_metric`, with values divided."""
        buckets, total = [], 0
        for bound, count in zip([*self._bounds, float("inf")], self._counts, strict=True):
            total += count
            buckets.append((str(floatToGoString(bound / divisor)), float(total)))  # type: ignore[no-untyped-call] # as in prometheus_client
        return buckets, self._sum / divisor


def _per_kind() -> list[int]:
    return [0] * len(MESSAGE_TYPES)


class Traffic:
    __slots__ = (
        "conflated",
        "crossed_deliveries",
        "cursor_shortcuts",
        "flush_sizes",
        "latencies_us",
        "messages_received",
        "received",
        "received_bytes",
        "replies_sent",
        "room_gateways",
        "room_messages_sent",
        "sent_bytes",
    )

    def __init__(self) -> None:
        self.messages_received = Counter[str]()
        self.cursor_shortcuts = 0
        """Cursors that the gateway recognised without parsing. They are not in `messages_received`."""
        self.room_messages_sent = _per_kind()
        """Messages to members, by kind."""
        self.replies_sent = Counter[str]()
        """Messages to one connection, by message type."""
        self.crossed_deliveries = 0
        """Cursors of members on other gateways, times the members here. Repetitions do not count."""
        self.conflated = _per_kind()
        """Messages that newer ones replaced, by kind."""
        self.received = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.room_gateways = PlainHistogram(_GATEWAYS_BUCKETS)
        self.flush_sizes = PlainHistogram(_BATCH_BUCKETS)
        self.latencies_us = {
            kind: PlainHistogram([bucket * 1_000_000 for bucket in LATENCY_BUCKETS]) for kind in _LATENT_KINDS
        }

    def count_sent(self, items: Iterable[Item], times: int) -> None:
        for _, kind, _ in items:
            self.room_messages_sent[kind] += times

    def count_cursors(self, cursors: Collection[tuple[bytes, int]], members: int, not_sent: int) -> None:
        """Count a flush that has only cursors. `cursors`: each with its time of receipt, Unix microseconds or 0."""
        count = len(cursors)
        self.flush_sizes.observe(count)
        self.room_messages_sent[_CURSOR] += count * members - not_sent
        latencies = self.latencies_us[_CURSOR]  # type: ignore[index] # kinds are numbers
        now_us = time.time_ns() // 1000
        for cursor in cursors:
            ingress_us = cursor[1]
            if ingress_us:
                latencies.observe(max(0, now_us - ingress_us))

    def count_flush(self, items: list[Item], members: int, not_sent: Iterable[int]) -> None:
        """Count a flush. `not_sent`: for each item that a member did not get, the index of the item."""
        sent, latencies = self.room_messages_sent, self.latencies_us
        now_us = time.time_ns() // 1000
        self.flush_sizes.observe(len(items))
        for _, kind, ingress_us in items:
            sent[kind] += members
            if ingress_us:
                latencies[kind].observe(max(0, now_us - ingress_us))
        for index in not_sent:
            sent[items[index].kind] -= 1
