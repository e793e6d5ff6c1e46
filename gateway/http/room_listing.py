"""Reads a page of the list of rooms from presence, shard by shard, and skips shards that do not answer."""

import asyncio
from dataclasses import dataclass, field

from studyroom.gateway.membership.presence_client import PresenceClient, PresenceRefused
from studyroom.shared.contract.presence import RoomsReply, RoomsRequest, RoomSummary
from studyroom.shared.contract.subjects import SHARDS

_SHARD_SHARE, _OTHERS_SHARE = 0.4, 0.3
"""Shares of the deadline: the time for one shard, and then for a probe of all shards after it."""


@dataclass
class Listing:
    rooms: list[RoomSummary] = field(default_factory=list)
    next_shard: int | None = None
    """The shard at which the next page starts; None on the last page."""
    missing: list[int] = field(default_factory=list)
    """Shards that belong on this page and did not answer."""
    answered: bool = False
    """At least one shard answered."""


async def list_rooms(
    presence: PresenceClient, *, shard: int, after: str, limit: int, deadline_seconds: float
) -> Listing:
    """Up to `limit` rooms from `shard` on. Takes up to `deadline_seconds`.

    `after`: the last room of the page before if it belongs to this shard, otherwise empty.
    """
    page = Listing(next_shard=shard)
    deadline = asyncio.get_running_loop().time() + deadline_seconds
    while page.next_shard is not None and len(page.rooms) < limit:
        current = page.next_shard
        request = RoomsRequest(shard=current, after=after, limit=limit - len(page.rooms))
        reply = await _answer(presence, request, deadline, deadline_seconds * _SHARD_SHARE)
        after = ""
        if reply is not None:
            page.answered = True
            page.rooms += reply.rooms
            page.next_shard = reply.next_shard
            continue
        page.next_shard = await _first_that_answers(presence, current + 1, deadline, deadline_seconds * _OTHERS_SHARE)
        page.missing += range(current, SHARDS if page.next_shard is None else page.next_shard)
    return page


async def _answer(
    presence: PresenceClient, request: RoomsRequest, deadline: float, timeout_seconds: float
) -> RoomsReply | None:
    """None if the shard refuses or does not answer in time. `deadline`: event loop time."""
    try:
        async with asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + timeout_seconds)):
            return await presence.rooms(request)
    except (PresenceRefused, TimeoutError):
        return None


async def _first_that_answers(
    presence: PresenceClient, first: int, deadline: float, timeout_seconds: float
) -> int | None:
    """Probes all shards at once. Those of a group of replicas that is down would otherwise time out one by one."""
    shards = range(first, SHARDS)
    answers = await asyncio.gather(
        *(_answer(presence, RoomsRequest(shard=shard, limit=1), deadline, timeout_seconds) for shard in shards)
    )
    return next((shard for shard, answer in zip(shards, answers, strict=True) if answer is not None), None)
