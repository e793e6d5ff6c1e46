"""Finds where a look shows that somebody has something else than the stream. Pure.

Changes are always in flight, so one look proves nothing. A difference counts when later looks show that the same
process has still not reached what the stream had at the first look (`lasting`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from studyroom.services.inspector.looking import RoomLook, UserLook, Witnesses
from studyroom.shared.contract.ids import GatewayId, MembershipId, RoomId, UserId
from studyroom.shared.contract.incarnation import is_same_time
from studyroom.shared.contract.inspection import (
    CONNECTIONS_MAX,
    GatewayRoom,
    GatewayUser,
    PresenceRoom,
    PresenceUser,
    connections_digest,
)
from studyroom.shared.contract.presence import LEASE_SECONDS
from studyroom.shared.contract.subjects import shard_of

_NO_POSITION = -1

Key = TypeVar("Key", UserId, RoomId)


class Party(NamedTuple):
    id: str
    """The same in every look."""
    name: str
    """For people."""


@dataclass(frozen=True, slots=True)
class Difference:
    kind: str
    party: Party
    """The process that differs."""
    about: str
    """The member, membership, room or address that it is about; empty if it is about the party as a whole."""
    text: str
    """How the party differs, for people: the rest of a sentence that begins with the party."""
    need: int = 0
    """The sequence that the party must reach; 0 if any look with the same difference confirms it."""
    at: int = 0
    """The sequence that the party has reached."""
    has: int = 0
    """The revision that the party has of a member; 0 if it has none, or if this is about something else."""
    lacks: int = 0
    """The revision of the member or room that the party does not have at all. A member who leaves and comes back has
    another one. So a member who comes and goes in every look is not taken for one who is missing."""

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.kind, self.party.id, self.about, self.lacks

    def __str__(self) -> str:
        return f"{self.party.name} {self.text}"


def lasting(before: Iterable[Difference], now: Iterable[Difference]) -> list[Difference]:
    """Return the differences of an earlier look that are still there."""
    present = {one.key: one for one in now}
    return [
        replace(found, need=earlier.need)
        for earlier in before
        if (found := present.get(earlier.key)) is not None and (not earlier.need or found.at < earlier.need)
    ]


# --- rooms -------------------------------------------------------------------------------------------------


def differences_of_room(look: RoomLook) -> list[Difference]:
    """Return all differences, in the order in which you should look at them."""
    present = look.gateways_of_members
    found = [
        *_silent_gateways(look.witnesses, look.gateways, {one: len(look.memberships_at(one)) for one in present}),
        *_silent_replicas(look.witnesses, look.replicas),
    ]
    if not look.is_known:
        return found
    serving = [one for one in look.replicas if one.serves]
    if not serving:
        text = f"has no replica that answers for shard {shard_of(look.room)}"
        found.append(Difference("unserved", Party("presence", "presence"), "", text))
    for replica in serving:
        found += _of_replica(look, replica)
    for gateway in look.gateways:
        found += _of_gateway(look, gateway)
    return [*found, *_chat_epochs(look)]


def _of_replica(look: RoomLook, replica: PresenceRoom) -> Iterator[Difference]:
    party = _replica(replica)
    if not replica.ready:
        yield Difference("not ready", party, "", "has no complete mirror, and answers no requests about the room")
        return
    if look.epoch and replica.epoch and not is_same_time(look.epoch, replica.epoch):
        yield _other_epoch(party, replica.epoch, look.epoch)
        return
    yield from _behind(party, look.revision, replica.applied)
    if replica.digest != look.digest:
        yield from _members(look, party, replica.revisions)


def _of_gateway(look: RoomLook, gateway: GatewayRoom) -> Iterator[Difference]:
    party = _gateway(gateway)
    yield from _connections(look, gateway, party)
    if not gateway.hosted or not gateway.connections:
        return  # a join may be in progress, which begins with an empty room
    if not gateway.epoch:
        yield Difference("no roster", party, "", "has members of the room and no roster")
        return
    if look.epoch and not is_same_time(look.epoch, gateway.epoch):
        yield _other_epoch(party, gateway.epoch, look.epoch)
        return
    yield from _behind(party, look.revision, gateway.revision)
    if gateway.digest != look.digest:
        yield from _members(look, party, gateway.revisions)
    if look.chat is not None and gateway.chat is not None:
        at = gateway.chat.position if gateway.chat.position is not None else _NO_POSITION
        if at == _NO_POSITION or at < look.chat:
            has = f"up to {at}" if at != _NO_POSITION else "from no position that is known"
            text = f"delivers the chat {has}, and the newest stored entry is {look.chat}"
            yield Difference("chat", party, "", text, look.chat, at)


def _behind(party: Party, newest: int, applied: int) -> Iterator[Difference]:
    if applied < newest:
        text = f"has changes of members up to {applied}, and the newest one of the room is {newest}"
        yield Difference("revision", party, "", text, newest, applied)


def _other_epoch(party: Party, epoch: str, of_stream: str) -> Difference:
    return Difference("epoch", party, "", f"has members of the epoch {epoch}, and the stream is of {of_stream}")


def _members(look: RoomLook, party: Party, revisions: Mapping[UserId, int] | None) -> Iterator[Difference]:
    if revisions is None:
        yield Difference("members", party, "", "has other members than the stream, and did not send them when asked")
        return
    committed = {user: member.revision for user, member in look.members.items()}
    yield from _revisions("member", party, committed, look.removed, revisions)


def _revisions(
    kind: str, party: Party, committed: Mapping[Key, int], removed: Mapping[Key, int], has: Mapping[Key, int]
) -> Iterator[Difference]:
    """Compare revisions by user or by room. `kind`: of the keys."""
    for key in sorted(set(committed).union(has)):
        wanted, actual = committed.get(key), has.get(key)
        if wanted == actual:
            continue
        if wanted is None and actual is not None:
            if (gone := removed.get(key, 0)) > actual:
                text = f"still has {kind} {key} (revision {actual}), removed from the stream at {gone}"
                yield Difference(kind, party, key, text, gone, actual, actual)
            else:
                text = f"has {kind} {key} (revision {actual}), of which the stream has no record"
                yield Difference(kind, party, key, text, actual + 1, actual, actual)
        elif wanted is not None and actual is None:
            text = f"lacks {kind} {key}, which the stream has (revision {wanted})"
            yield Difference(kind, party, key, text, wanted, lacks=wanted)
        elif wanted is not None and actual is not None and actual < wanted:
            text = f"has {kind} {key} at revision {actual}, and the stream at {wanted}"
            yield Difference(kind, party, key, text, wanted, actual, actual)
        elif wanted is not None and actual is not None:
            text = f"has {kind} {key} at revision {actual}, and the stream only {wanted}"
            yield Difference(f"newer {kind}", party, key, text, actual, wanted, actual)


def _connections(look: RoomLook, gateway: GatewayRoom, party: Party) -> Iterator[Difference]:
    committed = look.memberships_at(gateway.gateway)
    if gateway.connections_digest == connections_digest(committed):
        return
    if gateway.memberships is None and gateway.hosted:
        return  # it did not answer when it was asked for them
    here, joining = gateway.memberships or {}, set(gateway.joining)
    yield from _missing(party, {one: user for one, user in committed.items() if one not in joining}, here)
    for membership, user in here.items():
        if membership not in committed:
            text = f"has connection {membership} of {user}, which the stream does not name"
            yield Difference("connection", party, membership, text)


def _missing(
    party: Party, committed: Mapping[MembershipId, str], here: Collection[MembershipId]
) -> Iterator[Difference]:
    for membership, about in committed.items():
        if membership not in here:
            text = f"does not have connection {membership} of {about}, which the stream names"
            yield Difference("connection", party, membership, text)


def _chat_epochs(look: RoomLook) -> Iterator[Difference]:
    """Find gateways that name positions in the chat differently from most."""
    named = [(one, one.chat.epoch) for one in look.gateways if one.connections and one.epoch and one.chat is not None]
    epochs = sorted(epoch for _, epoch in named)
    if not epochs:
        return
    most = max(epochs, key=epochs.count)
    for gateway, epoch in named:
        if epoch != most:
            text = f"names positions in the chat by epoch {epoch}, and others by {most}"
            yield Difference("chat epoch", _gateway(gateway), "", text)


# --- users -------------------------------------------------------------------------------------------------


def differences_of_user(look: UserLook) -> list[Difference]:
    """Return all differences, in the order in which you should look at them."""
    present: dict[GatewayId, int] = {}
    for member in look.rooms.values():
        for gateway in member.entry.connections.values():
            present[gateway] = present.get(gateway, 0) + 1
    found = [
        *_silent_gateways(look.witnesses, look.gateways, present),
        *_silent_replicas(look.witnesses, look.replicas),
    ]
    if look.is_known:
        found += [one for replica in look.replicas for one in _rooms_of_replica(look, replica)]
        found += [one for gateway in look.gateways for one in _connections_of_user(look, gateway)]
    if "bans" not in look.witnesses.failures:
        found += [one for gateway in look.gateways for one in _bans(look, gateway)]
    return found


def _rooms_of_replica(look: UserLook, replica: PresenceUser) -> Iterator[Difference]:
    if replica.rooms_count > len(replica.rooms):
        return  # the answer had no space for all of them
    shards = set(replica.shards)
    committed = {room: member.revision for room, member in look.rooms.items() if shard_of(room) in shards}
    has = {room: revision for room, revision in replica.rooms.items() if shard_of(room) in shards}
    yield from _revisions("room", _replica(replica), committed, look.removed, has)


def _connections_of_user(look: UserLook, gateway: GatewayUser) -> Iterator[Difference]:
    party = _gateway(gateway)
    committed = {
        membership: room
        for room, member in look.rooms.items()
        for membership in member.entry.connections_of(gateway.gateway)
    }
    here = {one.membership: one for one in gateway.connections if one.membership is not None}
    joining = {one.joining for one in gateway.connections}
    if gateway.connections_count <= CONNECTIONS_MAX:
        settled = {one: f"room {room}" for one, room in committed.items() if room not in joining}
        yield from _missing(party, settled, here)
    for membership, connection in here.items():
        if membership not in committed:
            text = f"has connection {membership} in room {connection.room}, which the stream does not name"
            yield Difference("connection", party, membership, text)


def _bans(look: UserLook, gateway: GatewayUser) -> Iterator[Difference]:
    party, known = _gateway(gateway), set(gateway.bans)
    for room in {*look.bans, *known}:
        where = f"room {room}" if room is not None else "the service"
        if room not in known:
            yield Difference("ban", party, where, f"does not know the ban from {where}")
        elif room not in look.bans:
            yield Difference("ban", party, where, f"has a ban from {where}, which the bucket does not have")


# --- who did not answer ------------------------------------------------------------------------------------


def _silent_gateways(
    witnesses: Witnesses, answers: list[GatewayRoom] | list[GatewayUser], present: Mapping[GatewayId, int]
) -> Iterator[Difference]:
    """`present`: how many connections the stream names at each gateway."""
    leases = witnesses.expected.leases
    silent = sorted({*leases, *present} - {answer.gateway for answer in answers})
    connected = witnesses.silent(witnesses.expected.gateways, (answer.process.nats for answer in answers))
    if len(silent) == len(connected) == 1:
        # After its lease only the connection of a frozen gateway shows that it is there, so that identifies it.
        (gateway,), (one,) = silent, connected
        party = Party(one.address, f"gateway {gateway} at {one.address}")
        yield Difference("silent", party, "", _silence(witnesses, gateway, present))
        return
    for one in connected:
        party = Party(one.address, f"the gateway at {one.address}")
        yield Difference("silent", party, "", "is connected to NATS and did not answer")
    for gateway in silent:
        yield Difference("silent", Party(gateway, f"gateway {gateway}"), "", _silence(witnesses, gateway, present))


def _silence(witnesses: Witnesses, gateway: GatewayId, present: Mapping[GatewayId, int]) -> str:
    leases, count = witnesses.expected.leases, present.get(gateway, 0)
    held = f"{count} connection{'' if count == 1 else 's'} here"
    if gateway not in leases and "leases" not in witnesses.failures:
        return f"has no lease and did not answer: it is dead or cut off, and presence will drop its {held}"
    return f"{_renewed(leases.get(gateway))} and did not answer ({held})"


def _renewed(age: float | None) -> str:
    if age is None:
        return "has a lease"
    late = ", which is late" if age > LEASE_SECONDS / 2 else ""
    return f"has renewed its lease {age:.1f} s ago{late},"


def _silent_replicas(witnesses: Witnesses, answers: list[PresenceRoom] | list[PresenceUser]) -> Iterator[Difference]:
    answered = (answer.process.nats for answer in answers)
    for one in witnesses.silent(witnesses.expected.replicas, answered):
        party = Party(one.nats, f"the presence replica at {one.address}")
        yield Difference("silent", party, "", "is connected to NATS and did not answer")


def _gateway(gateway: GatewayRoom | GatewayUser) -> Party:
    return Party(gateway.gateway, f"gateway {gateway.gateway} ({gateway.process.place})")


def _replica(replica: PresenceRoom | PresenceUser) -> Party:
    return Party(f"{replica.process.nats} {replica.process.place}", f"presence {replica.process.place}")
