"""The fields of a member who was away from the roster and came back with others."""

from typing import Any

import pytest

from studyroom.gateway.rooms.history import Resumption
from studyroom.gateway.rooms.room import Room
from studyroom.shared.contract.presence import Member as Listed
from studyroom.shared.contract.presence import Outcome, RosterReply
from tests.unit.test_room_epochs import FIRST, Chat, Member, messages, new_room


@pytest.fixture
async def room() -> Room:
    room = new_room(Chat())
    room._repairs.connection_is_missing = lambda *_: None  # type: ignore[method-assign]
    return room


def load(room: Room, revision: int, members: dict[Member, dict[str, Any]]) -> None:
    """Presence answers with the fields of each member."""
    listed = [
        Listed(user=member.user, profile=member.profile, revision=revision, fields=fields)
        for member, fields in members.items()
    ]
    room.load(RosterReply(outcome=Outcome.OK, epoch=FIRST, revision=revision, members=listed))
    room.fanout.flush()


def last(member: Member) -> list[tuple[str, Any]]:
    """The type and the fields of each message, but for `JoinedRoom`."""
    return [
        (message["type"], message["payload"].get("fields", message["payload"].get("user", {}).get("presence")))
        for message in messages(member)
        if message["type"] not in {"JoinedRoom", "ChatReset"}
    ]


async def test_a_member_that_comes_back_into_the_roster_with_other_fields_learns_of_them(room: Room):
    ann, bob = Member(), Member()
    load(room, 1, {ann: {"hand": 1, "seat": 2}, bob: {}})
    for member in (ann, bob):
        room.admit(member, Resumption())
    load(room, 2, {bob: {}})
    load(room, 3, {ann: {"hand": 3}, bob: {}})
    load(room, 4, {ann: {"hand": 4}, bob: {}})
    assert last(ann) == [("PresenceChanged", {"hand": 3, "seat": None}), ("PresenceChanged", {"hand": 4})]
    assert last(bob) == [("UserLeft", None), ("UserJoined", {"hand": 3}), ("PresenceChanged", {"hand": 4})]


async def test_a_member_that_comes_back_with_its_own_fields_learns_nothing(room: Room):
    ann = Member()
    load(room, 1, {ann: {"hand": 1}})
    room.admit(ann, Resumption())
    load(room, 2, {})
    load(room, 3, {ann: {"hand": 1}})
    assert last(ann) == []
