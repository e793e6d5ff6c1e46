"""Mistakes of a client: answered with a code on a connection that stays usable, or closed with the right code."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.frames import Opcode

from tests.support.client import Client, clients
from tests.support.frames import frame_bytes
from tests.support.processes import EmbeddedStack
from tests.support.waiting import eventually

BAD_MESSAGES: list[tuple[str, str, str]] = [
    ("not JSON", "hello", "invalid_json"),
    ("half of JSON", '{"type":"Ping"', "invalid_json"),
    ("not an object", "[1,2]", "unknown_type"),
    ("no type", "{}", "unknown_type"),
    ("an unknown type", '{"type":"Explode"}', "unknown_type"),
    ("a server's type", '{"type":"Welcome","payload":{}}', "unknown_type"),
    ("a missing payload", '{"type":"JoinRoom"}', "invalid_message"),
    ("a missing field", '{"type":"JoinRoom","payload":{}}', "invalid_message"),
    ("a wrong field", '{"type":"Typing","payload":{"is_typing":"yes"}}', "invalid_message"),
    ("no UUID", '{"type":"JoinRoom","payload":{"room_id":"room.>"}}', "invalid_message"),
    ("NaN", '{"type":"CursorMove","payload":{"x":NaN,"y":1}}', "invalid_message"),
    ("Infinity", '{"type":"CursorMove","payload":{"x":1,"y":-Infinity}}', "invalid_message"),
    ("a number too large", '{"type":"CursorMove","payload":{"x":1e999,"y":1}}', "invalid_message"),
    ("chat outside a room", '{"type":"Chat","payload":{"content":"x"}}', "not_in_room"),
    ("a cursor outside a room", '{"type":"CursorMove","payload":{"x":1,"y":1}}', "not_in_room"),
    ("typing outside a room", '{"type":"Typing","payload":{"is_typing":true}}', "not_in_room"),
    ("leaving outside a room", '{"type":"LeaveRoom"}', "not_in_room"),
]


@pytest.mark.parametrize(("text", "code"), [bad[1:] for bad in BAD_MESSAGES], ids=[bad[0] for bad in BAD_MESSAGES])
async def test_a_bad_message_is_answered_and_the_connection_stays_usable(stack: EmbeddedStack, text: str, code: str):
    async with clients(stack.gateways[0]) as (ann,):
        await ann.socket.send(text)
        answer = await ann.next()
        await ann.settle()

    assert answer["type"] == "Error"
    assert answer["payload"]["code"] == code
    assert answer["payload"]["message"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "chat_empty"),
        (" \n\t", "chat_empty"),
        *((char, "chat_empty") for char in "\u200b\u2060\u3164\u2800\ufe0f"),
        ("x" * 4001, "chat_too_long"),
        ("x" * 65_000, "chat_too_long"),
        ("\ud83d", "invalid_message"),
        (5, "invalid_message"),
        (None, "invalid_message"),
    ],
    ids=[
        "nothing",
        "spaces",
        "U+200B",
        "U+2060",
        "U+3164",
        "U+2800",
        "U+FE0F",
        "too long",
        "as long as a frame may be",
        "half a pair",
        "a number",
        "null",
    ],
)
async def test_chat_needs_content_of_bounded_length_and_is_refused_by_its_id(
    stack: EmbeddedStack, room: str, content: str, code: str
):
    message_id = "00000000-0000-4000-8000-000000000001"
    async with clients(stack.gateways[0]) as (ann,):
        await ann.join(room)
        await ann.chat(content, id=message_id)
        refused = await ann.next()
        await ann.chat("x" * 4000)
        await ann.expect("Chat")

    assert refused["payload"]["code"] == code
    assert refused["payload"]["id"] == message_id


async def test_too_many_messages_while_joining_are_refused_and_the_others_are_carried_out(
    stack: EmbeddedStack, room: str
):
    async with clients(stack.gateways[0]) as (ann,):
        join = json.dumps({"type": "JoinRoom", "payload": {"room_id": room}})
        await ann.socket.send(join)
        for number in range(150):
            await ann.chat(str(number))
        await ann.chat("last", id="00000000-0000-4000-8000-0000000000ff")
        contents: list[str] = []
        refused = 0
        while len(contents) + refused < 151:
            message = await ann.next()
            contents += [message["payload"]["content"]] if message["type"] == "Chat" else []
            refused += message["type"] == "Error" and message["payload"]["code"] == "busy"

    numbers = [int(content) for content in contents if content != "last"]
    assert numbers == sorted(numbers)
    assert len(numbers) >= 64


async def close_after(stack: EmbeddedStack, send: Any) -> Client:
    async with clients(stack.gateways[0]) as (ann,):
        await send(ann.socket)
        await ann.ended()
    return ann


def raw(opcode: int, data: bytes, **options: bool) -> Any:
    async def send(socket: Any) -> None:
        socket.transport.write(frame_bytes(opcode, data, **options))

    return send


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (raw(Opcode.BINARY, b"\x00\x01"), 1003),
        (raw(Opcode.TEXT, b"\xff\xfe"), 1007),
        (raw(Opcode.TEXT, b"x" * 65_537), 1009),
        (raw(Opcode.CONT, b"x"), 1002),
        (raw(Opcode.TEXT, b"x", rsv1=True), 1002),
        (raw(Opcode.PING, b"x" * 126), 1002),
        (raw(Opcode.CLOSE, b"\x03"), 1002),
        (raw(Opcode.CLOSE, b"\x03\xed"), 1002),
        (raw(Opcode.CLOSE, b"\x03\xe8\xff"), 1007),
    ],
    ids=["binary", "not UTF-8", "over the limit", "continuation of nothing", "reserved bit", "long ping",
         "close of one byte", "close with a reserved code", "close reason not UTF-8"],
)  # fmt: skip
async def test_a_broken_frame_closes_the_connection_with_the_right_code(stack: EmbeddedStack, send: Any, code: int):
    closed = await close_after(stack, send)

    assert closed.close_code == code


@pytest.mark.parametrize(
    ("first", "code"), [(b"\x03\xe8", 1000), (b"\x10\xe1bye", 4321), (b"", 1005), (b"\x13\x88", 1002)],
    ids=["normal", "a code of its own", "no code", "a code that must not be sent"],
)  # fmt: skip
@pytest.mark.parametrize(
    "after", [frame_bytes(Opcode.CLOSE, b""), b"\x83\x80"], ids=["another close", "a broken frame"]
)
async def test_frames_after_a_close_frame_are_ignored(stack: EmbeddedStack, first: bytes, code: int, after: bytes):
    async def send(socket: Any) -> None:
        socket.transport.write(frame_bytes(Opcode.CLOSE, first) + after)

    assert (await close_after(stack, send)).close_code == code


async def test_fragments_over_the_limit_together_close_the_connection(stack: EmbeddedStack):
    async def send(socket: Any) -> None:
        await raw(Opcode.TEXT, b"x" * 40_000, fin=False)(socket)
        await raw(Opcode.CONT, b"x" * 40_000, fin=False)(socket)

    assert (await close_after(stack, send)).close_code == 1009


async def test_the_longest_chat_is_accepted_however_it_is_escaped(stack: EmbeddedStack, room: str):
    async with clients(stack.gateways[0]) as (ann,):
        await ann.join(room)
        await ann.chat("😀" * 4000)  # twelve characters of JSON each
        assert (await ann.expect("Chat"))["content"] == "😀" * 4000


async def test_nothing_follows_the_close_frame_of_a_broken_connection(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        await raw(3, b"")(ann.socket)
        for number in range(20):
            await bob.chat(str(number))
        await bob.settle()
        await ann.ended()

    assert ann.close_code == 1002


async def test_a_flood_of_pings_that_reads_no_answer_is_not_answered_without_bound(stack: EmbeddedStack):
    gateway = stack.of("gateway")[0]
    before = resident_bytes(gateway["pid"])
    async with clients(stack.gateways[0]) as (ann,):
        ann.socket.transport.pause_reading()
        flood = frame_bytes(Opcode.PING, b"x" * 125) * 8000
        for _ in range(60):
            ann.socket.transport.write(flood)
            await until_written(ann.socket)
        grown = resident_bytes(gateway["pid"]) - before
        ann.socket.transport.abort()
        await ann.ended()

    assert grown < 20_000_000


def resident_bytes(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


async def until_written(socket: Any) -> None:
    await eventually(lambda: socket.transport.get_write_buffer_size() < 1_000_000, "the flood is taken")


async def test_a_fragmented_message_with_pings_in_between_is_a_single_message(stack: EmbeddedStack, room: str):
    async with clients(stack.gateways[0]) as (ann,):
        await ann.join(room)
        message = json.dumps({"type": "Chat", "payload": {"content": "zerstückelt 😀"}}, ensure_ascii=False).encode()
        for index in range(len(message)):
            opcode = Opcode.TEXT if index == 0 else Opcode.CONT
            await raw(opcode, message[index : index + 1], fin=index == len(message) - 1)(ann.socket)
            if index % 10 == 0:
                await raw(Opcode.PING, b"in between")(ann.socket)
        chat = await ann.expect("Chat")

    assert chat["content"] == "zerstückelt 😀"


async def test_a_clean_close_is_answered_with_its_own_code(stack: EmbeddedStack):
    async with clients(stack.gateways[0]) as (ann,):
        await ann.socket.close(4321, "goodbye")
        assert await ann.ended() == 4321


async def test_a_ping_is_answered_with_its_payload(stack: EmbeddedStack):
    async with clients(stack.gateways[0]) as (ann,):
        waiter = await ann.socket.ping(b"payload")
        await waiter


async def test_compression_is_declined(stack: EmbeddedStack):
    async with websockets.connect(stack.gateways[0], compression="deflate") as socket:
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
