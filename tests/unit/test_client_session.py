"""The Python client's side of the protocol: what it sends, shows and reports, over several connections."""

import json
import math
from typing import Any

import pytest

from studyroom.client.core.session import Session
from studyroom.client.core.wire import MalformedMessage, Refusal, decode
from studyroom.client.events import (
    BroadcastReceived,
    ChatFailed,
    ChatReceived,
    Connected,
    CursorMoved,
    Disconnected,
    HistoryReset,
    Joined,
    MemberJoined,
    MemberLeft,
    MemberUpdated,
    TypingChanged,
)
from studyroom.client.values import ChatMessage, Failure, RoomStatus
from studyroom.shared.contract.messages import CursorPosition, Welcome, encode

ROOM, ELSEWHERE = "550e8400-e29b-41d4-a716-446655440000", "650e8400-e29b-41d4-a716-446655440000"
ANN, BOB = "0a1b2c3d-4e5f-4678-9abc-def012345678", "1a1b2c3d-4e5f-4678-9abc-def012345678"
FIRST, SECOND = "1e57ab1e-2222-4333-8444-555566667777", "2e57ab1e-2222-4333-8444-555566667777"
LOST = Disconnected(1006, "", True, Failure("connection_lost", ""))


class Server:
    """The other side: it hands messages to a session, and takes what the session sends. Its clock stands still."""

    def __init__(self) -> None:
        self.session = Session(history_limit=100, cursor_interval_seconds=0.05, random=lambda: 1.0)
        self.now = 0.0

    def welcome(self, user: str = ANN, **fields: Any) -> None:
        payload = {"connection_id": FIRST, "user_id": user, "server_time": 0, "chat_retry_seconds": 120, **fields}
        message = decode(json.dumps({"type": "Welcome", "payload": payload}))
        assert isinstance(message, Welcome)
        self.session.opened(message.payload)

    def sends(self, kind: str, **payload: Any) -> None:
        message = decode(json.dumps({"type": kind, "payload": payload}))
        assert message is not None
        self.session.received(message, self.now)

    def joined(self, *users: dict[str, Any], **fields: Any) -> None:
        defaults = {"room_id": ROOM, "users": [person(ANN), *users], "epoch": "e", "history": 0, "last_seq": 0}
        self.sends("JoinedRoom", **{**defaults, **fields})

    def chat(self, seq: int, message: str, user: str = BOB) -> None:
        self.sends("Chat", user_id=user, username="x", content="c", timestamp=0, id=message, seq=seq)

    def lost(self) -> None:
        self.session.closed(LOST, None)

    def gets(self, after: float = 0.0) -> list[Any]:
        """The type and the payload of all messages that the session sends now."""
        self.now += after
        self.session.poll(self.now)
        sent = [json.loads(encode(message)) for message in self.session.outbox]
        self.session.outbox.clear()
        return [(one["type"], one.get("payload")) for one in sent]

    def events(self) -> list[Any]:
        events = self.session.events[:]
        self.session.events.clear()
        return events


def person(user: str, name: str = "x", **fields: Any) -> dict[str, Any]:
    return {"user_id": user, "username": name, **fields}


def in_room(*users: dict[str, Any]) -> Server:
    server = Server()
    server.session.join(ROOM)
    server.welcome()
    server.joined(*users)
    server.gets()
    server.events()
    return server


def test_a_room_that_is_wanted_before_the_connection_is_joined_right_after_welcome():
    server = Server()
    server.session.join(ROOM)
    assert server.gets() == []
    server.welcome()
    assert server.gets() == [("JoinRoom", {"room_id": ROOM, "since": None, "epoch": None})]
    assert server.session.entry.state.status.value == "joining"
    server.joined()
    assert server.session.entry.state.status.value == "joined"
    assert server.events() == [Connected(ANN, FIRST), Joined(ROOM, None)]


def test_after_a_lost_connection_the_client_resumes_and_reports_who_came_and_left():
    server = in_room(person(BOB))
    server.chat(7, FIRST)
    server.lost()
    assert server.session.entry.state.status is RoomStatus.JOINING
    assert [member.user_id for member in server.session.room.roster.members] == [BOB]
    server.welcome()
    assert server.gets() == [("JoinRoom", {"room_id": ROOM, "since": 7, "epoch": "e"})]
    server.events()
    server.joined(person(ELSEWHERE), recovered=True, history=1)
    server.chat(8, SECOND)
    kinds = [type(event) for event in server.events()]
    assert kinds == [Joined, MemberLeft, MemberJoined, ChatReceived]


