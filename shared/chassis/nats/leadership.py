"""Whether an answer about a stream comes from its leader. Pure."""

from collections.abc import Mapping
from typing import Any

_IN_TOUCH_NS = 3_000_000_000
"""Servers answer the leader of their stream every second or two, and elect another 4 s after its last sign at the
earliest."""


def has_leader(cluster: Mapping[str, Any] | None) -> bool:
    """Whether the stream has a leader that no other can have replaced. `cluster`: of the answer to `STREAM.INFO`.

    A leader that is cut off counts itself as the leader for up to 20 s. Meanwhile the other servers elect another.
    """
    if cluster is None:
        return True  # a server alone
    replicas = cluster.get("replicas") or []
    in_touch = 1 + sum(map(_is_in_touch, replicas))
    return bool(cluster.get("leader")) and in_touch > (1 + len(replicas)) // 2


def _is_in_touch(replica: Mapping[str, Any]) -> bool:
    """`active` is the time since its last answer, and 0 also for a server that has not answered this leader yet."""
    active: int = replica.get("active", 0)
    return active <= _IN_TOUCH_NS if active else bool(replica.get("current"))
