"""`studyroom.client` with real gateways: rooms, refusals, and lost connections and gateways while people write."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from studyroom.client import (
    BroadcastReceived,
    ChatReceived,
    ChatRemoved,
    Client,
    ConnectionStatus,
    Cursor,
    Disconnected,
    ErrorReceived,
    Heartbeat,
    HistoryReset,
    MemberUpdated,
    RoomStatus,
    StudyroomError,
)
from tests.support import backend
from tests.support.client import clients
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service
from tests.support.proxy import Link
from tests.support.python_client import DEADLINE_SECONDS, SOON, of_kind, within_deadline
from tests.support.tokens import SECRET, token_of
from tests.support.waiting import eventually

ADDRESS = "ws://127.0.0.1:9/ws"
"""Nobody listens there."""


@pytest.fixture(scope="module")
def strict(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A gateway that lets no guests in, takes short messages and can be moderated. A test may kill it and start it."""
    settings = {
        "STUDYROOM_GATEWAY_GUESTS": "false",
        "STUDYROOM_GATEWAY_JWT_SECRET": SECRET,
        "STUDYROOM_GATEWAY_CHAT_MAX_CHARS": "100",
        **backend.SETTINGS,
    }
    with running(service("gateway", tmp_path_factory.mktemp("strict"), stack.nats_url, **settings)) as ready:
        yield ready


async def test_everything_that_a_member_does_is_shown_to_the_others(stack: EmbeddedStack, room: str):
    first, second = stack.gateways
    async with Client(second, username="Bob") as bob:
        await bob.join(room)
        events = bob.events()
        async with Client(first, username="Ann") as ann:
            await ann.join(room.upper())
            stored = await ann.chat("Hello")
            assert (stored.username, stored.content, stored.is_stored, stored.own) == ("Ann", "Hello", True, True)
            ann.update_presence({"seat": 4, "hand": True})
            ann.update_presence({"hand": None})
            ann.move_cursor(1, 2, "note")
            ann.set_typing(True)
            await within_deadline(bob, lambda: bob.messages and bob.cursors and bob.typing and bob.members[0].presence)
            assert ann.broadcast("wave", {"times": 2}, key="k")
            assert await of_kind(events, BroadcastReceived) == BroadcastReceived(
                ann.user_id or "", "wave", {"times": 2}, "k"
            )
            await within_deadline(bob, lambda: bob.members[0].presence == {"seat": 4})
            assert [member.username for member in bob.members] == ["Ann"]
            assert bob.cursors == {ann.user_id: Cursor(1, 2, "note")}
            assert [(one.content, one.own) for one in bob.messages] == [("Hello", False)]
            assert ann.presence == {"seat": 4}
            assert ann.me is not None
            assert (ann.room.status, ann.state.status) == (RoomStatus.JOINED, ConnectionStatus.OPEN)
        await within_deadline(bob, lambda: not bob.members)
    assert ann.state.status is ConnectionStatus.CLOSED


async def test_a_room_that_is_left_shows_nothing_more_and_another_may_be_joined(stack: EmbeddedStack, room: str):
    other = str(uuid4())
    async with Client(stack.gateways[0]) as ann, Client(stack.gateways[1]) as bob:
        await ann.join(room)
        await bob.join(room)
        await within_deadline(ann, lambda: ann.members)
        await bob.join(other)
        await within_deadline(ann, lambda: not ann.members)
        assert (bob.room.room_id, bob.members) == (other, ())
        bob.leave()
        assert bob.room.status is RoomStatus.NONE
        with pytest.raises(StudyroomError, match="not_in_room"):
            await bob.chat("nowhere")
        assert bob.broadcast("wave") is False
        assert [member.user_id for member in await bob.roster(room)] == [ann.user_id]


async def test_a_program_pages_back_through_all_that_was_written(stack: EmbeddedStack, room: str):
    async with Client(stack.gateways[0], username="Ann") as ann, Client(stack.gateways[1]) as late:
        await ann.join(room)
        for number in range(60):
            await ann.chat(str(number))
        await late.join(room)
        await within_deadline(late, lambda: len(late.messages) == late.limits.history_length)
        assert late.has_more
        assert [message.content for message in await late.load_earlier(7)] == [str(number) for number in range(3, 10)]
        await late.load_earlier()
        assert [message.content for message in late.messages] == [str(number) for number in range(60)]
        assert (late.has_more, await late.load_earlier()) == (False, ())


