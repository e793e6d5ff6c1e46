"""A page of the list of rooms, put together from the shards of presence; those that nobody answers for are skipped."""

import asyncio
from dataclasses import dataclass, field

from studyroom.gateway.membership.presence_client import PresenceClient, PresenceRefused
from studyroom.shared.contract.presence import RoomsReply, RoomsRequest, RoomSummary
from studyroom.shared.contract.subjects import SHARDS

_SHARD_SHARE, _OTHERS_SHARE = 0.4, 0.3
"""Of the deadline, how long one shard is waited for, and then all that come after it."""


@dataclass
class Listing:
    rooms: list[RoomSummary] = field(default_factory=list)
    next_shard: int | None = None
    """Where the next page goes on; None on the last."""
    missing: list[int] = field(default_factory=list)
    """Shards that should be on this page, and nobody answered for."""
    answered: bool = False
    """By any shard."""


async def list_rooms(
    presence: PresenceClient, *, shard: int, after: str, limit: int, deadline_seconds: float
) -> Listing:
    """`after`: the last room of the page before if that was of this shard, or empty. Takes up to the deadline."""
    page = Listing(next_shard=shard)
    deadline = asyncio.get_running_loop().time() + deadline_seconds
    while page.next_shard is not None and len(page.rooms) < limit:
        asked = page.next_shard
        request = RoomsRequest(shard=asked, after=after, limit=limit - len(page.rooms))
        reply = await _answer(presence, request, deadline, deadline_seconds * _SHARD_SHARE)
        after = ""
        if reply is not None:
            page.answered = True
            page.rooms += reply.rooms
            page.next_shard = reply.next_shard
            continue
        page.next_shard = await _first_that_answers(presence, asked + 1, deadline, deadline_seconds * _OTHERS_SHARE)
        page.missing += range(asked, SHARDS if page.next_shard is None else page.next_shard)
    return page


async def _answer(
    presence: PresenceClient, request: RoomsRequest, deadline: float, patience_seconds: float
) -> RoomsReply | None:
    """None when there is none in time."""
    try:
        async with asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + patience_seconds)):
            return await presence.rooms(request)
    except (PresenceRefused, TimeoutError):
        return None


async def _first_that_answers(
    presence: PresenceClient, first: int, deadline: float, patience_seconds: float
) -> int | None:
    """All are asked at once: of a group that is gone each would take as long as the one before it."""
    shards = range(first, SHARDS)
    answers = await asyncio.gather(
        *(_answer(presence, RoomsRequest(shard=shard, limit=1), deadline, patience_seconds) for shard in shards)
    )
    return next((shard for shard, answer in zip(shards, answers, strict=True) if answer is not None), None)
