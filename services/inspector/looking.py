"""One look at a room or a user: the state of it at everybody, at about the same moment."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError

from studyroom.services.inspector.asking import Asker, Connected, Expected
from studyroom.shared.chassis.nats.batches import Read, read_all
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.nats.incarnations import Incarnations
from studyroom.shared.contract import subjects
from studyroom.shared.contract.groups import Group, all_groups
from studyroom.shared.contract.ids import GatewayId, MembershipId, RoomId, UserId
from studyroom.shared.contract.inspection import (
    GatewayRoom,
    GatewayUser,
    PresenceRoom,
    PresenceUser,
    Question,
    connections_digest,
    members_digest,
    parts_for,
)
from studyroom.shared.contract.inspection_subjects import (
    ban_of_user,
    bans_of_room,
    bans_of_user,
    presence_keys_of_room,
    presence_keys_of_user,
)
from studyroom.shared.contract.moderation import Command, target_of
from studyroom.shared.contract.presence import Entry
from studyroom.shared.contract.retention import Retention

_PARTS_AT_ONCE = 8

OfRoom = TypeVar("OfRoom", GatewayRoom, PresenceRoom)


@dataclass(frozen=True, slots=True)
class Committed:
    """A member as the stream has it."""

    entry: Entry
    revision: int


@dataclass(slots=True)
class Witnesses:
    """The processes that should have answered, and the parts that could not be had."""

    expected: Expected
    failures: dict[str, str]

    def silent(self, expected: Iterable[Connected], answered: Iterable[str]) -> list[Connected]:
        """Return those of the expected processes that have not answered. `answered`: `Process.nats` of the others."""
        known = set(answered)
        return [one for one in expected if one.nats not in known]


@dataclass(slots=True)
class RoomLook:
    room: RoomId
    witnesses: Witnesses
    members: dict[UserId, Committed]
    """Those that the stream has; empty if it could not be read, which is a failure then."""
    removed: dict[UserId, int]
    """The revision at which each former member was removed, as long as the stream has a trace of it."""
    epoch: str
    """The epoch of the presence stream; empty if it is unknown."""
    chat: int | None
    """The sequence of the newest stored entry of the chat, 0 if there is none; None if it is unknown."""
    bans: dict[UserId, Command]
    retention: Retention | None
    """How long the room keeps messages and versions; None if it has no retention of its own, or it is unknown."""
    gateways: list[GatewayRoom]
    replicas: list[PresenceRoom]

    @property
    def digest(self) -> int:
        return members_digest((user, member.revision) for user, member in self.members.items())

    @property
    def revision(self) -> int:
        """The newest change of the room that the stream has."""
        kept = max((member.revision for member in self.members.values()), default=0)
        return max(kept, max(self.removed.values(), default=0))

    @property
    def is_known(self) -> bool:
        """Whether the stream could be read, with which everybody is compared."""
        return "members in the stream" not in self.witnesses.failures

    def memberships_at(self, gateway: GatewayId) -> dict[MembershipId, UserId]:
        """Return the memberships that the stream has at a gateway."""
        return {
            membership: user
            for user, member in self.members.items()
            for membership in member.entry.connections_of(gateway)
        }

    @property
    def gateways_of_members(self) -> set[GatewayId]:
        return {gateway for member in self.members.values() for gateway in member.entry.connections.values()}


async def look_at_room(bus: Bus, groups: int, room: RoomId) -> RoomLook:
    """Ask everybody about a room. Raises SubscriptionRefused. Other errors are in `failures`."""
    group = all_groups(groups)[subjects.shard_of(room) % groups]
    asker, chat_stream = Asker(bus), subjects.chat_stream(group.number, groups)
    reads, epoch, chat, bans, retention, expected = await asyncio.gather(
        asker.or_failure("members in the stream", read_all(bus, group.presence_stream, presence_keys_of_room(room))),
        asker.or_failure("the epoch of the stream", _epoch(bus, group)),
        asker.or_failure("the newest message", asker.newest_sequence(chat_stream, subjects.chat(room))),
        asker.or_failure("bans", asker.bans(bans_of_room(room))),
        asker.or_failure("the retention", asker.retention(room)),
        asker.expected(),
    )
    question = Question(room=room)
    gateways, replicas = await asyncio.gather(
        asker.gateways(GatewayRoom, question, expected), asker.replicas(PresenceRoom, question, expected)
    )
    members, removed = members_of(reads or [])
    look = RoomLook(
        room=room,
        witnesses=Witnesses(expected, asker.failures),
        members=members,
        removed=removed,
        epoch=epoch or "",
        chat=chat,
        bans={target_of(key).user: command for key, command in bans or []},
        retention=retention,
        gateways=sorted(gateways, key=lambda one: one.gateway),
        replicas=sorted(replicas, key=lambda one: one.process.place),
    )
    if look.is_known and _needs_members(look):
        await _add_members(asker, look)
    return look


async def _epoch(bus: Bus, group: Group) -> str:
    stream = group.presence_stream
    found = await Incarnations(bus, stream, record=group.presence_incarnation, records=stream).find(0)
    return found.identity.epoch


def members_of(reads: Iterable[Read]) -> tuple[dict[UserId, Committed], dict[UserId, int]]:
    """Return the members in a room's messages of the presence stream, and the revision of each known removal."""
    members, removed = dict[UserId, Committed](), dict[UserId, int]()
    for read in reads:
        _, user = subjects.parse_presence_key(read.subject)
        entry = _entry(read.data)
        if entry is None:
            removed[user] = read.sequence
        else:
            members[user] = Committed(entry, read.sequence)
    return members, removed


