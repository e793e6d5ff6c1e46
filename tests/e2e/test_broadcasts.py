"""Broadcast events between members on two gateways."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.support.client import Client, clients
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service
from tests.support.tokens import SECRET, token_of
from tests.support.waiting import eventually

MAX_BYTES = 2000


@pytest.fixture(scope="module")
def strict(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A gateway that reserves events and allows few and small ones."""
    settings = {
        "BROADCAST_RESERVED": "lesson.*", "BROADCASTS_PER_SECOND": "5", "BROADCAST_MAX_BYTES": str(MAX_BYTES),
        "JWT_SECRET": SECRET,
    }  # fmt: skip
    environment = {f"STUDYROOM_GATEWAY_{name}": value for name, value in settings.items()}
    with running(service("gateway", tmp_path_factory.mktemp("strict"), stack.nats_url, **environment)) as process:
        yield process


async def send(client: Client, event: str, data: Any, key: str | None = None) -> None:
    payload = {"event": event, "data": data}
    await client.send("Broadcast", payload if key is None else {**payload, "key": key})


def received(client: Client, sender: Client) -> list[Any]:
    return [event["data"] for event in client.payloads("Broadcast") if event["user_id"] == sender.user]


async def test_an_event_reaches_the_other_members_on_every_gateway_and_not_its_sender(stack: EmbeddedStack, room: str):
    here, there = stack.gateways
    async with clients(here, there, here) as (ann, bob, eve):
        for client in (ann, bob, eve):
            await client.join(room)
        data = {"text": 'Grüße, 世界 😀\n","data":', "numbers": [1, -2.5, 1e21, True, None]}
        await send(ann, "reaction.sent", data, key='no\u2028te"')
        expected = {"user_id": ann.user, "event": "reaction.sent", "key": 'no\u2028te"', "data": data}
        assert await bob.expect("Broadcast") == expected
        assert await eve.expect("Broadcast") == expected
        await send(bob, "reaction.sent", None)
        assert await ann.expect("Broadcast") == {"user_id": bob.user, "event": "reaction.sent", "data": None}
        await ann.settle()
        await bob.settle()
    assert len(ann.payloads("Broadcast")) == len(bob.payloads("Broadcast")) == 1


async def test_other_tabs_of_the_sender_get_nothing(strict: ServiceProcess, room: str):
    token = token_of(str(uuid4()))
    async with clients(strict.url, strict.url, token=token) as (tab, other), clients(strict.url) as (bob,):
        for client in (tab, other, bob):
            await client.join(room)
        await send(tab, "hello", 1)
        await bob.expect("Broadcast")
        await other.settle()
    assert "Broadcast" not in other.types()


async def test_events_of_each_sender_arrive_once_and_in_order(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways, *stack.gateways) as people:
        for client in people:
            await client.join(room)

        async def talk(client: Client) -> None:
            for number in range(50):
                await send(client, "count", number)
                await asyncio.sleep(0.001 * (number % 3))  # so that flushes have several events or one

        await asyncio.gather(*(talk(client) for client in people))
        for reader in people:
            for sender in people:
                expected = list(range(50)) if sender is not reader else []
                await eventually(lambda r=reader, s=sender, e=expected: received(r, s) == e, "all in order")  # type: ignore[misc]


async def test_an_event_right_after_a_join_comes_after_the_join_and_one_right_before_a_leave_before_it(
    stack: EmbeddedStack, room: str
):
    here, there = stack.gateways
    async with clients(here, there) as watchers:
        for watcher in watchers:
            await watcher.join(room)
        for number in range(20):
            async with clients((here, there)[number % 2]) as (bob,):
                await bob.send("JoinRoom", {"room_id": room})
                await send(bob, "hello", "first")
                await bob.expect("JoinedRoom")
                await send(bob, "bye", "last")
                await bob.leave()
                await bob.settle()
            for watcher in watchers:
                await watcher.expect("UserLeft")
                about = [
                    (line["type"], line["payload"].get("data"))
                    for line in watcher.log
                    if bob.user in {line["payload"].get("user_id"), line["payload"].get("user", {}).get("user_id")}
                ]
                assert about == [
                    ("UserJoined", None), ("Broadcast", "first"), ("Broadcast", "last"), ("UserLeft", None),
                ]  # fmt: skip


