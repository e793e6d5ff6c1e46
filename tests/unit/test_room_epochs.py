"""When a room takes over a new epoch: the same epoch and sequence never mean two messages."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.flush_scheduler import FlushScheduler
from studyroom.gateway.rooms.history import History, Resumption, Stored
from studyroom.gateway.rooms.room import Room
from studyroom.shared.chassis.busyness import busy_seconds
from studyroom.shared.contract.ids import ConnectionId, GatewayId, MembershipId, RoomId, UserId
from studyroom.shared.contract.presence import Outcome, Profile, RosterReply

FIRST, SECOND = "2026-11-23T10:00:00Z", "2026-11-24T10:00:00Z"
POSITION = 5


@dataclass
class Chat:
    """The gateway's knowledge of the chat stream."""

    history_kept: int = 10
    sure: bool = True
    stream: str = "chat"

    def newest(self, history: History) -> list[Stored]:
        return history.newest(10)

    def epoch(self, presence_epoch: str) -> str:
        return f"{presence_epoch} {self.stream}"


@dataclass(eq=False)
class Member:
    user: UserId = field(default_factory=lambda: UserId(str(uuid4())))
    id: ConnectionId = field(default_factory=lambda: ConnectionId(str(uuid4())))
    membership_id: MembershipId = field(default_factory=lambda: MembershipId(str(uuid4())))
    profile: Profile = field(default_factory=lambda: Profile(username="", avatar_url=None))
    lagging: bool = False
    written: list[bytes] = field(default_factory=list)

    @property
    def socket(self) -> "Member":
        return self

    def write(self, frames: bytes) -> None:
        self.written.append(frames)

    def deliver(self, frames: bytes) -> None:
        self.written.append(frames)


class Repairs:
    def chat_is_missing(self, room: Room) -> None: ...
    def edits_may_be_late(self, room: Room, edits: list[Stored]) -> None: ...


@pytest.fixture
def chat() -> Chat:
    return Chat()


def new_room(chat: Chat) -> Room:
    return Room(
        RoomId(str(uuid4())),
        GatewayId(str(uuid4())),
        lambda *_: None,
        FlushScheduler(0, busy_seconds),
        GatewayMetrics(CollectorRegistry()),
        chat,
        Repairs(),  # type: ignore[arg-type] # the others are not called
    )


@pytest.fixture
async def room(chat: Chat) -> Room:
    room = new_room(chat)
    room.load(roster(FIRST))
    room.begin_chat(POSITION, [])
    return room


def roster(epoch: str) -> RosterReply:
    return RosterReply(outcome=Outcome.OK, epoch=epoch, revision=1)


def messages(member: Member) -> list[Any]:
    """The JSON of all frames, which have headers of two or four bytes without a brace in them."""
    decoder, text, found, at = json.JSONDecoder(), b"".join(member.written).decode(errors="replace"), [], 0
    while (at := text.find("{", at)) >= 0:
        message, at = decoder.raw_decode(text, at)
        found.append(message)
    return found


def epochs(member: Member) -> list[str]:
    """The epochs that the member received, in their order."""
    return [message["payload"]["epoch"] for message in messages(member)]


async def test_a_new_epoch_of_presence_is_sent_at_once_while_the_chat_is_known(room: Room):
    member = Member()
    room.admit(member, Resumption())
    room.load(roster(SECOND))
    room.fanout.flush()
    assert epochs(member) == [f"{FIRST} chat", f"{SECOND} chat"]


async def test_no_member_receives_a_new_epoch_of_presence_before_the_chat_is_known_again(room: Room, chat: Chat):
    before, later = Member(), Member()
    room.admit(before, Resumption())
    chat.sure = False
    room.load(roster(SECOND))
    room.admit(later, Resumption())
    room.fanout.flush()
    assert epochs(before) == epochs(later) == [f"{FIRST} chat"], "the remembered messages may be lost"

    chat.sure = True
    room.take_missed([], POSITION)
    room.fanout.flush()
    assert epochs(before) == epochs(later) == [f"{FIRST} chat", f"{SECOND} chat"]


async def test_if_the_chat_was_lost_too_its_old_epoch_is_never_combined_with_the_new_epoch_of_presence(
    room: Room, chat: Chat
):
    member = Member()
    room.admit(member, Resumption())
    chat.sure = False
    room.load(roster(SECOND))
    chat.sure, chat.stream = True, "chat again"
    room.forget_chat()
    room.begin_chat(2, [])
    room.fanout.flush()
    assert epochs(member) == [f"{FIRST} chat", f"{SECOND} chat again"]


async def test_the_first_roster_of_a_room_names_its_epoch_even_while_the_chat_is_unknown(chat: Chat):
    chat.sure = False
    room = new_room(chat)
    room.load(roster(FIRST))
    assert room.chat_epoch == f"{FIRST} chat"
