"""Guests take another name without leaving."""

import json

import pytest

from tests.support.channels import shared
from tests.support.client import clients
from tests.support.processes import EmbeddedStack
from tests.support.waiting import eventually


async def test_a_guest_has_another_name_on_every_gateway_and_nobody_sees_it_leave(stack: EmbeddedStack, room: str):
    here, there = stack.gateways
    async with clients(f"{here}?username=Ann", here, there) as (ann, bob, eve):
        for client in (bob, eve, ann):
            await client.join(room)
        await ann.send("Rename", {"username": "  Ann \u202e  Lee"})
        for client in (ann, bob, eve):
            assert (await client.expect("UserUpdated"))["user"]["username"] == "Ann Lee"
        await ann.chat("renamed")
        for client in (bob, eve):
            assert (await client.expect("Chat"))["username"] == "Ann Lee"
            assert client.types().count("UserLeft") == 0
            assert sum(joined["user"]["user_id"] == ann.user for joined in client.payloads("UserJoined")) == 1
        late = await eve.join(room)
        assert "Ann Lee" in {user["username"] for user in late["users"]}


async def test_a_name_that_nobody_could_see_becomes_that_of_a_guest_without_one(stack: EmbeddedStack, room: str):
    async with clients(f"{stack.gateways[0]}?username=Ann") as (ann,):
        await ann.join(room)
        await ann.send("Rename", {"username": "\u200b"})
        assert (await ann.expect("UserUpdated"))["user"]["username"] == "User"


async def test_a_name_taken_outside_a_room_is_that_of_the_next_join(stack: EmbeddedStack, room: str):
    async with clients(f"{stack.gateways[0]}?username=Ann") as (ann,):
        await ann.send("Rename", {"username": "Grace"})
        assert [user["username"] for user in (await ann.join(room))["users"]] == ["Grace"]


async def test_names_have_a_rate_of_their_own(stack: EmbeddedStack, room: str):
    async with clients(stack.gateways[0]) as (ann,):
        await ann.join(room)
        for number in range(5):
            await ann.send("Rename", {"username": f"Ann {number}"})
        assert await ann.error() == "rate_limited"
        await ann.chat("not limited")
        while (await ann.next())["type"] != "Chat":
            continue


@pytest.mark.parametrize("renames_in", [0, 2])
async def test_a_name_is_that_of_all_channels_also_of_one_that_joins_meanwhile(
    stack: EmbeddedStack, room: str, renames_in: int
):
    async with clients(stack.gateways[1]) as (bob,), shared(stack.gateways[0]) as client:
        await bob.join(room)
        first, second = await client.open(1), await client.open(2)
        join = json.dumps({"type": "JoinRoom", "payload": {"room_id": room}})
        rename = json.dumps({"type": "Rename", "payload": {"username": "Ann Lee"}})
        await client.send(1, join)
        await client.send(renames_in, rename)
        joined = await first.expect("JoinedRoom")
        names = {user["username"] for user in joined["users"] if user["user_id"] == first.user}
        await eventually(
            lambda: names | {updated["user"]["username"] for updated in first.payloads("UserUpdated")} >= {"Ann Lee"},
            "the channel that was joining has the new name",
        )
        await second.join(room)
        await second.chat("renamed")
        assert (await bob.expect("Chat"))["username"] == "Ann Lee"
