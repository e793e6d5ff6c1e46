"""Custom presence: the fields that members show to each other, through two gateways and the faults of one."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.support.client import Client, Json, clients
from tests.support.fields import shown, update
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service
from tests.support.tokens import SECRET, token_of
from tests.support.waiting import eventually, http_get

MAX_BYTES = 200


@pytest.fixture(scope="module")
def with_tokens(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ServiceProcess]]:
    """Two more gateways, which know users by their tokens, and the second allows little."""
    directory, secret = tmp_path_factory.mktemp("tokens"), {"STUDYROOM_GATEWAY_JWT_SECRET": SECRET}
    little = {
        "STUDYROOM_GATEWAY_PRESENCE_UPDATES_PER_SECOND": "5",
        "STUDYROOM_GATEWAY_PRESENCE_MAX_BYTES": str(MAX_BYTES),
        "STUDYROOM_GATEWAY_PRESENCE_WRITE_MS": "1000",
    }
    with (
        running(service("gateway", directory, stack.nats_url, **secret)) as first,
        running(service("gateway", directory, stack.nats_url, **secret, **little)) as second,
    ):
        yield [first, second]


async def sees(client: Client, user: str, fields: Json | None) -> None:
    await eventually(lambda: shown(client, user) == fields, f"shows {fields}", 20)


async def test_changes_reach_everyone_merged_and_null_deletes_a_field(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways) as (ann, bob):
        for client in (ann, bob):
            await client.join(room)
        await update(ann, status="away", seat=4)
        for client in (ann, bob):
            await sees(client, ann.user, {"status": "away", "seat": 4})
        await update(ann, status=None, selection={"from": 3, "text": "Grüße 😀"})
        for client in (ann, bob):
            await sees(client, ann.user, {"seat": 4, "selection": {"from": 3, "text": "Grüße 😀"}})
        assert bob.payloads("PresenceChanged")[-1] == {
            "user_id": ann.user, "fields": {"status": None, "selection": {"from": 3, "text": "Grüße 😀"}},
        }  # fmt: skip
        assert not {"UserJoined", "UserLeft", "UserUpdated"} & set(bob.types())


async def test_newcomers_and_http_get_the_fields_with_the_roster(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways, *stack.gateways) as (ann, bob, eve, _):
        await ann.join(room)
        await update(ann, hand=True)
        await sees(ann, ann.user, {"hand": True})
        await bob.join(room)
        await eve.join(room)
        assert shown(bob, ann.user) == shown(eve, ann.user) == {"hand": True}
        assert "presence" not in next(
            user for user in bob.payloads("JoinedRoom")[0]["users"] if user["user_id"] == bob.user
        )
        address = stack.gateways[1].replace("ws://", "http://").removesuffix("/ws")
        users = json.loads(http_get(f"{address}/api/v1/rooms/{room}/roster")[1])["users"]
        assert {user["user_id"]: user.get("presence") for user in users} == {
            ann.user: {"hand": True}, bob.user: None, eve.user: None,
        }  # fmt: skip


async def test_an_update_right_after_a_join_is_not_lost_and_comes_after_the_join(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways) as (ann, bob):
        await ann.join(room)
        await bob.send("JoinRoom", {"room_id": room})
        await update(bob, status="here")
        await sees(ann, bob.user, {"status": "here"})
        await sees(bob, bob.user, {"status": "here"})


async def test_many_changes_become_few_writes_and_the_last_value_of_each_field_arrives(
    stack: EmbeddedStack, with_tokens: list[ServiceProcess], room: str
):
    async with clients(with_tokens[1].url, stack.gateways[0]) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        for number in range(10):
            await update(ann, number=number, **{f"field{number % 3}": number})
        await sees(bob, ann.user, {"number": 9, "field0": 9, "field1": 7, "field2": 8})
        assert len(bob.payloads("PresenceChanged")) <= 3


async def test_a_user_is_one_member_with_one_set_of_fields_however_many_tabs(
    with_tokens: list[ServiceProcess], room: str
):
    token = token_of(str(uuid4()))
    first, second = (gateway.url for gateway in with_tokens)
    async with clients(first, second, token=token) as (tab, other), clients(first) as (bob,):
        for client in (tab, other, bob):
            await client.join(room)
        await update(tab, status="reading", page=1)
        await sees(other, tab.user, {"status": "reading", "page": 1})
        await update(other, page=2)
        for client in (tab, other, bob):
            await sees(client, tab.user, {"status": "reading", "page": 2})
        await tab.close()
        await update(other, seat=1)
        await sees(bob, other.user, {"status": "reading", "page": 2, "seat": 1})
        await other.leave()
        await sees(bob, other.user, None)
        await other.join(room)
        await sees(bob, other.user, {})


async def test_fields_survive_a_lost_connection_and_end_with_a_leave(with_tokens: list[ServiceProcess], room: str):
    first, second = (gateway.url for gateway in with_tokens)
    token = token_of(str(uuid4()))
    async with clients(first) as (bob,), clients(first, token=token) as (ann,):
        await bob.join(room)
        await ann.join(room)
        await update(ann, hand=True)
        await sees(bob, ann.user, {"hand": True})
        await ann.drop()
        async with clients(second, token=token) as (again,):
            await again.join(room)
            assert shown(again, again.user) == {"hand": True}
            await update(again, seat=2)
            await sees(bob, again.user, {"hand": True, "seat": 2})
            assert not {"UserLeft", "UserUpdated"} & set(bob.types())
            assert bob.types().count("UserJoined") == 1


async def test_fields_survive_the_death_of_a_gateway_and_of_all_presence_replicas(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory, room: str
):
    token, secret = token_of(str(uuid4())), {"STUDYROOM_GATEWAY_JWT_SECRET": SECRET}
    directory = tmp_path_factory.mktemp("dying")
    with running(service("gateway", directory, stack.nats_url, **secret)) as stays:
        async with clients(stays.url) as (bob,):
            await bob.join(room)
            with running(service("gateway", directory, stack.nats_url, **secret)) as dies:
                async with clients(dies.url, token=token) as (ann,):
                    await ann.join(room)
                    await update(ann, hand=True)
                    await sees(bob, ann.user, {"hand": True})
                    dies.signal(signal.SIGKILL)
                    await ann.ended()
            async with clients(stays.url, token=token) as (again,):
                await again.join(room)
                assert shown(again, again.user) == {"hand": True}
                await restart_presence(stack)
                await update(again, seat=2)
                await sees(bob, again.user, {"hand": True, "seat": 2})
                async with clients(stack.gateways[0]) as (late,):
                    await late.join(room)
                    assert shown(late, again.user) == {"hand": True, "seat": 2}
                assert "UserUpdated" not in bob.types()
                assert again.user not in [left["user_id"] for left in bob.payloads("UserLeft")]


async def restart_presence(stack: EmbeddedStack) -> None:
    before = {row["pid"] for row in stack.of("presence")}
    for pid in before:
        os.kill(pid, signal.SIGKILL)

    def are_back() -> bool:
        rows = stack.of("presence")
        return not before & {row["pid"] for row in rows} and all(
            http_get(f"{row['admin_url']}/readyz")[0] == 200 for row in rows
        )

    await eventually(are_back, "presence is back", 40)


async def test_fields_beyond_the_limit_are_refused_and_the_others_stay(with_tokens: list[ServiceProcess], room: str):
    async with clients(with_tokens[1].url) as (ann,):
        await ann.join(room)
        await update(ann, status="x" * (MAX_BYTES // 2))
        await sees(ann, ann.user, {"status": "x" * (MAX_BYTES // 2)})
        await update(ann, more="y" * (MAX_BYTES // 2))
        assert await ann.error() == "presence_too_large"
        await update(ann, status="short")
        await update(ann, more="y" * (MAX_BYTES // 2))
        await sees(ann, ann.user, {"status": "short", "more": "y" * (MAX_BYTES // 2)})


async def test_the_tabs_of_a_user_together_have_the_limit(with_tokens: list[ServiceProcess], room: str):
    token = token_of(str(uuid4()))
    first, second = (gateway.url for gateway in with_tokens)
    async with clients(first, second, token=token) as (generous, strict):
        for client in (generous, strict):
            await client.join(room)
        await update(generous, long="x" * 2 * MAX_BYTES)
        await sees(strict, strict.user, {"long": "x" * 2 * MAX_BYTES})
        await update(strict, a=1)
        assert await strict.error() == "presence_too_large"
        await update(strict, long=None, a=1)
        await sees(generous, strict.user, {"a": 1})


async def test_changes_beyond_the_rate_are_refused(with_tokens: list[ServiceProcess], room: str):
    async with clients(with_tokens[1].url) as (ann,):
        await ann.join(room)
        for number in range(30):
            await update(ann, number=number)
        assert await ann.error() == "rate_limited"


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"fields": None},
        {"fields": []},
        {"fields": {"": 1}},
        {"fields": {"n" * 65: 1}},
        {"fields": {"a": float("nan")}},
        {"fields": {"a": {"b": [float("inf")]}}},
        {"fields": {"a": "\ud83d"}},
        {"fields": {"\ud83d": 1}},
    ],
)
async def test_a_wrong_update_is_refused(stack: EmbeddedStack, room: str, payload: Any):
    async with clients(stack.gateways[0]) as (ann,):
        await ann.join(room)
        await ann.send("UpdatePresence", payload)
        assert await ann.error() == "invalid_message"
        await ann.settle()


async def test_an_update_outside_a_room_is_refused(stack: EmbeddedStack):
    async with clients(stack.gateways[0]) as (ann,):
        await update(ann, a=1)
        assert await ann.error() == "not_in_room"
