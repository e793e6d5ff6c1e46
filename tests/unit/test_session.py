from collections import deque
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.auth.events import EventRights
from studyroom.gateway.connections.limits import JOIN_COST
from studyroom.gateway.connections.session import CONFLATED, WAITING, NotJoining, Refusal, Session
from studyroom.shared.contract.broadcasts import BroadcastSend, BroadcastSendPayload
from studyroom.shared.contract.chat_messages import ChatSend, ChatSendPayload
from studyroom.shared.contract.custom_presence import UpdatePresence, UpdatePresencePayload
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.identification import Authenticate, AuthenticatePayload
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.messages import (
    ClientMessage,
    CursorMove,
    CursorPosition,
    JoinRoom,
    JoinRoomPayload,
    LeaveRoom,
    Ping,
    Typing,
    TypingPayload,
)

A = RoomId("550e8400-e29b-41d4-a716-446655440000")
B = RoomId("7f2c1f0e-0d3b-4e0a-9c57-2b1f6a8f3d11")


def join(room: RoomId) -> JoinRoom:
    return JoinRoom(payload=JoinRoomPayload(room_id=room))


def chat(content: str = "hi") -> ChatSend:
    return ChatSend(payload=ChatSendPayload(content=content))


AUTHENTICATE = Authenticate(payload=AuthenticatePayload(token="e30.e30.c2ln"))
MOVE = CursorMove(payload=CursorPosition(x=0.0, y=0.0))
TYPING = Typing(payload=TypingPayload(is_typing=True))
EVENT = BroadcastSend(payload=BroadcastSendPayload(event="timer.start", data=None))
UPDATE = UpdatePresence(payload=UpdatePresencePayload(fields={"hand": True}))
ROOM_MESSAGES: list[ClientMessage] = [chat(), MOVE, TYPING, EVENT, UPDATE, LeaveRoom()]


def session(*, chat_max_chars: int = 10, backlog_max: int = 3, joins: int = 1000) -> Session[RoomId]:
    """Its rooms are only ids."""
    return Session(chat_max_chars=chat_max_chars, backlog_max=backlog_max, join_parts=joins * JOIN_COST)


def in_room(room: RoomId = A) -> Session[RoomId]:
    joined = session()
    joined.receive(join(room))
    joined.joined(room)
    return joined


def refusal(of: Session[RoomId], message: ClientMessage) -> ErrorCode:
    decision = of.receive(message)
    assert isinstance(decision, Refusal)
    assert decision.about is message
    return decision.code


@pytest.mark.parametrize("message", ROOM_MESSAGES, ids=lambda message: message.type)
def test_room_messages_outside_a_room_are_refused(message: ClientMessage):
    assert refusal(session(), message) is ErrorCode.NOT_IN_ROOM


@pytest.mark.parametrize("message", ROOM_MESSAGES, ids=lambda message: message.type)
def test_room_messages_in_a_room_are_carried_out(message: ClientMessage):
    assert in_room().receive(message) is message


@pytest.mark.parametrize("message", ROOM_MESSAGES, ids=lambda message: message.type)
def test_after_leaving_room_messages_are_refused_again(message: ClientMessage):
    left = in_room()
    left.receive(LeaveRoom())
    assert refusal(left, message) is ErrorCode.NOT_IN_ROOM


def test_a_forbidden_room_is_refused_and_the_client_stays_where_it_is():
    member = in_room(A)
    member.rooms = frozenset([A])
    assert refusal(member, join(B)) is ErrorCode.ROOM_NOT_ALLOWED
    assert (member.room, member.joining) == (A, None)
    assert member.receive(join(A)) == join(A)


def test_a_user_that_may_enter_no_room_is_refused_everywhere():
    nowhere = Session[RoomId](chat_max_chars=10, backlog_max=3, join_parts=1000 * JOIN_COST, rooms=frozenset())
    assert refusal(nowhere, join(A)) is refusal(nowhere, join(B)) is ErrorCode.ROOM_NOT_ALLOWED


def test_a_newer_token_counts_only_for_the_messages_after_it():
    asking = session()
    asking.receive(join(A))
    assert asking.receive(AUTHENTICATE) is asking.receive(join(B)) is WAITING
    assert asking.joined(A) == [AUTHENTICATE, join(B)]
    assert asking.receive(AUTHENTICATE) is AUTHENTICATE
    asking.rooms = frozenset([A])
    assert refusal(asking, join(B)) is ErrorCode.ROOM_NOT_ALLOWED


