import json
import re
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from studyroom.shared.contract import ids, subjects
from studyroom.shared.contract.ids import ID_LENGTH, GatewayId, RoomId, UserId, canonical_uuid
from studyroom.shared.contract.presence import JoinRequest, LeaveRequest, RosterRequest

ROOM = RoomId("550e8400-e29b-41d4-a716-446655440000")
USER = UserId("7f2c1f0e-0d3b-4e0a-9c57-2b1f6a8f3d11")
ANY_ID = st.uuids().map(str)
CANONICAL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


# --- ids ---------------------------------------------------------------------------------------------------


def test_new_ids_are_random_uuids_in_canonical_form():
    made = [new() for new in (ids.new_connection_id, ids.new_user_id, ids.new_message_id) for _ in range(300)]
    assert len(set(made)) == len(made)
    for each in made:
        assert (str(UUID(each)), UUID(each).version, UUID(each).variant) == (each, 4, RFC_4122)
    for position in {*range(36)} - {8, 13, 14, 18, 19, 23}:
        assert {each[position] for each in made} == set("0123456789abcdef")
    assert {each[19] for each in made} == set("89ab")


@pytest.mark.parametrize(
    "spelling",
    [
        ROOM,
        ROOM.upper(),
        ROOM.title(),
        f"{{{ROOM}}}",
        f"urn:uuid:{ROOM}",
        f"URN:UUID:{ROOM}".upper(),
        ROOM.replace("-", ""),
    ],
)
def test_every_spelling_of_a_uuid_becomes_canonical(spelling: str):
    assert canonical_uuid(spelling) == ROOM


@pytest.mark.parametrize(
    "text", ["", "lobby", ROOM[:-1], ROOM + "0", ROOM[:-1] + "g", "550e8400.e29b.41d4.a716.446655440000"]
)
def test_text_other_than_a_uuid_is_refused_by_name(text: str):
    with pytest.raises(ValueError, match=re.escape(f"not a UUID: {text!r}")):
        canonical_uuid(text)


@pytest.mark.parametrize(
    "text",
    [
        "+50e8400e29b41d4a716446655440000",
        " 50e8400e29b41d4a716446655440000",
        "5_0e8400e29b41d4a716446655440000",
        "\u0665" + ROOM[1:],
        "{{{" + ROOM,
        "5-5-0-e8400e29b41d4a716446655440000",
    ],
    ids=["sign", "space", "underscore", "digit of another script", "unbalanced braces", "hyphens anywhere"],
)
def test_text_that_only_pythons_number_parser_takes_for_a_uuid_is_refused(text: str):
    with pytest.raises(ValueError, match="not a UUID"):
        canonical_uuid(text)


@given(st.text() | ANY_ID.map(str.upper) | st.text("0123456789abcdefABCDEF-{}:urnid+_ .*>", min_size=32, max_size=40))
def test_arbitrary_text_becomes_a_canonical_id_or_is_refused(text: str):
    try:
        canonical = canonical_uuid(text)
    except ValueError:
        return
    assert CANONICAL.fullmatch(canonical)


def test_a_long_value_is_not_echoed_whole():
    with pytest.raises(ValueError, match="not a UUID") as caught:
        canonical_uuid("x" * 10_000)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("new", [ids.new_connection_id, ids.new_gateway_id, ids.new_message_id, ids.new_user_id])
def test_a_new_id_is_canonical_and_never_the_same(new):
    first, second = new(), new()
    assert first != second
    assert canonical_uuid(first) == first
    assert len(first) == ID_LENGTH


# --- shards ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("room", "shard"),
    [
        ("550e8400-e29b-41d4-a716-446655440000", 49),
        ("00000000-0000-0000-0000-000000000000", 9),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", 15),
    ],
)
def test_the_shard_of_a_room_is_fixed_for_ever(room: str, shard: int):
    assert subjects.shard_of(RoomId(room)) == shard


@given(ANY_ID)
def test_every_room_has_a_shard_of_64(room: str):
    assert 0 <= subjects.shard_of(RoomId(room)) < 64


# --- subjects ----------------------------------------------------------------------------------------------

SHARD = subjects.shard_of(ROOM)


@pytest.mark.parametrize(
    ("subject", "spelled"),
    [
        (subjects.presence_join(7), "presence.7.join"),
        (subjects.presence_leave(7), "presence.7.leave"),
        (subjects.presence_roster(7), "presence.7.roster"),
        (subjects.presence_cursors(7), "presence.7.cursors"),
        (subjects.presence_key(ROOM, USER), f"$KV.presence.{SHARD}.{ROOM}.{USER}"),
        (subjects.presence_keys_of_shard(7), "$KV.presence.7.>"),
        (subjects.gateway_key(GatewayId(USER)), f"$KV.gateways.{USER}"),
        (subjects.chat(ROOM), f"chat.{SHARD}.{ROOM}"),
        (subjects.room_events(ROOM), f"room.{SHARD}.{ROOM}.>"),
        (subjects.room_cursor(ROOM), f"room.{SHARD}.{ROOM}.cursor"),
        (subjects.room_typing(ROOM), f"room.{SHARD}.{ROOM}.typing"),
        (subjects.room_newest(ROOM), f"room.{SHARD}.{ROOM}.newest"),
        (subjects.chat_deduplication_id(ROOM, USER, "m"), f"{ROOM}:{USER}:m"),
        (subjects.deletion_deduplication_id(ROOM, 7), f"{ROOM}:deleted:7"),
        (subjects.moderation_key("ban", USER, None), f"$KV.moderation.ban.{USER}"),
        (subjects.moderation_key("remove", USER, ROOM), f"$KV.moderation.remove.{USER}.{ROOM}"),
        (subjects.MODERATION_STREAM, "KV_moderation"),
        (subjects.PRESENCE_STREAM, "KV_presence"),
        (subjects.GATEWAYS_STREAM, "KV_gateways"),
        (subjects.CHAT_STREAM, "CHAT"),
    ],
)
def test_a_subject_is_spelled_as_designed(subject: str, spelled: str):
    assert subject == spelled


