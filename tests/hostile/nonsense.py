"""Attacks with malformed data."""

import base64
from collections import Counter
from urllib.parse import quote
from uuid import uuid4

from tests.hostile.stranger import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    Answers,
    Stranger,
    Target,
    again_and_again,
    flooded,
    message,
    request,
)
from tests.support.frames import frame_bytes

_JSON = "Content-Type: application/json"
_DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
NO_IDS = (
    "*", ">", "room.>", "a.b.c", "$KV.presence.>", "", " ", "\u0000", "\r\nPUB a 0\r\n\r\n", "../../etc/passwd",
    "%2e%2e", "550e8400-e29b-41d4-a716-44665544000*", "550e8400-e29b-41d4-a716-446655440000.>", "x" * 10_000,
    "550e8400.e29b.41d4.a716.446655440000",
)  # fmt: skip
"""Subjects, wildcards and other texts that are not ids."""


async def invalid_utf8(target: Target, seconds: float) -> Answers:
    """A character that begins in one fragment and becomes none in the next."""
    fragments = frame_bytes(TEXT, b"caf\xf4", fin=False) + frame_bytes(CONTINUATION, b"\x90\x80\x80")
    return await again_and_again(seconds, lambda: flooded(target, b"", first=fragments))


async def broken_cursors(target: Target, seconds: float) -> Answers:
    """More cursors than allowed. The gateway would look only at the newest, which is not text."""

    async def one() -> Answers:
        async with Stranger.upgraded(target) as stranger:
            await stranger.send(message("JoinRoom", {"room_id": str(uuid4())}))
            await stranger.expect("JoinedRoom")
            await stranger.send(message("CursorMove", {"x": 1, "y": 2}) * 400)
            await stranger.send(frame_bytes(TEXT, b'{"type":"CursorMove"\xff'))
            return Counter([await stranger.outcome()])

    return await again_and_again(seconds, one)


async def compressed_frames(target: Target, seconds: float) -> Answers:
    """Compression is asked for, and used though it was not agreed to."""

    async def one() -> Answers:
        async with Stranger.connected(target) as stranger:
            accepted = "sec-websocket-extensions" in (await stranger.upgrade(more=_DEFLATE)).lower()
            await stranger.send(frame_bytes(TEXT, b"\xaa\x56\x2a\xa9\x2c\x48\x55\xb2", rsv1=True) * 100)
            return Counter([await stranger.outcome(), *(["compressed"] if accepted else [])])

    return await again_and_again(seconds, one)


async def broken_frames(target: Target, seconds: float) -> Answers:
    """Unknown opcodes, frames without mask, control frames in fragments, and a lot after each."""

    async def one() -> Answers:
        got: Answers = Counter()
        for broken in (
            frame_bytes(3, b"x"), frame_bytes(0xB, b"x"), b"\x81\x05hello", frame_bytes(PING, b"x", fin=False),
            frame_bytes(CLOSE, b"\x03"), frame_bytes(CLOSE, b"\x03\xed"), frame_bytes(CONTINUATION, b"x"),
        ):  # fmt: skip
            got += await flooded(target, b"x" * 100_000, first=broken)
        return got

    return await again_and_again(seconds, one)


async def binary_messages(target: Target, seconds: float) -> Answers:
    return await again_and_again(seconds, lambda: flooded(target, frame_bytes(BINARY, b"\x00" * 60_000) * 10))


async def json_bombs(target: Target, seconds: float) -> Answers:
    """Deep, long, and not what it looks like."""
    bombs = [
        b"[" * 60_000,
        b'{"type":"Chat","payload":' + b'{"a":' * 12_000,
        b'{"type":"CursorMove","payload":{"x":' + b"9" * 60_000 + b',"y":1}}',
        b'{"type":"CursorMove","payload":{"x":1e999999999,"y":1}}',
        b'{"type":"Chat","payload":{"content":"\\ud800"}}',
        b'{"type":"JoinRoom","payload":{"room_id":"550e8400-e29b-41d4-a716-446655440000","since":'
        + b"1" * 5000
        + b"}}",
        b'{"type":"' + b"x" * 60_000 + b'"}',
        b"\x00" * 1000,
    ]

    async def one() -> Answers:
        async with Stranger.upgraded(target) as stranger:
            for bomb in bombs:
                await stranger.send(frame_bytes(TEXT, bomb))
                await stranger.expect("Error")
            return stranger.received

    return await again_and_again(seconds, one)


