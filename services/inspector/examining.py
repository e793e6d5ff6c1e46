"""Examines a room or a user on a connected bus: looks until it is certain, and asks the leader to confirm."""

import asyncio
from dataclasses import replace

from studyroom.services.inspector.asking import Asker
from studyroom.services.inspector.differences import Difference, differences_of_room, differences_of_user
from studyroom.services.inspector.looking import RoomLook, UserLook, look_at_room, look_at_user
from studyroom.services.inspector.verdict import Verdict, look_until_certain
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.contract import subjects
from studyroom.shared.contract.groups import all_groups
from studyroom.shared.contract.ids import RoomId, UserId

_CONFIRMED_MAX = 64
"""How many members are compared with the leader of the stream one by one."""
_OF_MEMBERS = frozenset({"member", "newer member"})


async def examine_room(bus: Bus, groups: int, room: RoomId) -> Verdict[RoomLook]:
    """Return the verdict about a room, in a system with so many groups of shards. Raises SubscriptionRefused."""
    look, found, looks = await look_until_certain(
        lambda: look_at_room(bus, groups, room), differences_of_room, lambda look: look.is_known
    )
    return await _confirmed(bus, groups, Verdict(look, found, looks, look.witnesses.failures))


async def examine_user(bus: Bus, groups: int, user: UserId) -> Verdict[UserLook]:
    """Return the verdict about a user. Raises SubscriptionRefused."""
    look, found, looks = await look_until_certain(
        lambda: look_at_user(bus, groups, user), differences_of_user, lambda look: look.is_known
    )
    return Verdict(look, found, looks, look.witnesses.failures)


async def _confirmed(bus: Bus, groups: int, verdict: Verdict[RoomLook]) -> Verdict[RoomLook]:
    """Drop differences from a copy of the stream that lags, which may have answered the inspector."""
    room, asker = verdict.look.room, Asker(bus)
    group = all_groups(groups)[subjects.shard_of(room) % groups]
    suspected = [one for one in verdict.differences if one.kind in _OF_MEMBERS][:_CONFIRMED_MAX]

    async def is_right(difference: Difference) -> bool:
        """Return whether the leader has what the party has, and not what the inspector has read."""
        user = UserId(difference.about)
        key = subjects.presence_key(room, user)
        at_leader = await asker.or_failure("a member", asker.newest_sequence(group.presence_stream, key))
        known = verdict.look.members.get(user)
        return at_leader is not None and at_leader == difference.has and at_leader != (known.revision if known else 0)

    right = await asyncio.gather(*(is_right(one) for one in suspected))
    dropped = {one for one, is_dropped in zip(suspected, right, strict=True) if is_dropped}
    if not dropped:
        return verdict
    return replace(
        verdict,
        differences=[one for one in verdict.differences if one not in dropped],
        failures={**verdict.failures, f"stream {group.presence_stream}": "the copy that answered lags the leader"},
    )