async def test_nothing_stores_an_event(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways, stack.gateways[1]) as (ann, bob, late):
        await ann.join(room)
        await bob.join(room)
        await send(ann, "timer", 1, key="timer")
        await bob.expect("Broadcast")
        joined = await late.join(room)
        assert joined["history"] == 0
        await ann.join(room)
        await send(ann, "timer", 2, key="timer")
        assert (await late.expect("Broadcast"))["data"] == 2


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"event": "x"},
        {"event": "", "data": 1},
        {"event": "two words", "data": 1},
        {"event": "9", "data": 1},
        {"event": "é", "data": 1},
        {"event": "x" * 65, "data": 1},
        {"event": 5, "data": 1},
        {"event": "x", "data": 1, "key": ""},
        {"event": "x", "data": 1, "key": "k" * 129},
        {"event": "x", "data": 1, "key": 5},
        {"event": "x", "data": float("nan")},
        {"event": "x", "data": [{"deep": float("inf")}]},
        {"event": "x", "data": {"half": "\ud83d"}},
    ],
)
async def test_a_wrong_event_is_refused_and_named(stack: EmbeddedStack, room: str, payload: Any):
    async with clients(stack.gateways[0]) as (ann,):
        await ann.join(room)
        await ann.send("Broadcast", payload)
        refused = (await ann.next())["payload"]
        assert refused["code"] == "invalid_message"
        assert refused["message"].startswith("Broadcast: payload.")
        await ann.settle()


async def test_an_event_outside_a_room_is_refused(stack: EmbeddedStack):
    async with clients(stack.gateways[0]) as (ann,):
        await send(ann, "hello", None)
        assert await ann.error() == "not_in_room"


async def test_data_beyond_the_limit_is_refused_and_data_at_the_limit_is_delivered(
    stack: EmbeddedStack, strict: ServiceProcess, room: str
):
    async with clients(strict.url, stack.gateways[0]) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        await send(ann, "large", "x" * (MAX_BYTES - 1))
        assert await ann.error() == "broadcast_too_large"
        await send(ann, "large", "x" * (MAX_BYTES - 2))
        assert len((await bob.expect("Broadcast"))["data"]) == MAX_BYTES - 2


async def test_events_beyond_the_rate_are_refused_and_other_messages_are_not(
    stack: EmbeddedStack, strict: ServiceProcess, room: str
):
    async with clients(strict.url, stack.gateways[0]) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        for number in range(30):
            await send(ann, "count", number)
        await ann.chat("still here")
        while "Chat" not in ann.types():
            await ann.next()
        refused = ann.payloads("Error")
        assert {error["code"] for error in refused} == {"rate_limited"}
        assert len(refused) >= 15
        delivered = 30 - len(refused)
        await eventually(lambda: len(received(bob, ann)) == delivered, "the others arrive")
        assert received(bob, ann) == sorted(received(bob, ann))

        async def is_taken() -> bool:
            await send(ann, "later", "later")
            return "later" in received(bob, ann)

        await eventually(is_taken, "the allowance refills")


async def test_reserved_events_need_a_token_that_names_them(strict: ServiceProcess, room: str):
    user = str(uuid4())
    async with (
        clients(strict.url) as (guest,),
        clients(strict.url, token=token_of(user)) as (pupil,),
        clients(strict.url, token=token_of(str(uuid4()), broadcast=["lesson.*"])) as (teacher,),
    ):
        for client in (guest, pupil, teacher):
            await client.join(room)
        for client in (guest, pupil):
            await send(client, "lesson.start", 1)
            assert await client.error() == "broadcast_not_allowed"
            await send(client, "hand", "up")
        await send(teacher, "lesson.start", 2)
        await eventually(lambda: received(guest, teacher) == [2] == received(pupil, teacher), "the lesson starts")
        await eventually(lambda: received(teacher, guest) == ["up"] == received(teacher, pupil), "hands are up")
        await pupil.send("Authenticate", {"token": token_of(user, broadcast="*")})
        await pupil.expect("Authenticated")
        await send(pupil, "lesson.start", 3)
        await eventually(lambda: received(teacher, pupil) == ["up", 3], "the pupil may start it now")
    assert strict.metric('studyroom_gateway_errors_sent_total{code="broadcast_not_allowed"}') == 2