def test_a_ping_is_always_answered():
    fresh, joining = session(), session()
    joining.receive(join(A))
    assert [one.receive(Ping()) for one in (fresh, joining, in_room())] == [Ping()] * 3


def test_messages_sent_while_joining_wait_and_are_released_in_order():
    joining = session()
    sent: list[ClientMessage] = [chat("1"), MOVE, chat("2")]
    joining.receive(join(A))
    assert [joining.receive(message) for message in sent] == [WAITING] * 3
    assert joining.joined(A) == sent
    assert joining.room == A


def test_joining_another_room_leaves_the_first_at_once():
    moving = in_room(A)
    moving.receive(join(B))
    assert (moving.room, moving.joining) == (None, B)
    moving.joined(B)
    assert (moving.room, moving.joining) == (B, None)


def test_joining_the_same_room_again_does_not_leave_it():
    again = in_room(A)
    assert again.receive(join(A)) == join(A)
    assert (again.room, again.joining) == (A, A)


def test_after_a_failed_join_of_another_room_the_connection_is_in_none():
    moving = in_room(A)
    moving.receive(join(B))
    assert moving.join_failed() == []
    assert refusal(moving, chat()) is ErrorCode.NOT_IN_ROOM


def test_after_a_failed_repeated_join_the_connection_is_still_in_its_room():
    again = in_room(A)
    again.receive(join(A))
    again.join_failed()
    assert again.receive(MOVE) is MOVE


def test_more_than_the_backlog_holds_is_refused():
    joining = session(backlog_max=2)
    joining.receive(join(A))
    assert [joining.receive(chat(text)) for text in "12"] == [WAITING, WAITING]
    assert refusal(joining, chat("3")) is ErrorCode.BUSY
    assert joining.joined(A) == [chat("1"), chat("2")]


def test_the_newest_mouse_move_of_a_join_is_kept_in_its_place_and_none_counts():
    joining = session(backlog_max=2)
    joining.receive(join(A))
    moves = [CursorMove(payload=CursorPosition(x=float(x), y=0.0)) for x in range(500)]
    decisions = [joining.receive(moves[0]), joining.receive(chat("1"))]
    decisions += [joining.receive(move) for move in moves[1:]]
    decisions.append(joining.receive(chat("2")))
    assert decisions == [WAITING, WAITING, *[CONFLATED] * 499, WAITING]
    assert joining.joined(A) == [chat("1"), moves[-1], chat("2")]
    assert joining.receive(join(B)) == join(B)
    assert joining.joined(B) == [], "messages that waited for the first join do not wait for the second"


def test_a_refused_message_is_not_carried_out_later():
    joining = session(backlog_max=0)
    joining.receive(join(A))
    joining.receive(chat())
    assert joining.joined(A) == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", ErrorCode.CHAT_EMPTY),
        (" \n\t\u2003", ErrorCode.CHAT_EMPTY),
        ("\u200b\u3164\ufe0f", ErrorCode.CHAT_EMPTY),
        ("x" * 11, ErrorCode.CHAT_TOO_LONG),
        (" " * 11, ErrorCode.CHAT_TOO_LONG),
    ],
)
def test_chat_that_is_empty_or_too_long_is_refused(content: str, code: ErrorCode):
    assert refusal(in_room(), chat(content)) is code


def test_chat_at_the_limit_is_carried_out():
    longest = chat("\U0001f44b" * 10)
    assert in_room().receive(longest) is longest


class Client:
    """A connection without its socket, which acts on the decisions of its session as `connection` does."""

    def __init__(self, backlog_max: int) -> None:
        self.session = session(backlog_max=backlog_max)
        self.backlog_max = backlog_max
        self.sent: list[ClientMessage] = []
        self.decided: list[ClientMessage] = []
        """In the order in which that happened, without pings and messages refused for lack of space."""
        self.room: RoomId | None = None
        self.asked: RoomId | None = None
        self.waiting: deque[ClientMessage] = deque()

    @property
    def counted(self) -> int:
        return sum(not isinstance(message, CursorMove) for message in self.waiting)

    def send(self, message: ClientMessage, *, again: bool = False) -> None:
        if not again:
            self.sent.append(message)
        decision = self.session.receive(message)
        if decision is CONFLATED:
            assert isinstance(message, CursorMove)
            self.waiting.remove(message)
            del self.sent[len(self.sent) - 2 - self.sent[-2::-1].index(message)]
        if decision is WAITING or decision is CONFLATED:
            assert self.asked is not None
            self.waiting.append(message)
            return
        if isinstance(decision, Refusal) and decision.code is ErrorCode.BUSY:
            assert self.asked is not None
            assert self.counted == self.backlog_max
            assert not again, "a waiting message was lost"
            self.sent.pop()
            return
        if isinstance(message, Ping):
            self.sent.pop()
            return
        self.decided.append(message)
        if isinstance(decision, Refusal):
            assert (decision.code is ErrorCode.NOT_IN_ROOM) == (self.room is None)
            return
        assert decision is message
        match message:
            case JoinRoom():
                assert self.asked is None, "two joins under way"
                self.asked = message.payload.room_id
                self.room = self.room if self.room == self.asked else None
            case LeaveRoom():
                assert self.room is not None
                self.room = None
            case _:
                assert self.room is not None
                assert self.asked is None

    def end_join(self, finish: Callable[[], list[ClientMessage]]) -> None:
        released, expected = finish(), list(self.waiting)
        self.asked = None
        self.waiting.clear()
        assert released == expected
        for message in released:
            self.send(message, again=True)