async def header_bombs(target: Target, seconds: float) -> Answers:
    async def one() -> Answers:
        got: Answers = Counter()
        for bomb in (
            ["X-Bomb: " + "x" * 2_000_000], [f"X-{number}: x" for number in range(50_000)],
            ["Cookie: " + "a=b; " * 20_000], ["Sec-WebSocket-Protocol: " + "studyroom, " * 8_000],
        ):  # fmt: skip
            async with Stranger.connected(target) as stranger:
                await stranger.send(request("/ws", *bomb))
                got += await stranger.statuses()
        return got

    return await again_and_again(seconds, one)


async def body_bombs(target: Target, seconds: float) -> Answers:
    """From somebody who has no key."""
    path = f"/api/v1/rooms/{uuid4()}/messages"

    async def one() -> Answers:
        got: Answers = Counter()
        for length in ("Content-Length: 1000000000", "Transfer-Encoding: chunked"):
            async with Stranger.connected(target) as stranger:
                await stranger.send(request(path, _JSON, length, method="POST"))
                await stranger.send_until_ended(
                    (b"" if "Content" in length else b"10000\r\n") + b" " * 65_536 + b"\r\n"
                )
                got += await stranger.statuses()
        async with Stranger.connected(target) as stranger:
            await stranger.send(request(path, _JSON, "Content-Length: 70000", method="POST") + b" " * 70_000)
            return got + await stranger.statuses()

    return await again_and_again(seconds, one)


async def wildcards_for_ids(target: Target, seconds: float) -> Answers:
    """Subjects and wildcards of NATS wherever an id is due."""

    async def one() -> Answers:
        async with Stranger.upgraded(target) as stranger:
            for no_id in NO_IDS:
                for bad in (
                    message("JoinRoom", {"room_id": no_id}),
                    message("Chat", {"content": "x", "id": no_id}),
                    message("JoinRoom", {"room_id": str(uuid4()), "since": no_id}),
                    message(no_id),
                ):
                    await stranger.send(bad)
                    await stranger.expect("Error")
            got = stranger.received
        for no_id in NO_IDS:
            for path in (
                f"/api/v1/rooms/{quote(no_id, safe='')}/roster", f"/api/v1/rooms?after=7-{quote(no_id, safe='')}x",
                f"/api/v1/rooms/{quote(no_id)}/messages?before={quote(no_id)}", f"/{quote(no_id)}",
            ):  # fmt: skip
                async with Stranger.connected(target) as stranger:
                    await stranger.send(request(path, "Connection: close"))
                    got = got + await stranger.statuses()
        return got

    return await again_and_again(seconds, one, at_once=1)


async def bad_tokens(target: Target, seconds: float) -> Answers:
    """Bad tokens of every kind, in the handshake, over HTTP, and by message."""
    headers = [
        b'{"alg":"none"}',
        b'{"alg":"HS256","crit":["\\ud800"]}',
        b"[" * 9000,
        b'{"alg":"RS256","kid":"../../x"}',
    ]
    tokens = [_unsigned(header) for header in headers] + ["", "a.b.c", "x" * 16_000]

    async def one() -> Answers:
        got: Answers = Counter()
        for token in tokens:
            async with Stranger.connected(target) as stranger:
                got[(await stranger.upgrade(path=f"/ws?access_token={token}")).split(" ")[1]] += 1
            async with Stranger.connected(target) as stranger:
                await stranger.send(request("/api/v1/rooms", f"Authorization: Bearer {token}", "Connection: close"))
                got += await stranger.statuses()
        async with Stranger.upgraded(target) as stranger:
            for token in tokens:
                await stranger.send(message("Authenticate", {"token": token}))
                await stranger.expect("Error")
            return got + stranger.received

    return await again_and_again(seconds, one)


def _unsigned(header: bytes) -> str:
    parts = (header, b'{"sub":"eve","exp":4102444800}', b"")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
