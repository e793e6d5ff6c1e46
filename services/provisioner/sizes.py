"""Divides the store among the streams, so that chat cannot fill it and stop the other streams. Pure."""

from typing import Any

from studyroom.shared.contract import audit_subjects, hook_subjects, retention_subjects, subjects

GIB = 1024**3
MIB = 1024**2
ASSUMED_BYTES = 4 * GIB
"""The size to begin with if neither the account nor a server reports one. The reconciler tries less if NATS refuses."""
SMALLEST_BYTES = MIB
_RAISE_SHARE = 1.1
"""Streams grow only if the new share is larger by this factor. A server without a configured limit computes one from
the free space of its disk at every start."""
_HEADROOM_SHARE = 1.25


def _shares(total: int, groups: int) -> dict[str, int]:
    """docs/operations.md ("Storage") has the bytes of a message, a member, a lease and a ban. The rest is for other
    streams. Groups of shards get equal parts."""
    chat, members, documents = total * 11 // 16, min(total // 8, 2 * GIB * groups), total // 16
    return {
        **dict.fromkeys(subjects.chat_streams(groups), chat // groups),
        **dict.fromkeys(subjects.documents_streams(groups), documents // groups),
        **dict.fromkeys(subjects.presence_streams(groups), members // groups),
        subjects.MODERATION_STREAM: min(total // 32, 256 * MIB),
        subjects.GATEWAYS_STREAM: min(total // 64, 64 * MIB),
        audit_subjects.AUDIT_STREAM: min(total // 128, 64 * MIB),
        retention_subjects.RETENTION_STREAM: min(total // 512, 64 * MIB),
    }


Sizes = dict[str, int]
"""`max_bytes` of each stream."""


def divide(total_bytes: int, *, groups: int = 1, stream_max_bytes: int = -1, with_hooks: bool = False) -> Sizes:
    """Divide the store.

    `total_bytes`: the size of one copy of all streams together. `groups`: the number of groups of shards.
    `stream_max_bytes`: the largest size of one stream, -1 for no limit.
    """
    most = stream_max_bytes if stream_max_bytes > 0 else total_bytes
    shares = _shares(total_bytes, groups) | (_shares_of_hooks(total_bytes, groups) if with_hooks else {})
    return {stream: min(share, most) for stream, share in shares.items()}


def _shares_of_hooks(total: int, groups: int) -> dict[str, int]:
    """An event takes about 500 bytes, a change of a member about 700. Beyond their sizes, both drop the oldest."""
    *logs, bucket = hook_subjects.streams_of_hooks(groups)
    return {**dict.fromkeys(logs, min(total // 64, GIB) // groups), bucket: min(total // 64, 64 * MIB)}


def fitted(share: int, *, has: int, state_bytes: int, known: bool) -> int:
    """Return the new size of an existing stream, which is never smaller than before, so that it keeps its data.

    `has`: its `max_bytes` now, not positive for no limit. `state_bytes`: the bytes that it stores.
    `known`: whether the share comes from a reported or configured size, not from an assumption.
    """
    if has > 0:
        return share if known and share > has * _RAISE_SHARE else has
    return max(share, int(state_bytes * _HEADROOM_SHARE))


def account_bytes(account: dict[str, Any], *, kind: str, replicas: int) -> tuple[int | None, int]:
    """Return the account's limit on one copy of all its streams, None for none, and on one stream, -1 for none.

    `account`: the answer to `$JS.API.INFO`. The limit of a tier is for one copy. Without tiers it is for all copies.
    """
    tier = (account.get("tiers") or {}).get(f"R{replicas}")
    limits = (tier or account).get("limits") or {}
    field, most = (
        ("max_memory", "memory_max_stream_bytes") if kind == "memory" else ("max_storage", "storage_max_stream_bytes")
    )
    limit = int(limits.get(field, -1))
    total = None if limit < 0 else limit if tier else limit // replicas
    return total, int(limits.get(most, -1))