def test_own_messages_wait_for_the_missed_ones_and_those_among_them_are_not_sent_again():
    server = in_room()
    server.session.write(FIRST, "one")
    server.session.write(SECOND, "two")
    assert server.gets() == [("Chat", {"content": "one", "id": FIRST})]
    server.lost()
    server.welcome()
    server.gets()
    server.joined(recovered=True, history=1)
    assert server.gets() == []
    server.chat(1, FIRST, ANN)
    assert server.gets() == [("Chat", {"content": "two", "id": SECOND})]
    server.chat(2, SECOND, ANN)
    assert [message for message, _ in server.session.outcomes] == [FIRST, SECOND]
    assert server.session.room.queue.messages == ()


def test_the_answer_to_a_message_that_was_sent_again_does_not_move_the_position():
    server = in_room()
    server.chat(7, SECOND)
    server.session.write(FIRST, "one")
    server.gets()
    server.lost()
    server.welcome()
    server.gets()
    server.joined(recovered=True)
    assert [kind for kind, _ in server.gets()] == ["Chat"]
    server.chat(12, FIRST, ANN)
    server.lost()
    server.welcome()
    assert server.gets() == [("JoinRoom", {"room_id": ROOM, "since": 7, "epoch": "e"})]


def test_an_own_message_that_a_moderator_deletes_before_it_comes_back_was_stored():
    server = in_room()
    server.session.write(FIRST, "one")
    server.gets()
    server.sends("ChatDeleted", id=FIRST, deleted_seq=4, seq=5)
    ((message, outcome),) = server.session.outcomes
    assert message == FIRST
    assert isinstance(outcome, ChatMessage)
    assert outcome.seq == 4


def test_a_program_can_ask_for_the_version_of_the_servers_protocol_which_is_1_for_a_server_that_names_none():
    server = Server()
    server.welcome()
    assert server.session.protocol == 1
    server.lost()
    server.welcome(protocol=2)
    assert server.session.protocol == 2


def test_a_message_over_the_limits_of_welcome_fails_and_a_longer_limit_is_used():
    server = Server()
    server.session.join(ROOM)
    server.session.write(FIRST, "x" * 5000)
    assert server.gets() == []
    assert server.session.room.queue.find(FIRST) is not None, "the limits of the server are not known yet"
    server.welcome(chat_max_chars=10)
    server.joined()
    assert [kind for kind, _ in server.gets()] == ["JoinRoom"]
    (failed,) = [event for event in server.events() if isinstance(event, ChatFailed)]
    assert failed.failure.code == "chat_too_long"


def test_a_refused_join_that_may_pass_is_sent_again_and_another_one_is_not():
    server = Server()
    server.session.join(ROOM)
    server.welcome()
    server.gets()
    server.sends("Error", code="presence_unavailable", message="")
    assert server.gets() == []
    assert [kind for kind, _ in server.gets(after=0.5)] == ["JoinRoom"]
    server.sends("Error", code="room_full", message="full")
    assert server.gets(after=60) == []
    assert server.session.entry.state.failure == Failure("room_full", "full")
    server.session.join(ROOM)
    assert [kind for kind, _ in server.gets()] == ["JoinRoom"]


def test_chat_of_a_refused_room_fails_with_the_code_of_the_room():
    server = Server()
    server.session.join(ROOM)
    server.session.write(FIRST, "one")
    server.welcome()
    server.gets()
    server.sends("Error", code="banned_from_room", message="no")
    server.gets()
    assert server.session.outcomes == [(FIRST, Failure("banned_from_room", "no"))]


def test_after_a_moderator_has_removed_the_user_the_client_does_not_join_again():
    server = in_room()
    server.sends("Error", code="removed", message="removed")
    assert server.session.entry.state.status is RoomStatus.REFUSED
    server.lost()
    server.welcome()
    assert server.gets(after=60) == []


def test_after_a_reset_the_client_joins_again_without_a_position():
    server = in_room()
    server.chat(7, FIRST)
    server.sends("ChatReset", room_id=ROOM, epoch="f", last_seq=1)
    assert server.gets() == [("JoinRoom", {"room_id": ROOM, "since": None, "epoch": None})]
    server.events()
    server.joined(epoch="f")
    assert HistoryReset() in server.events()


def test_events_of_the_room_before_do_not_apply_to_the_next_one():
    server = in_room(person(BOB))
    server.session.join(ELSEWHERE)
    server.sends("UserLeft", user_id=BOB)
    server.joined()
    assert server.events() == []
    assert server.session.entry.state.room_id == ELSEWHERE
    server.joined(room_id=ELSEWHERE)
    assert server.events() == [Joined(ELSEWHERE, None)]