async def test_a_guest_is_the_same_guest_with_the_token_of_an_earlier_client(stack: EmbeddedStack):
    async with Client(stack.gateways[0], username="Ann") as ann:
        await within_deadline(ann, lambda: ann.user_id)
    async with Client(stack.gateways[1], username="Ann", guest_token=ann.guest_token) as again:
        await within_deadline(again, lambda: again.user_id)
    assert again.user_id == ann.user_id


async def test_a_gateway_that_dies_while_people_write_loses_and_doubles_nothing(
    stack: EmbeddedStack, strict: ServiceProcess, room: str
):
    names = ("Ann", "Bob", "Cleo")
    async with AsyncExitStack() as inside:
        (watching,) = await inside.enter_async_context(clients(stack.gateways[0]))
        await watching.join(room)
        writing = [
            await inside.enter_async_context(Client(strict.url, token=token_of(str(uuid4()), name=name), backoff=SOON))
            for name in names
        ]
        for client in writing:
            await client.join(room)
        feeds = [client.events() for client in writing]
        lines = [f"{name} {number}" for name in names for number in range(12)]

        async def write(client: Client, name: str) -> None:
            async with asyncio.TaskGroup() as tasks:
                for number in range(12):
                    tasks.create_task(client.chat(f"{name} {number}"))

        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            for client, name in zip(writing, names, strict=True):
                tasks.create_task(write(client, name))
            await eventually(lambda: len(watching.payloads("Chat")) >= 6, "some messages are stored")
            strict.signal(signal.SIGKILL)
            await asyncio.to_thread(strict.wait)
            strict.start()
        await eventually(lambda: len(watching.payloads("Chat")) >= len(lines), "all messages have come")
        for client in writing:
            await within_deadline(client, lambda client=client: len(client.messages) == len(lines))
        seen = [chat["content"] for chat in watching.payloads("Chat")]
        assert Counter(seen) == Counter(lines)
        for name in names:
            mine = [content for content in seen if content.startswith(name)]
            assert mine == sorted(mine, key=lambda content: int(content.split()[1]))
        for client in writing:
            assert [message.content for message in client.messages] == seen
    for feed in feeds:
        got = [event async for event in feed]
        assert Counter(one.message.content for one in got if isinstance(one, ChatReceived)) == Counter(lines)
        assert HistoryReset() not in got
        assert next(one.reconnects for one in got if isinstance(one, Disconnected)) is True


def by(way: Link) -> str:
    return f"ws://127.0.0.1:{way.port}/ws"


async def test_a_client_that_was_away_gets_the_missed_messages_once_and_in_order(
    stack: EmbeddedStack, way: Link, room: str
):
    async with Client(by(way), username="Ann", backoff=SOON) as ann, Client(stack.gateways[1]) as bob:
        await ann.join(room)
        await bob.join(room)
        ann.update_presence({"seat": 1})
        await within_deadline(bob, lambda: bob.members[0].presence)
        await bob.chat("before")
        await within_deadline(ann, lambda: ann.messages)
        events = ann.events()
        way.cut()
        way.reset()
        await within_deadline(ann, lambda: ann.room.status is RoomStatus.JOINING)
        written = asyncio.create_task(ann.chat("offline"))
        for number in range(3):
            await bob.chat(f"missed {number}")
        assert [member.user_id for member in ann.members] == [bob.user_id], "members stay while the connection is lost"
        way.heal()
        assert (await asyncio.wait_for(written, DEADLINE_SECONDS)).content == "offline"
        expected = ["missed 0", "missed 1", "missed 2", "offline"]
        await within_deadline(bob, lambda: len(bob.messages) == 5)
        assert [message.content for message in ann.messages] == ["before", *expected]
        assert [message.content for message in bob.messages] == ["before", *expected]
    chats = [event async for event in events if isinstance(event, ChatReceived)]
    assert [chat.message.content for chat in chats] == expected
    assert [chat.live for chat in chats] == [False, False, False, True]


