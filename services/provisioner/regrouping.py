"""Lets the number of groups of shards change only where no data is left behind.

Streams with other groups have the same subjects, so NATS makes no new ones beside them. The provisioner may not remove
streams. An operator removes them, after moving chat and documents.
"""

from typing import Any

from studyroom.services.provisioner.streams import Claim, NotAllowed, find
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.contract import subjects
from studyroom.shared.contract.groups import groups_made

Found = dict[str, dict[str, Any] | None]
_KEPT = subjects.CHAT_STREAMS | subjects.DOCUMENTS_STREAMS
"""Streams whose content no process can restore."""
_READ_MORE = 'docs/operations.md, "Groups of shards"'


def groups_before(found: Found, groups: int) -> int | None:
    """Return another number of groups that a stream was made for; None if there is none."""
    made = (groups_made(info["config"]) for info in found.values() if info)
    return next((count for count in made if count not in {None, groups}), None)


async def check_others(bus: Bus, found: Found, groups: int, claim: Claim) -> None:
    """Check that there are no streams with another number of groups, and no services that use them.

    `found`: what `find` returns of every stream with this number. Raises NotAllowed or BusError.
    """
    others = await _others(bus, found, groups)
    before = groups_before({**found, **others}, groups)
    if before is None and not others:
        return
    change = f"STUDYROOM_STORAGE_GROUPS is {groups}, and the streams were made with {before or 1}"
    for info in found.values():
        if info and groups_made(info["config"]) == before and claim.yields_to(info["config"].get("metadata") or {}):
            raise NotAllowed(f"{change} by a provisioner that started later")
    changes = others or not all(found.values())
    if changes and (running := _running(found[subjects.GATEWAYS_STREAM])):
        raise NotAllowed(f"{change}. Stop all gateways and presence first: {running} ({_READ_MORE})")
    kept = [
        f"{name} has {info['state']['messages']} messages"
        for name, info in sorted(others.items())
        if name in _KEPT and info["state"]["messages"]
    ]
    if kept:
        raise NotAllowed(f"{change}. Chat or documents would be lost: {', '.join(kept)}. Move it first ({_READ_MORE})")
    if others:
        raise NotAllowed(f"{change}. Nothing would be lost: remove {' '.join(sorted(others))} ({_READ_MORE})")


async def _others(bus: Bus, found: Found, groups: int) -> dict[str, dict[str, Any]]:
    others = {}
    for name in (await bus.api("STREAM.NAMES")).get("streams") or []:
        if name not in _KEPT | subjects.PRESENCE_STREAMS:
            continue
        info = found.get(name) or await find(bus, name)
        if info and (name not in found or groups_made(info["config"]) not in {None, groups}):
            others[name] = info
    return others


def _running(leases: dict[str, Any] | None) -> str:
    """Return a sign of running services for people. Presence watches the leases of gateways."""
    if leases and leases["state"]["messages"]:
        return "gateways have leases"
    if leases and leases["state"].get("consumer_count"):
        return "presence follows the leases"
    return ""