def _entry(data: bytes) -> Entry | None:
    """Return None for the marker of a removed member, and for a malformed entry, as presence does."""
    try:
        return Entry.decode(data) if data else None
    except ValidationError:
        return None


def _needs_members(look: RoomLook) -> bool:
    """Return whether anybody has other members or connections than the stream, so that they must be compared."""
    if any(one.ready and one.serves and one.digest != look.digest for one in look.replicas):
        return True
    return any(
        (one.hosted and one.digest != look.digest)
        or one.connections_digest != connections_digest(look.memberships_at(one.gateway))
        for one in look.gateways
    )


async def _add_members(asker: Asker, look: RoomLook) -> None:
    """Ask again for the members themselves, in parts."""
    counts = [len(look.members), *(one.members for one in look.replicas)]
    counts += [max(one.members, one.connections) for one in look.gateways]
    parts = parts_for(max(counts))
    answered = {one.process.nats for one in look.gateways} | {one.process.nats for one in look.replicas}
    known = look.witnesses.expected
    expected = Expected(
        gateways=[one for one in known.gateways if one.nats in answered],
        replicas=[one for one in known.replicas if one.nats in answered],
        leases=dict.fromkeys(one.gateway for one in look.gateways),
    )
    slots = asyncio.Semaphore(_PARTS_AT_ONCE)

    async def ask(part: int) -> tuple[list[GatewayRoom], list[PresenceRoom]]:
        question = Question(room=look.room, parts=parts, part=part)
        async with slots:
            return await asyncio.gather(
                asker.gateways(GatewayRoom, question, expected), asker.replicas(PresenceRoom, question, expected)
            )

    answers = await asyncio.gather(*(ask(part) for part in range(parts)))
    gateways = [one for found, _ in answers for one in found]
    replicas = [one for _, found in answers for one in found]
    look.gateways = [_gateway_with_parts(one, gateways, parts) for one in look.gateways]
    look.replicas = [_replica_with_parts(one, replicas, parts) for one in look.replicas]


def _gateway_with_parts(summary: GatewayRoom, answers: list[GatewayRoom], parts: int) -> GatewayRoom:
    own = _of_process(summary, answers, parts)
    return summary.model_copy(
        update={
            "revisions": _revisions(own) if own else None,
            "memberships": {key: user for one in own for key, user in (one.memberships or {}).items()} if own else None,
            "joining": [membership for one in own for membership in one.joining],
        }
    )


def _replica_with_parts(summary: PresenceRoom, answers: list[PresenceRoom], parts: int) -> PresenceRoom:
    own = _of_process(summary, answers, parts)
    return summary.model_copy(update={"revisions": _revisions(own) if own else None})


def _of_process(summary: OfRoom, answers: list[OfRoom], parts: int) -> list[OfRoom]:
    """Return the parts that a process has sent, or none of them if one is missing."""
    own = [answer for answer in answers if answer.process.nats == summary.process.nats]
    return own if len(own) >= parts else []


def _revisions(own: list[OfRoom]) -> dict[UserId, int]:
    return {user: revision for answer in own for user, revision in (answer.revisions or {}).items()}


# --- users -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class UserLook:
    user: UserId
    witnesses: Witnesses
    rooms: dict[RoomId, Committed]
    removed: dict[RoomId, int]
    bans: dict[RoomId | None, Command]
    """None for the whole service."""
    gateways: list[GatewayUser] = field(default_factory=list)
    replicas: list[PresenceUser] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        return "memberships in the stream" not in self.witnesses.failures


async def look_at_user(bus: Bus, groups: int, user: UserId) -> UserLook:
    """Ask everybody about a user. Raises SubscriptionRefused. Other errors are in `failures`."""
    asker = Asker(bus)
    streams = subjects.presence_streams(groups)
    reads, bans, expected = await asyncio.gather(
        asker.or_failure("memberships in the stream", _rooms(bus, streams, user)),
        asker.or_failure("bans", asker.bans(ban_of_user(user), bans_of_user(user))),
        asker.expected(),
    )
    question = Question(user=user)
    gateways, replicas = await asyncio.gather(
        asker.gateways(GatewayUser, question, expected), asker.replicas(PresenceUser, question, expected)
    )
    rooms, removed = dict[RoomId, Committed](), dict[RoomId, int]()
    for read in reads or []:
        room, _ = subjects.parse_presence_key(read.subject)
        entry = _entry(read.data)
        if entry is None:
            removed[room] = read.sequence
        else:
            rooms[room] = Committed(entry, read.sequence)
    return UserLook(
        user=user,
        witnesses=Witnesses(expected, asker.failures),
        rooms=rooms,
        removed=removed,
        bans={target_of(key).room: command for key, command in bans or []},
        gateways=sorted(gateways, key=lambda one: one.gateway),
        replicas=sorted(replicas, key=lambda one: one.process.place),
    )


async def _rooms(bus: Bus, streams: Iterable[str], user: UserId) -> list[Read]:
    found = await asyncio.gather(*(read_all(bus, stream, presence_keys_of_user(user)) for stream in streams))
    return [read for reads in found for read in reads]