async def test_a_peer_that_falls_silent_is_given_up_and_nothing_is_lost(stack: EmbeddedStack, way: Link, room: str):
    beat = Heartbeat(0.3, 0.5)
    async with Client(by(way), backoff=SOON, heartbeat=beat) as ann, Client(stack.gateways[1]) as bob:
        await ann.join(room)
        await bob.join(room)
        events = ann.events()
        way.cut()
        written = asyncio.create_task(ann.chat("into the silence"))
        lost = await of_kind(events, Disconnected)
        assert isinstance(lost, Disconnected)
        assert (lost.failure.code, lost.reconnects) == ("no_answer", True)
        way.heal()
        await asyncio.wait_for(written, DEADLINE_SECONDS)
        await within_deadline(bob, lambda: bob.messages)
        await bob.chat("the end")
        await within_deadline(ann, lambda: len(ann.messages) == 2)
        assert [message.content for message in bob.messages] == ["into the silence", "the end"]


async def test_a_refused_token_stops_the_client_with_the_reason(strict: ServiceProcess, room: str):
    async with Client(strict.url, token="no token") as ann:
        with pytest.raises(StudyroomError) as refused:
            await asyncio.wait_for(ann.join(room), DEADLINE_SECONDS)
        assert refused.value.code == "unauthorized"
        assert ann.state.status is ConnectionStatus.CLOSED
        for call in (ann.join(room), ann.chat("x"), ann.until(lambda: False)):
            with pytest.raises(StudyroomError, match="unauthorized"):
                await call
        assert [event async for event in ann.events()] == []


async def test_a_function_for_tokens_is_asked_for_a_fresh_one_and_three_times_at_most(
    strict: ServiceProcess, room: str
):
    good, asked = token_of(str(uuid4()), name="Ann"), [0, 0]

    async def renewed() -> str:
        asked[0] += 1
        return good if asked[0] > 1 else "an old one"

    def old() -> str:
        asked[1] += 1
        return "an old one"

    async with Client(strict.url, token=renewed, backoff=SOON) as ann:
        await asyncio.wait_for(ann.join(room), DEADLINE_SECONDS)
        assert ann.me is not None
        assert ann.me.username == "Ann"
    async with Client(strict.url, token=old, backoff=SOON) as bob:
        with pytest.raises(StudyroomError, match="unauthorized"):
            await asyncio.wait_for(bob.join(room), DEADLINE_SECONDS)
    assert asked == [2, 3]


async def test_a_connection_outlives_its_token_also_when_the_first_try_to_fetch_a_newer_token_fails(
    strict: ServiceProcess, room: str
):
    user, asked = str(uuid4()), 0
    first_expires_at = int(time.time()) + 5

    def fetched() -> str:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise OSError("the issuer is away")
        return token_of(user, name="Ann", **({"exp": first_expires_at} if asked == 1 else {}))

    async with Client(strict.url, token=fetched, backoff=SOON) as ann:
        await ann.join(room)
        events = ann.events()
        await eventually(lambda: time.time() > first_expires_at + 1.5, "the first token has expired")
        await ann.chat("after the first token")
        assert isinstance(await anext(events), ChatReceived)
    assert asked == 3


async def test_a_guest_takes_another_name_and_keeps_it_after_a_lost_connection(
    stack: EmbeddedStack, way: Link, room: str
):
    async with Client(stack.gateways[1]) as bob, Client(by(way), username="Ann", backoff=SOON) as ann:
        await bob.join(room)
        await ann.join(room)
        await within_deadline(bob, lambda: bob.members)
        events = bob.events()
        ann.rename("Ann  Lee")
        updated = await anext(events)
        assert isinstance(updated, MemberUpdated)
        assert updated.member.username == "Ann Lee"
        await within_deadline(ann, lambda: ann.me is not None and ann.me.username == "Ann Lee")
        way.reset()
        await within_deadline(ann, lambda: ann.state.status is not ConnectionStatus.OPEN)
        assert (await ann.chat("back")).username == "Ann Lee"
        await within_deadline(bob, lambda: bob.messages)
        assert [member.username for member in bob.members] == ["Ann Lee"]


async def test_a_user_with_a_token_has_the_name_of_the_token(strict: ServiceProcess, room: str):
    async with Client(strict.url, token=token_of(str(uuid4()), name="Ann")) as ann:
        await ann.join(room)
        events = ann.events()
        ann.rename("Somebody")
        refused = await of_kind(events, ErrorReceived)
        assert isinstance(refused, ErrorReceived)
        assert refused.failure.code == "rename_not_allowed"
        assert (await ann.chat("still Ann")).username == "Ann"


