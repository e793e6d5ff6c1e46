"""Attacks that are too much, or too slow."""

import asyncio
import time
from collections import Counter
from itertools import cycle
from uuid import uuid4

from tests.hostile.stranger import (
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
from tests.support.frames import frame_bytes, frame_header

_PLENTY = 2000
"""Frames that are sent in one piece."""
_HALF_OPEN = 200

# --- too much ----------------------------------------------------------------------------------------------


async def message_flood(target: Target, seconds: float) -> Answers:
    return await again_and_again(seconds, lambda: flooded(target, message("Ping") * _PLENTY))


async def chat_flood(target: Target, seconds: float) -> Answers:
    async def one() -> Answers:
        async with Stranger.upgraded(target) as stranger:
            await stranger.send(message("JoinRoom", {"room_id": str(uuid4())}))
            await stranger.expect("JoinedRoom")
            return Counter([await stranger.flood(message("Chat", {"content": "x" * 500}) * 500)])

    return await again_and_again(seconds, one)


async def ping_flood(target: Target, seconds: float) -> Answers:
    return await again_and_again(seconds, lambda: flooded(target, frame_bytes(PING, b"x" * 125) * _PLENTY))


async def deaf_ping_flood(target: Target, seconds: float) -> Answers:
    """Nothing is read until nothing more is taken."""

    async def one() -> Answers:
        async with Stranger.upgraded(target) as stranger:
            await stranger.send_until_ended(frame_bytes(PING, b"x" * 125) * _PLENTY)
            return Counter([await stranger.outcome()])

    return await again_and_again(seconds, one)


async def empty_fragments(target: Target, seconds: float) -> Answers:
    empty = frame_bytes(TEXT, b"", fin=False), frame_bytes(CONTINUATION, b"", fin=False) * _PLENTY
    return await again_and_again(seconds, lambda: flooded(target, empty[1], first=empty[0]))


async def endless_fragments(target: Target, seconds: float) -> Answers:
    first, more = frame_bytes(TEXT, b"x" * 1000, fin=False), frame_bytes(CONTINUATION, b"x" * 1000, fin=False)
    return await again_and_again(seconds, lambda: flooded(target, more * 20, first=first))


async def huge_frames(target: Target, seconds: float) -> Answers:
    """One byte more than a message may have, and as much as a header can say."""

    async def one() -> Answers:
        got: Answers = Counter()
        for size in (65_537, 1 << 30, (1 << 62) + 1, (1 << 63) + 1):
            got += await flooded(target, b"x" * 100_000, first=frame_header(0x81, size))
        return got

    return await again_and_again(seconds, one)


async def join_storm(target: Target, seconds: float) -> Answers:
    """Another room with each message, as fast as a client may and faster."""

    async def one() -> Answers:
        async with Stranger.upgraded(target) as stranger, stranger.reading():
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                await stranger.send(message("JoinRoom", {"room_id": str(uuid4())}))
                await asyncio.sleep(0.008)  # a little more often than a client may
            return stranger.received

    return await again_and_again(seconds, one, at_once=4)


async def handshake_storm(target: Target, seconds: float) -> Answers:
    async def one() -> Answers:
        async with Stranger.connected(target) as stranger:
            return Counter([(await stranger.upgrade()).split(" ")[1]])

    return await again_and_again(seconds, one, at_once=16)


async def http_flood(target: Target, seconds: float) -> Answers:
    """Pipelined, and answered as fast as it is read."""

    async def one() -> Answers:
        roster, last = request(f"/api/v1/rooms/{uuid4()}/roster"), request("/health", "Connection: close")
        async with Stranger.connected(target) as stranger:
            await stranger.send(roster * 20 + last)
            return await stranger.statuses()

    return await again_and_again(seconds, one, at_once=8)


# --- too slow ----------------------------------------------------------------------------------------------


async def pipelined_requests(target: Target, seconds: float) -> Answers:
    """Requests that do not wait for the answers to those before them."""

    async def one() -> Answers:
        async with Stranger.connected(target) as stranger, stranger.sending(request("/nowhere") * _PLENTY):
            return await stranger.statuses()

    return await again_and_again(seconds, one)


async def empty_lines(target: Target, seconds: float) -> Answers:
    """A request that is answered, and then lines that begin none."""

    async def one() -> Answers:
        async with Stranger.connected(target) as stranger:
            await stranger.send(request("/health"))
            await stranger.head()
            await stranger.send(b"\r\n")
            return await stranger.statuses()

    return await again_and_again(seconds, one, at_once=10)


async def half_open_requests(target: Target, seconds: float) -> Answers:
    """Heads and bodies that never end, a byte now and then."""
    beginnings = cycle(
        (
            request("/ws", "X-Slow: x").removesuffix(b"\r\n\r\n"),
            request(f"/api/v1/rooms/{uuid4()}/messages", "Content-Length: 60000", method="POST"),
        )
    )

    async def one() -> Answers:
        async with Stranger.connected(target) as stranger:
            await stranger.send(next(beginnings))
            while await stranger.send(b"x"):
                await asyncio.sleep(0.1)  # the attack itself
            return await stranger.statuses()

    return await again_and_again(seconds, one, at_once=_HALF_OPEN)


async def dead_connections(target: Target, seconds: float) -> Answers:
    """Open, in a room, and silent from then on: pings stay without an answer."""

    async def one() -> Answers:
        async with Stranger.upgraded(target) as stranger:
            await stranger.send(message("JoinRoom", {"room_id": str(uuid4())}))
            return Counter([await stranger.outcome()])

    return await again_and_again(seconds, one, at_once=_HALF_OPEN)


async def slow_readers(target: Target, seconds: float) -> Answers:
    """They ask for a long history again and again and read nothing of it."""
    room = str(uuid4())
    async with Stranger.upgraded(target) as talker:
        await talker.send(message("JoinRoom", {"room_id": room}))
        await talker.expect("JoinedRoom")
        for _ in range(30):
            await talker.send(message("Chat", {"content": "x" * 4000}))
            await talker.expect("Chat")

        async def one() -> Answers:
            async with Stranger.upgraded(target) as stranger:
                join = message("JoinRoom", {"room_id": room})
                deadline = time.monotonic() + 10
                while time.monotonic() < deadline and await stranger.send(join):
                    await asyncio.sleep(0.01)  # about as often as a client may
                return Counter([await stranger.outcome()])

        return await again_and_again(seconds, one, at_once=8)