def test_the_room_in_the_address_is_the_wanted_one_or_the_hint_of_the_server():
    server = in_room()
    assert server.session.address_room == ROOM
    server.joined(room_hint=SECOND)
    assert server.session.address_room == SECOND
    server.session.closed(LOST, FIRST)
    assert server.session.address_room == FIRST
    server.session.join(ELSEWHERE)
    assert server.session.address_room == ELSEWHERE


def test_cursors_are_throttled_and_the_last_one_is_sent_again_after_a_join():
    server = in_room()
    for x in (1.0, 2.0, 3.0):
        server.session.move_cursor(CursorPosition(x=x, y=0.0))
        if x == 1.0:
            assert [payload["x"] for _, payload in server.gets()] == [1.0]
    assert server.gets() == []
    assert [payload["x"] for _, payload in server.gets(after=0.05)] == [3.0]
    server.lost()
    server.welcome()
    server.joined()
    assert [payload["x"] for kind, payload in server.gets(after=1) if kind == "CursorMove"] == [3.0]


def test_presence_is_sent_together_and_again_if_the_server_lost_it():
    server = in_room()
    server.session.update_presence({"seat": 1})
    assert server.gets() == [("UpdatePresence", {"fields": {"seat": 1}})]
    server.session.update_presence({"seat": 2})
    server.session.update_presence({"hand": True})
    assert server.gets() == []
    assert server.gets(after=0.2) == [("UpdatePresence", {"fields": {"seat": 2, "hand": True}})]
    server.lost()
    server.welcome()
    server.joined(users=[person(ANN, presence={"hand": True})])
    assert ("UpdatePresence", {"fields": {"seat": 2}}) in server.gets(after=1)


def test_another_tab_changes_the_own_presence_and_it_is_not_changed_back():
    server = in_room()
    server.session.update_presence({"seat": 1})
    server.gets()
    server.sends("PresenceChanged", user_id=ANN, fields={"seat": 5})
    room = server.session.room
    assert room.self is not None
    assert room.presence.shown(room.self.presence) == {"seat": 5}
    server.lost()
    server.welcome()
    server.joined(users=[person(ANN, presence={"seat": 5})])
    assert [kind for kind, _ in server.gets(after=1)] == ["JoinRoom"]


def test_presence_that_is_too_large_is_forgotten():
    server = in_room()
    server.session.update_presence({"text": "long"})
    server.gets()
    server.sends("Error", code="presence_too_large", message="")
    assert server.session.room.presence.shown({}) == {}


def test_members_cursors_typing_and_events_of_others_are_shown_and_reported():
    server = in_room()
    server.sends("UserJoined", user=person(BOB, "Bob", cursor={"x": 1, "y": 2}))
    server.sends("PresenceChanged", user_id=BOB, fields={"seat": 3})
    server.sends("TypingStatus", user_id=BOB, is_typing=True)
    server.sends("Broadcast", user_id=BOB, event="wave", data={"n": 1})
    server.sends("CursorUpdate", user_id=ELSEWHERE, x=0, y=0, element_id=None)
    server.sends("UserUpdated", user=person(BOB, "Robert", presence={"seat": 3}))
    room = server.session.room
    assert [(one.username, one.presence) for one in room.roster.members] == [("Robert", {"seat": 3})]
    assert [one.user_id for one in room.roster.typing] == [BOB]
    assert list(room.cursors) == [BOB]
    server.sends("UserLeft", user_id=BOB)
    assert (room.cursors, room.roster.members, room.roster.typing) == ({}, (), ())
    events = server.events()
    assert [type(event) for event in events] == [
        MemberJoined, CursorMoved, MemberUpdated, TypingChanged, BroadcastReceived, MemberUpdated, MemberLeft,
    ]  # fmt: skip
    assert BroadcastReceived(BOB, "wave", {"n": 1}, None) in events


def test_a_quiet_client_needs_no_timer():
    assert in_room().session.poll(0.0) == math.inf


def test_messages_and_codes_of_newer_servers_are_understood_or_ignored():
    assert decode('{"type":"Weather","payload":{"sun":true}}') is None
    newer = decode('{"type":"Error","payload":{"code":"too_sunny","message":"m","id":"i"}}')
    assert newer == Refusal(Failure("too_sunny", "m"), "i")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type":1}', '{"type":"Chat","payload":{}}', '{"type":"Error"}'])
def test_text_that_is_not_of_the_protocol_is_malformed(text: str):
    with pytest.raises(MalformedMessage):
        decode(text)