SENT = st.sampled_from([*ROOM_MESSAGES, chat(""), chat("x" * 11), join(A), join(B), Ping()])


@given(st.lists(SENT | st.booleans(), min_size=8, max_size=40), st.integers(0, 4))
def test_nothing_is_lost_or_reordered_and_one_join_at_most_is_under_way(
    events: list[ClientMessage | bool], backlog_max: int
):
    client = Client(backlog_max)
    for event in [*events, *[True] * len(events)]:
        if not isinstance(event, bool):
            client.send(event)
        elif client.asked is not None:
            succeeds = event
            asked, before = client.asked, client.room
            client.room = asked if succeeds else before
            client.end_join(partial(client.session.joined, asked) if succeeds else client.session.join_failed)
        assert client.session.joining == client.asked
        assert client.session.room == client.room
        assert client.counted <= backlog_max
    assert not client.waiting
    assert client.decided == client.sent


def test_a_client_that_joins_too_often_is_refused_and_stays_where_it_is():
    restless = session(joins=2)
    for room in (A, B):
        restless.receive(join(room))
        restless.joined(room)

    assert refusal(restless, join(A)) == ErrorCode.RATE_LIMITED
    assert (restless.room, restless.joining) == (B, None)
    restless.join_parts_left += JOIN_COST
    assert restless.receive(join(A)) == join(A)


def test_an_ended_session_is_in_no_room_begins_no_join_and_lets_nobody_in():
    ended = in_room(A)
    assert ended.expel() == A
    assert ended.open
    assert refusal(ended, join(B)) is ErrorCode.NOT_IN_ROOM
    assert ended.close(for_good=False) is None
    assert (ended.room, ended.joining, ended.open) == (None, None, False)


def test_a_join_that_ends_after_its_session_changes_nothing_and_nothing_waits_any_more():
    expelled, closed = session(), session()
    for joining in (expelled, closed):
        joining.receive(join(A))
        joining.receive(join(B))
    expelled.expel()
    closed.close(for_good=False)
    for ended in (expelled, closed):
        assert ended.join_failed() == []
        with pytest.raises(NotJoining):
            ended.joined(A)
    assert expelled.joining == A, "presence may still write that join"


@pytest.mark.parametrize("expelled", [True, False])
@pytest.mark.parametrize("goodbye", [True, False])
def test_a_membership_is_kept_only_for_a_connection_that_was_lost(expelled: bool, goodbye: bool):
    member = in_room(A)
    if expelled:
        member.expel()
    member.close(for_good=goodbye)
    assert member.gone_for_good == (expelled or goodbye)


def test_a_session_that_joins_its_room_again_is_in_it_until_it_is_closed():
    again = in_room(A)
    again.receive(join(A))
    assert again.leave() is None
    assert again.close(for_good=True) == A


# --- broadcast events --------------------------------------------------------------------------------------


def test_a_reserved_event_is_refused_unless_the_token_names_it():
    member = in_room()
    member.events = EventRights(reserved=("timer.*",))
    assert refusal(member, EVENT) is ErrorCode.BROADCAST_NOT_ALLOWED
    member.events = EventRights(reserved=("timer.*",), granted=("timer.start",))
    assert member.receive(EVENT) is EVENT


def test_a_reserved_event_outside_a_room_is_refused_for_the_room():
    outside = session()
    outside.events = EventRights(reserved=("*",))
    assert refusal(outside, EVENT) is ErrorCode.NOT_IN_ROOM