def matches(pattern: str, subject: str) -> bool:
    """Whether a NATS subscription to `pattern` gets `subject`."""
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        tokens, rest = tokens[: len(wanted)], tokens[len(wanted) :]
        if not rest:
            return False
    return len(wanted) == len(tokens) and all(w in {"*", t} for w, t in zip(wanted, tokens, strict=True))


def republished(source: str, target: str, subject: str) -> str:
    """The subject that a republish rule of JetStream makes of `subject`."""
    wild = [token for want, token in zip(source.split("."), subject.split("."), strict=True) if want == "*"]
    return re.sub(r"\{\{wildcard\((\d)\)\}\}", lambda found: wild[int(found[1]) - 1], target)


@given(ANY_ID, ANY_ID)
def test_a_presence_key_is_parsed_back(room: str, user: str):
    assert subjects.parse_presence_key(subjects.presence_key(RoomId(room), UserId(user))) == (room, user)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "$KV.presence",
        f"$KV.gateways.{USER}",
        f"chat.1.{ROOM}",
        f"$KV.other.1.{ROOM}.{USER}",
        f"$KV.presence.1.{ROOM}.{USER}.x",
    ],
)
def test_another_subject_is_not_a_presence_key(subject: str):
    with pytest.raises(ValueError, match="not a presence key"):
        subjects.parse_presence_key(subject)


@given(ANY_ID, ANY_ID)
def test_a_committed_presence_change_reaches_the_rooms_subscription(room: str, user: str):
    key = subjects.presence_key(RoomId(room), UserId(user))
    event = republished(subjects.PRESENCE_REPUBLISH_SOURCE, subjects.PRESENCE_REPUBLISH_TARGET, key)
    assert matches(subjects.room_events(RoomId(room)), event)
    assert (subjects.room_event_kind(event), subjects.room_event_user(event)) == ("presence", user)


def test_stored_chat_reaches_the_rooms_subscription():
    event = republished(subjects.CHAT_SUBJECTS, subjects.CHAT_REPUBLISH_TARGET, subjects.chat(ROOM))
    assert matches(subjects.room_events(ROOM), event)
    assert subjects.room_event_kind(event) == "chat"


@pytest.mark.parametrize(
    ("subject", "kind"),
    [
        (subjects.room_cursor(ROOM), "cursor"),
        (subjects.room_typing(ROOM), "typing"),
        (subjects.room_broadcast(ROOM), "broadcast"),
    ],
)
def test_cursors_typing_and_events_reach_the_rooms_subscription(subject: str, kind: str):
    assert matches(subjects.room_events(ROOM), subject)
    assert subjects.room_event_kind(subject) == kind


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [
        (*subjects.of_shards(subjects.presence_join, range(subjects.SHARDS)), subjects.presence_join(63)),
        (*subjects.of_shards(subjects.presence_leave, range(subjects.SHARDS)), subjects.presence_leave(0)),
        (*subjects.of_shards(subjects.presence_roster, range(subjects.SHARDS)), subjects.presence_roster(5)),
        (*subjects.of_shards(subjects.presence_cursors, range(subjects.SHARDS)), subjects.presence_cursors(5)),
        (subjects.PRESENCE_KEYS, subjects.presence_key(ROOM, USER)),
        (subjects.presence_keys_of_shard(SHARD), subjects.presence_key(ROOM, USER)),
        (subjects.GATEWAY_KEYS, subjects.gateway_key(GatewayId(USER))),
        (subjects.CHAT_SUBJECTS, subjects.chat(ROOM)),
    ],
)
def test_a_pattern_takes_the_subjects_it_is_for(pattern: str, subject: str):
    assert matches(pattern, subject)


def test_some_shards_have_a_subject_each():
    assert subjects.of_shards(subjects.presence_join, {7, 0}) == [subjects.presence_join(0), subjects.presence_join(7)]
    keys = subjects.of_shards(subjects.presence_keys_of_shard, {SHARD})
    assert [matches(key, subjects.presence_key(ROOM, USER)) for key in keys] == [True]


@pytest.mark.parametrize("room", ["*", f"{ROOM}.>", "r\u00f6m"])
@pytest.mark.parametrize("kind", [JoinRequest, LeaveRequest, RosterRequest])
def test_a_request_about_a_room_with_a_bad_id_never_becomes_a_subject(kind, room: str):
    fields = {"room": room, "user": USER, "connection": USER, "gateway": USER, "with_roster": True}
    with pytest.raises(ValidationError, match="not a UUID"):
        kind.decode(json.dumps({**fields, "profile": {"username": "Ada"}}).encode())


@pytest.mark.parametrize("kind", [JoinRequest, LeaveRequest])
def test_a_request_about_a_user_with_a_bad_id_never_becomes_a_subject(kind):
    fields = {"room": ROOM, "user": "*", "connection": USER, "gateway": USER, "with_roster": True}
    with pytest.raises(ValidationError, match="not a UUID"):
        kind.decode(json.dumps({**fields, "profile": {"username": "Ada"}}).encode())
