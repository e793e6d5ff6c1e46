"""After any interruption a client gets exactly the missed messages, or learns that it must start again."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from nats.aio.client import Client as Nats

from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import encode_stored
from studyroom.shared.contract.ids import MessageId, RoomId, UserId
from tests.support.client import Client, clients
from tests.support.presence import chat_history, connected
from tests.support.processes import EmbeddedStack, embedded_stack, running
from tests.support.waiting import eventually

SHOWN = 50
"""The default."""
MOST_RESUMED = 300
KEPT = 20

Json = dict[str, Any]


async def store_chat(bus: Nats, room: str, *contents: str) -> list[int]:
    """Stores chat as if a gateway had published it. Returns the sequences."""
    found = []
    for content in contents:
        data = encode_stored(UserId(str(uuid4())), "Ada", content, 1_700_000_000, MessageId(str(uuid4())))
        found.append((await bus.jetstream().publish(subjects.chat(RoomId(room)), data)).seq)
    return found


def numbered(first: int, count: int) -> list[str]:
    return [str(number) for number in range(first, first + count)]


async def join(client: Client, room: str, **resume: Any) -> tuple[Json, list[Json]]:
    """The payload of `JoinedRoom`, and the messages that follow it at once."""
    await client.send("JoinRoom", {"room_id": room, **resume})
    joined = await client.expect("JoinedRoom")
    return joined, [await client.expect("Chat") for _ in range(joined["history"])]


def contents(lines: list[Json]) -> list[str]:
    return [line["content"] for line in lines]


async def test_a_newcomer_gets_the_newest_messages_in_order_and_then_new_messages(stack: EmbeddedStack, room: str):
    async with connected(stack.nats_url) as bus, clients(*stack.gateways) as (ann, bob):
        sequences = await store_chat(bus, room, *numbered(0, 60))
        for client in (ann, bob):
            joined, lines = await join(client, room)
            assert contents(lines) == numbered(60 - SHOWN, SHOWN)
            assert joined["last_seq"] == sequences[-1] == lines[-1]["seq"]
            assert "recovered" not in joined
        await ann.chat("new")
        assert (await bob.expect("Chat"))["content"] == "new"


async def test_a_room_without_chat_has_a_position_all_the_same(stack: EmbeddedStack, room: str):
    async with connected(stack.nats_url) as bus, clients(*stack.gateways) as (ann, bob):
        joined, lines = await join(ann, room)
        await ann.drop()
        await store_chat(bus, room, *numbered(0, 70))
        resumed, missed = await join(bob, room, since=joined["last_seq"], epoch=joined["epoch"])

    assert lines == []
    assert resumed["recovered"] is True
    assert contents(missed) == numbered(0, 70)


@pytest.mark.parametrize("count", [0, 3, 200])
async def test_a_client_that_comes_back_gets_exactly_the_missed_messages(stack: EmbeddedStack, room: str, count: int):
    """Also from another gateway, and when it is more than the gateway remembers."""
    async with connected(stack.nats_url) as bus, clients(*stack.gateways, stack.gateways[0]) as (ann, bob, cem):
        await store_chat(bus, room, *numbered(0, 5))
        joined, _ = await join(ann, room)
        await join(cem, room)
        await ann.drop()
        await store_chat(bus, room, *numbered(5, count))
        resumed, missed = await join(bob, room, since=joined["last_seq"], epoch=joined["epoch"])
        await cem.chat("live")
        live = await bob.expect("Chat")

    assert resumed["recovered"] is True
    assert contents(missed) == numbered(5, count)
    assert live["content"] == "live"
    assert resumed["last_seq"] < live["seq"]


async def test_a_position_that_this_gateway_has_not_reached_yet_is_reached_first(stack: EmbeddedStack, room: str):
    async with connected(stack.nats_url) as bus, clients(*stack.gateways) as (ann, bob):
        first, _ = await join(ann, room)
        await store_chat(bus, str(uuid4()), "elsewhere")
        later, _ = await join(bob, room)
        assert later["last_seq"] > first["last_seq"]
        await bob.drop()
        resumed, missed = await join(ann, room, since=later["last_seq"], epoch=later["epoch"])

    assert (resumed["recovered"], missed) == (True, [])


@asynccontextmanager
async def chatter(bus: Nats, room: str) -> AsyncIterator[None]:
    """Somebody talks without a pause."""

    enough = asyncio.Event()

    async def talk() -> None:
        while not enough.is_set():
            await store_chat(bus, room, "blah")
            await asyncio.sleep(0.001)

    talking = asyncio.create_task(talk())
    try:
        yield
    finally:
        enough.set()
        await talking


async def test_at_the_seam_nothing_is_missing_and_nothing_comes_twice(stack: EmbeddedStack, room: str):
    """Twenty clients come back again and again, to either gateway, while somebody talks without a pause."""
    seen: list[list[int]] = [[] for _ in range(20)]

    async def visit(index: int) -> None:
        resume: Json = {}
        for turn in range(8):
            client = await Client.connect(stack.gateways[(index + turn) % 2])
            joined, _ = await join(client, room, **resume)
            assert joined.get("recovered") is (True if resume else None)
            await asyncio.sleep(0.02 * (index % 5))
            await client.drop()
            own = [line["seq"] for line in client.payloads("Chat")]
            seen[index] += own
            resume = {"since": own[-1] if own else joined["last_seq"], "epoch": joined["epoch"]}

    async with connected(stack.nats_url) as bus:
        await store_chat(bus, room, *numbered(0, SHOWN))
        async with chatter(bus, room):
            await asyncio.gather(*(visit(index) for index in range(20)))
        history = await chat_history(bus, room)
    for sequences in seen:
        start = history.index(sequences[0])
        assert sequences == history[start : start + len(sequences)]
        assert len(sequences) > SHOWN


async def test_a_position_of_another_epoch_or_an_impossible_position_starts_again(stack: EmbeddedStack, room: str):
    async with connected(stack.nats_url) as bus, clients(*stack.gateways) as (ann, bob):
        sequences = await store_chat(bus, room, *numbered(0, 60))
        epoch = (await join(ann, room))[0]["epoch"]
        for resume in (
            {"since": sequences[10], "epoch": "another"},
            {"since": sequences[10]},
            {"since": 2**62, "epoch": epoch},
        ):
            joined, lines = await join(bob, room, **resume)
            assert joined["recovered"] is False
            assert contents(lines) == numbered(60 - SHOWN, SHOWN)


async def test_a_repeated_message_is_answered_by_any_gateway_and_stored_once(stack: EmbeddedStack, room: str):
    async with connected(stack.nats_url) as bus, clients(*stack.gateways) as (ann, bob):
        await join(ann, room)
        await join(bob, room)
        message = str(uuid4())
        await ann.chat("once", id=message)
        first = await ann.expect("Chat")
        await ann.chat("once", id=message)
        assert await ann.expect("Chat") == first
        await bob.expect("Chat")
        await bob.settle()
        assert len(await chat_history(bus, room)) == 1
        assert bob.types().count("Chat") == 1
        assert ann.welcome["chat_retry_seconds"] == 120


# --- lost chat --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """Keeps few messages of a room."""
    stack = embedded_stack(
        tmp_path_factory.mktemp("forgetful"),
        STUDYROOM_STORAGE_CHAT_MAX_MESSAGES_PER_ROOM=str(KEPT),
    )
    with running(stack):
        yield stack


@pytest.mark.parametrize("hosted", [False, True])
async def test_a_client_that_missed_messages_that_are_no_longer_stored_starts_again(
    forgetful: EmbeddedStack, room: str, hosted: bool
):
    async with connected(forgetful.nats_url) as bus, clients(*forgetful.gateways) as (ann, bob):
        sequences = await store_chat(bus, room, *numbered(0, 100))
        joined, lines = await join(ann, room)
        assert contents(lines) == numbered(100 - KEPT, KEPT)
        await (ann.settle() if hosted else ann.leave())
        bob_at, epoch = (ann if hosted else bob), joined["epoch"]
        for since, recovered in ((sequences[50], False), (sequences[100 - KEPT], True), (sequences[-1], True)):
            resumed, missed = await join(bob_at, room, since=since, epoch=epoch)
            assert resumed["recovered"] is recovered
            behind = numbered(0, 100)[sequences.index(since) + 1 :]
            assert contents(missed) == (behind if recovered else numbered(100 - KEPT, KEPT))


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """Resumes little, and shows no history."""
    stack = embedded_stack(
        tmp_path_factory.mktemp("strict"),
        gateways=1,
        presence=1,
        STUDYROOM_GATEWAY_RESUME_MAX_MESSAGES=str(MOST_RESUMED),
        STUDYROOM_GATEWAY_HISTORY_ON_JOIN="0",
    )
    with running(stack):
        yield stack


async def test_a_client_that_missed_too_much_starts_again_and_resuming_works_where_no_history_is_shown(
    strict: EmbeddedStack, room: str
):
    async with connected(strict.nats_url) as bus, clients(*strict.gateways) as (ann,):
        sequences = await store_chat(bus, room, *numbered(0, MOST_RESUMED + 2))
        joined, lines = await join(ann, room)
        assert (lines, joined["last_seq"]) == ([], sequences[-1])
        for since, expected in ((sequences[0], None), (sequences[1], MOST_RESUMED), (sequences[-3], 2)):
            resumed, missed = await join(ann, room, since=since, epoch=joined["epoch"])
            assert resumed["recovered"] is (expected is not None)
            assert len(missed) == (expected or 0)


async def test_a_newcomer_gets_no_messages_that_are_too_old(tmp_path_factory: pytest.TempPathFactory, room: str):
    stack = embedded_stack(
        tmp_path_factory.mktemp("short"),
        gateways=1,
        presence=1,
        STUDYROOM_STORAGE_CHAT_MAX_AGE_SECONDS="3",
        STUDYROOM_STORAGE_CHAT_DUPLICATE_WINDOW_SECONDS="2",
    )
    with running(stack):
        async with connected(stack.nats_url) as bus, clients(*stack.gateways * 2) as (ann, bob):
            joined, _ = await join(ann, room)
            await ann.chat("short-lived")
            since = (await ann.expect("Chat"))["seq"]
            assert contents((await join(bob, room))[1]) == ["short-lived"]
            await bob.leave()

            async def expired() -> bool:
                return not await chat_history(bus, room)

            await eventually(expired, "the message expires")
            assert (await join(bob, room))[1] == []
            resumed, missed = await join(bob, room, since=since, epoch=joined["epoch"])
            assert (resumed["recovered"], missed) == (True, [])
