"""The client protocol: the golden files are the wire, `seed/` as the first protocol had it, `ours/` as it is now."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.shared.contract.channels import decode_channel_message
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.messages import (
    AnyClientMessage,
    ClientMessage,
    CursorMove,
    InvalidMessage,
    JoinRoom,
    Ping,
    ServerMessage,
    decode_client_message,
    decode_server_message,
    encode,
)
from studyroom.shared.contract.schema import json_schema

ROOM = "550e8400-e29b-41d4-a716-446655440000"
GOLDEN = Path(__file__).parent / "golden"


def golden(folder: str, pattern: str = "*") -> dict[str, str]:
    return {file.stem: file.read_text("utf-8").rstrip("\n") for file in sorted((GOLDEN / folder).glob(pattern))}


SEED, OURS = golden("seed"), golden("ours")
CLIENT, SERVER = golden("ours", "client.*"), golden("ours", "server.*")
FIRST_CLIENT = golden("seed", "client.*")


def decode(name: str, text: str) -> AnyClientMessage | ServerMessage:
    if name.startswith("client."):
        return decode_channel_message(text) or decode_client_message(text)
    return decode_server_message(text)


def invalid(text: str) -> InvalidMessage:
    with pytest.raises(InvalidMessage) as caught:
        decode_client_message(text)
    return caught.value


def message(kind: str, **payload: Any) -> str:
    return json.dumps({"type": kind, "payload": payload})


def without_additions(ours: Any, seed: Any) -> Any:
    """`ours` with only the fields that `seed` has, in the order of `ours`."""
    match ours, seed:
        case dict(), dict():
            return {key: without_additions(value, seed[key]) for key, value in ours.items() if key in seed}
        case list(), list():
            return [without_additions(mine, theirs) for mine, theirs in zip(ours, seed, strict=True)]
        case _:
            return ours


# --- the wire ----------------------------------------------------------------------------------------------


def test_every_message_has_a_golden_file():
    expected = {f"client.{cls.model_fields['type'].default}" for cls in get_args(AnyClientMessage)}
    expected |= {f"server.{cls.model_fields['type'].default}" for cls in get_args(ServerMessage)}
    assert {".".join(name.split(".")[:2]) for name in OURS} == expected


@pytest.mark.parametrize("name", OURS)
def test_a_message_is_emitted_byte_for_byte_as_its_golden_file(name: str):
    assert encode(decode(name, OURS[name])).decode() == OURS[name]


@pytest.mark.parametrize("name", FIRST_CLIENT)
def test_messages_of_clients_of_the_first_protocol_are_understood(name: str):
    theirs = json.loads(SEED[name])
    understood = json.loads(encode(decode_client_message(SEED[name])))
    assert without_additions(understood, theirs) == theirs


@pytest.mark.parametrize("name", SEED)
def test_without_its_added_fields_a_message_is_byte_for_byte_that_of_the_first_protocol(name: str):
    kept = without_additions(json.loads(OURS[name]), json.loads(SEED[name]))
    assert json.dumps(kept, separators=(",", ":"), ensure_ascii=False) == SEED[name]


@pytest.mark.parametrize("name", SEED)
def test_added_fields_come_after_the_fields_of_the_first_protocol(name: str):
    ours, seed = json.loads(OURS[name]).get("payload", {}), json.loads(SEED[name]).get("payload", {})
    assert list(ours)[: len(seed)] == list(seed)


def test_a_cursor_without_an_element_may_leave_it_out():
    move = decode_client_message('{"type":"CursorMove","payload":{"x":1,"y":2}}')
    assert encode(move) == b'{"type":"CursorMove","payload":{"x":1.0,"y":2.0,"element_id":null}}'


@pytest.mark.parametrize("addition", ['"payload":null', '"payload":{}', '"payload":{"n":1}', '"new":[1]'])
def test_fields_that_a_newer_client_adds_are_ignored(addition: str):
    assert decode_client_message(f'{{"type":"Ping",{addition}}}') == Ping()


def test_the_payload_may_stand_before_the_type():
    assert isinstance(decode_client_message(f'{{"payload":{{"room_id":"{ROOM}"}},"type":"JoinRoom"}}'), JoinRoom)


@pytest.mark.parametrize(
    "spelling",
    [ROOM.upper(), f"{{{ROOM}}}", f"urn:uuid:{ROOM}", ROOM.replace("-", "")],
    ids=["upper case", "braces", "URN", "no hyphens"],
)
def test_a_room_may_be_spelled_in_any_way_and_becomes_canonical(spelling: str):
    join = decode_client_message(message("JoinRoom", room_id=spelling))
    assert isinstance(join, JoinRoom)
    assert join.payload.room_id == ROOM


# --- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "hello",
        "{",
        "{'type':'Ping'}",
        '{"type":"Ping"}{"type":"Ping"}',
        '{"type":"Ping",}',
        '\ufeff{"type":"Ping"}',
        '{"type":"Chat","payload":{"content":"a\nb"}}',
        "[" * 100_000,
        '{"type":"Ping","payload":' + '{"a":' * 50_000,
        '{"type":"Ping","payload":' + "[" * 5_000 + "]" * 5_000 + "}",
        '{"type":"CursorMove","payload":{"x":1' + "0" * 10_000 + ',"y":0}}',
    ],
)
def test_text_other_than_json_is_refused(text: str):
    assert invalid(text).code is ErrorCode.INVALID_JSON


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '[{"type":"Ping"}]',
        "null",
        "1",
        '"Ping"',
        "{}",
        '{"payload":{}}',
        '{"type":null}',
        '{"type":5}',
        '{"type":["Ping"]}',
        '{"type":{"Ping":1}}',
        '{"type":"ping"}',
        '{"type":"Welcome"}',
        '{"type":"Shout","payload":{"content":"x"}}',
    ],
)
def test_an_unknown_message_is_refused_and_the_known_messages_named(text: str):
    error = invalid(text)
    assert error.code is ErrorCode.UNKNOWN_TYPE
    assert "JoinRoom, LeaveRoom, Chat, CursorMove, Typing, Ping" in str(error)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"type":"Chat"}', "Chat: payload:"),
        ('{"type":"Chat","payload":null}', "Chat: payload:"),
        ('{"type":"Chat","payload":[]}', "Chat: payload:"),
        ('{"type":"Chat","payload":"hi"}', "Chat: payload:"),
        (message("Chat"), "Chat: payload.content:"),
        (message("Chat", content=5), "Chat: payload.content:"),
        (message("Chat", content=None), "Chat: payload.content:"),
        (message("Chat", content="hi", id="no-uuid"), "Chat: payload.id:"),
        (message("JoinRoom"), "JoinRoom: payload.room_id:"),
        (message("JoinRoom", room_id="lobby"), "JoinRoom: payload.room_id:"),
        (message("JoinRoom", room_id=""), "JoinRoom: payload.room_id:"),
        (message("JoinRoom", room_id=ROOM + "0"), "JoinRoom: payload.room_id:"),
        (message("JoinRoom", room_id=7), "JoinRoom: payload.room_id:"),
        (message("JoinRoom", room_id=[ROOM]), "JoinRoom: payload.room_id:"),
        (message("JoinRoom", room_id=ROOM, since=-1), "JoinRoom: payload.since:"),
        (message("JoinRoom", room_id=ROOM, since=True), "JoinRoom: payload.since:"),
        (message("JoinRoom", room_id=ROOM, since="1"), "JoinRoom: payload.since:"),
        (message("JoinRoom", room_id=ROOM, since=1.0), "JoinRoom: payload.since:"),
        (message("JoinRoom", room_id=ROOM, epoch="e" * 65), "JoinRoom: payload.epoch:"),
        (message("CursorMove", y=0), "CursorMove: payload.x:"),
        (message("CursorMove", x="1", y=0), "CursorMove: payload.x:"),
        (message("CursorMove", x=True, y=0), "CursorMove: payload.x:"),
        (message("CursorMove", x=0, y=None), "CursorMove: payload.y:"),
        (message("CursorMove", x=0, y=0, element_id=1), "CursorMove: payload.element_id:"),
        (message("CursorMove", x=0, y=0, element_id="e" * 257), "CursorMove: payload.element_id:"),
        (message("Typing"), "Typing: payload.is_typing:"),
        (message("Typing", is_typing=1), "Typing: payload.is_typing:"),
        (message("Typing", is_typing="true"), "Typing: payload.is_typing:"),
        (message("Broadcast", event="x"), "Broadcast: payload.data:"),
        (message("Broadcast", event="two words", data=1), "Broadcast: payload.event:"),
        (message("Broadcast", event="x\n", data=1), "Broadcast: payload.event:"),
        (message("Broadcast", event="x" * 65, data=1), "Broadcast: payload.event:"),
        (message("Broadcast", event="x", data=1, key=""), "Broadcast: payload.key:"),
        (message("Broadcast", event="x", data=1, key="k" * 129), "Broadcast: payload.key:"),
        (message("Broadcast", event="x", data={"a": [float("nan")]}), "Broadcast: payload.data: numbers"),
        ('{"type":"Broadcast","payload":{"event":"x","data":-1e999}}', "Broadcast: payload.data: numbers"),
    ],
)
def test_a_missing_or_wrong_field_is_named(text: str, field: str):
    error = invalid(text)
    assert error.code is ErrorCode.INVALID_MESSAGE
    assert str(error).startswith(field)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400])
def test_coordinates_must_be_finite(number: str):
    error = invalid(f'{{"type":"CursorMove","payload":{{"x":0,"y":{number}}}}}')
    assert error.code is ErrorCode.INVALID_MESSAGE
    assert str(error).startswith("CursorMove: payload.y:")


def test_a_sequence_that_no_stream_can_reach_is_refused():
    error = invalid(f'{{"type":"JoinRoom","payload":{{"room_id":"{ROOM}","since":1{"0" * 400}}}}}')
    assert str(error).startswith("JoinRoom: payload.since:")


@pytest.mark.parametrize("text", ["\ud800", '{"type":"\udfff"}', '{"type":"Chat","payload":{"content":"\ud800"}}'])
def test_text_that_is_not_unicode_is_refused(text: str):
    assert invalid(text).code is ErrorCode.INVALID_JSON


HALVES = [r"\ud800", r"x\udfffx", r"\ud83d", r"\ude00\ud83d", r"\uD83D\\uDE00"]


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"type":"Chat","payload":{"content":"HALF"}}', "Chat: payload.content:"),
        ('{"type":"Chat","payload":{"content":"x","id":"HALF"}}', "Chat: payload.id:"),
        ('{"type":"CursorMove","payload":{"x":0,"y":0,"element_id":"HALF"}}', "CursorMove: payload.element_id:"),
        ('{"type":"JoinRoom","payload":{"room_id":"HALF"}}', "JoinRoom: payload.room_id:"),
        ('{"type":"Authenticate","payload":{"token":"HALF"}}', "Authenticate: payload.token:"),
        ('{"type":"Broadcast","payload":{"event":"x","data":[{"a":"HALF"}]}}', "Broadcast: payload.data:"),
        ('{"type":"Broadcast","payload":{"event":"x","data":{"HALF":1}}}', "Broadcast: payload.data:"),
        ('{"type":"Broadcast","payload":{"event":"x","data":1,"key":"HALF"}}', "Broadcast: payload.key:"),
        ('{"type":"Typing","payload":{"is_typing":true,"HALF":1}}', "message:"),
        ('{"type":"HALF"}', "message:"),
        ('[["HALF"]]', "message:"),
    ],
)
def test_half_of_a_surrogate_pair_is_refused_and_named(text: str, field: str, half: str):
    error = invalid(text.replace("HALF", half))
    assert error.code is ErrorCode.INVALID_MESSAGE
    assert str(error).startswith(field)
    assert "surrogate" in str(error)


def test_a_whole_surrogate_pair_is_a_character():
    decoded = decode_client_message(r'{"type":"Chat","payload":{"content":"\ud83d\ude00"}}')
    assert "\U0001f600".encode() in encode(decoded)


ID = "1e57ab1e-2222-4333-8444-555566667777"


@pytest.mark.parametrize(
    "rest",
    [
        r'"content":"\ud800",',
        '"content":5,',
        '"content":null,',
        "",
        '"content":{"id":1},',
        r'"content":"x","\udfff":1,',
    ],
)
def test_a_refused_chat_message_is_reported_with_its_id(rest: str):
    for spelling in (ID, ID.upper(), f"urn:uuid:{ID}"):
        assert invalid(f'{{"type":"Chat","payload":{{{rest}"id":"{spelling}"}}}}').about == ID
    assert invalid(f'{{"payload":{{"id":"{ID}",{rest}"z":[{"[" * 300}]{"]" * 300}}},"type":"Chat"}}').about == ID


@pytest.mark.parametrize(
    "text",
    [
        f'{{"type":"Chat","payload":{{"content":"x","id":"{ID}"}}',
        f'{{"type":"Chat","payload":{{"id":"{ID}!"}}}}',
        f'{{"type":"Chat","payload":{{"id":["{ID}"]}}}}',
        f'{{"type":"Chat","payload":[{{"id":"{ID}"}}]}}',
        f'{{"type":"Typing","payload":{{"id":"{ID}"}}}}',
        f'{{"type":"Shout","payload":{{"id":"{ID}"}}}}',
        "[" * 100_000,
    ],
)
def test_text_other_than_a_chat_message_with_an_id_has_none(text: str):
    assert invalid(text).about is None


REFUSALS = {ErrorCode.INVALID_JSON, ErrorCode.UNKNOWN_TYPE, ErrorCode.INVALID_MESSAGE}


def attempt(text: str) -> ClientMessage | InvalidMessage:
    """The message, or why it is none; any other exception fails the test."""
    try:
        return decode_client_message(text)
    except InvalidMessage as error:
        return error


def is_sound(outcome: ClientMessage | InvalidMessage) -> bool:
    if isinstance(outcome, InvalidMessage):
        return outcome.code in REFUSALS and bool(str(outcome))
    return attempt(encode(outcome).decode()) == outcome


@given(st.text())
def test_arbitrary_text_is_a_message_or_refused_with_a_code(text: str):
    assert is_sound(attempt(text))


@given(st.sampled_from([*CLIENT.values(), *FIRST_CLIENT.values()]), st.data())
def test_a_damaged_message_is_a_message_or_refused(text: str, data: st.DataObject):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 8)))
    scraps = ["", '"', "{", "}", "[", ",", ":", "\\", "\\u", "null", "-", "9" * 30, "\0", "NaN", "1e5000"]
    scrap = data.draw(st.sampled_from(scraps) | st.text(max_size=4))
    assert is_sound(attempt(text[:start] + scrap + text[end:]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(["room_id", "since", "epoch", "content", "id", "x", "y", "element_id", "is_typing"])


@given(st.sampled_from([*CLIENT]), st.dictionaries(FIELDS, JSON, max_size=4) | JSON)
def test_a_message_with_an_arbitrary_payload_is_valid_or_refused(name: str, payload: Any):
    assert is_sound(attempt(json.dumps({"type": name.split(".")[1], "payload": payload})))


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_position_survives_the_wire(x: float, y: float):
    move = decode_client_message(message("CursorMove", x=x, y=y))
    assert isinstance(move, CursorMove)
    again = decode_client_message(encode(move).decode())
    assert (move.payload.x, move.payload.y, again) == (x, y, move)


# --- the schema --------------------------------------------------------------------------------------------


def validator(direction: str) -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{direction}", "$defs": json_schema()["$defs"]})


def test_the_schema_is_a_valid_schema():
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("name", CLIENT)
def test_messages_of_clients_fit_the_schema(name: str):
    validator("ClientMessage").validate(json.loads(CLIENT[name]))


@pytest.mark.parametrize("name", FIRST_CLIENT)
def test_messages_of_clients_of_the_first_protocol_fit_the_schema(name: str):
    validator("ClientMessage").validate(json.loads(SEED[name]))


@pytest.mark.parametrize("name", SERVER)
def test_messages_of_the_server_fit_the_schema(name: str):
    validator("ServerMessage").validate(json.loads(SERVER[name]))


@pytest.mark.parametrize("text", ['{"type":"Nope"}', '{"type":"JoinRoom"}', message("Typing", is_typing=1)])
def test_text_other_than_a_message_does_not_fit_the_schema(text: str):
    assert not validator("ClientMessage").is_valid(json.loads(text))


def test_the_whole_schema_takes_both_directions():
    jsonschema = pytest.importorskip("jsonschema")
    whole = jsonschema.Draft202012Validator(json_schema())
    assert all(whole.is_valid(json.loads(OURS[name])) for name in ("client.JoinRoom", "server.JoinedRoom"))