async def test_a_room_that_the_token_does_not_grant_is_refused_and_another_one_is_not(
    strict: ServiceProcess, room: str
):
    granted = str(uuid4())
    async with Client(strict.url, token=token_of(str(uuid4()), rooms=[granted])) as ann:
        with pytest.raises(StudyroomError, match="room_not_allowed"):
            await asyncio.wait_for(ann.join(room), DEADLINE_SECONDS)
        assert (ann.room.status, ann.state.status) == (RoomStatus.REFUSED, ConnectionStatus.OPEN)
        await asyncio.wait_for(ann.join(granted), DEADLINE_SECONDS)


async def test_a_message_over_the_limits_of_the_server_is_not_sent_and_the_next_one_is(
    strict: ServiceProcess, room: str
):
    async with Client(strict.url, token=token_of(str(uuid4()))) as ann:
        await ann.join(room)
        with pytest.raises(StudyroomError, match="chat_too_long: the message has 101 characters, the maximum is 100"):
            await ann.chat("x" * 101)
        await asyncio.wait_for(ann.chat("x" * 100), DEADLINE_SECONDS)
        assert ann.state.status is ConnectionStatus.OPEN


async def test_a_moderator_deletes_a_message_and_removes_its_author(strict: ServiceProcess, room: str):
    async with (
        Client(strict.url, token=token_of(str(uuid4()))) as ann,
        Client(strict.url, token=token_of(str(uuid4()))) as bob,
    ):
        await ann.join(room)
        await bob.join(room)
        events = bob.events()
        message = await ann.chat("rude")
        await backend.ask(strict.url, "DELETE", f"/rooms/{room}/messages/{message.seq}?id={message.id}")
        removed = await of_kind(events, ChatRemoved)
        assert removed == ChatRemoved(message.id, message.seq or 0)
        assert bob.messages == ()
        await backend.ask(strict.url, "DELETE", f"/rooms/{room}/members/{ann.user_id}")
        await within_deadline(ann, lambda: ann.room.status is RoomStatus.REFUSED)
        assert ann.room.failure is not None
        assert ann.room.failure.code == "removed"
        await within_deadline(bob, lambda: not bob.members)


async def test_calls_that_wait_end_when_the_program_closes_an_open_connection(stack: EmbeddedStack, room: str):
    async with Client(stack.gateways[0]) as ann:
        await ann.join(room)
        events = ann.events()
        waiting = asyncio.create_task(ann.until(lambda: False))
        await ann.chat("one")
    with pytest.raises(StudyroomError, match="close_called"):
        await waiting
    last = [event async for event in events][-1]
    assert isinstance(last, Disconnected)
    assert (last.failure.code, last.code, last.reconnects) == ("close_called", 1000, False)


async def test_a_server_that_nobody_runs_is_tried_until_the_program_ends_it(room: str):
    async with Client(ADDRESS, backoff=SOON) as ann:
        waiting = [asyncio.create_task(ann.join(room)), asyncio.create_task(ann.until(lambda: False))]
        await within_deadline(ann, lambda: ann.state.failure)
        written = asyncio.create_task(ann.chat("one"))
        events = ann.events()
        await of_kind(events, Disconnected)
        began = time.monotonic()
    assert time.monotonic() < began + 5
    outcomes = await asyncio.gather(*waiting, written, return_exceptions=True)
    assert [getattr(outcome, "code", outcome) for outcome in outcomes] == ["close_called"] * 3
    await ann.close()
    with pytest.raises(RuntimeError, match="used once"):
        await ann.__aenter__()


@pytest.mark.parametrize(
    ("event", "data", "key"),
    [("1", None, None), ("x" * 65, None, None), ("x", float("nan"), None), ("x", {1, 2}, None), ("x", 1, "")],
)
async def test_an_event_that_the_protocol_does_not_allow_is_refused_at_the_call(
    event: str, data: object, key: str | None
):
    async with Client(ADDRESS) as ann:
        with pytest.raises(ValueError, match="not an event"):
            ann.broadcast(event, data, key=key)
        with pytest.raises(ValueError, match="not fields of presence"):
            ann.update_presence({"": 1})
        with pytest.raises(ValueError, match="not a position"):
            ann.move_cursor(float("inf"), 0)
