"""How the store is divided among the streams, so that chat cannot take the room of what must not stop. Pure."""

from collections.abc import Callable
from typing import Any

from studyroom.shared.contract import subjects

GIB = 1024**3
MIB = 1024**2
ASSUMED_BYTES = 4 * GIB
"""Where neither the account nor a server tells how much there is; less when NATS refuses that."""
SMALLEST_BYTES = MIB
_RAISE_SHARE = 1.1
"""A server without a limit of its own has one that changes with the free space of its disk, at every start."""
_HEADROOM_SHARE = 1.25

# docs/operations.md ("Storage") has the bytes of a message, a member, a lease and a ban. The rest is for more streams.
_SHARES: dict[str, Callable[[int], int]] = {
    subjects.CHAT_STREAM: lambda total: total * 3 // 4,
    subjects.PRESENCE_STREAM: lambda total: min(total // 8, 2 * GIB),
    subjects.MODERATION_STREAM: lambda total: min(total // 32, 256 * MIB),
    subjects.GATEWAYS_STREAM: lambda total: min(total // 64, 64 * MIB),
}

Sizes = dict[str, int]
"""`max_bytes` by stream."""


def divide(total_bytes: int, *, stream_max_bytes: int = -1) -> Sizes:
    """`total_bytes`: what one copy of all streams together may take. `stream_max_bytes`: of one stream; -1 for any."""
    most = stream_max_bytes if stream_max_bytes > 0 else total_bytes
    return {stream: min(share(total_bytes), most) for stream, share in _SHARES.items()}


def fitted(share: int, *, has: int, state_bytes: int, told: bool) -> int:
    """The share of a stream that exists: never below what it has, since that could cost what is stored in it.

    `has`: its `max_bytes` now. `told`: whether the share comes from what NATS tells, or else from what we assume.
    """
    if has > 0:
        return share if told and share > has * _RAISE_SHARE else has
    return max(share, int(state_bytes * _HEADROOM_SHARE))


def account_bytes(account: dict[str, Any], *, kind: str, replicas: int) -> tuple[int | None, int]:
    """What the account may store in one copy of its streams, None for any; and in one of its streams, -1 for any.

    `account`: the answer to `$JS.API.INFO`. A limit without tiers counts every copy, that of a tier one of them.
    """
    tier = (account.get("tiers") or {}).get(f"R{replicas}")
    limits = (tier or account).get("limits") or {}
    field, most = (
        ("max_memory", "memory_max_stream_bytes") if kind == "memory" else ("max_storage", "storage_max_stream_bytes")
    )
    limit = int(limits.get(field, -1))
    total = None if limit < 0 else limit if tier else limit // replicas
    return total, int(limits.get(most, -1))
