"""Changes, storage and cursors that get lost silently are found missing and repaired."""

import asyncio
import json
import shutil
import signal
import time
from base64 import b64decode
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client as Nats

from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.presence import LEASE_SECONDS
from tests.faults.test_lost_connections import GUARD_SECONDS, System, knows, roster_of, running
from tests.support.client import Client, clients
from tests.support.presence import announce, connected, roster, users_in
from tests.support.processes import NatsServer
from tests.support.waiting import eventually

COMPARED_SECONDS = 20
"""The comparison comes every ten seconds or so, and gives messages under way another ten."""


@pytest.fixture
def system(own_nats: NatsServer, tmp_path: Path) -> Iterator[System]:
    yield from running(own_nats, tmp_path, 2)


async def lose_the_leave_of(client: Client, system: System, room: str) -> None:
    """`client` leaves, presence knows, and no gateway receives it."""
    async with connected(system.nats.url) as bus:
        await announce(bus, subjects.PRESENCE_STREAM, on=False)
        await client.leave()

        async def gone() -> bool:
            return client.user not in await users_in(bus, room)

        await eventually(gone, "presence knows of the leave")
        await announce(bus, subjects.PRESENCE_STREAM, on=True)


@pytest.mark.parametrize("with_a_later_change", [False, True])
async def test_a_leave_that_was_lost_on_the_way_is_found_by_the_comparison(
    system: System, room: str, with_a_later_change: bool
):
    first, second = system.gateways
    for process in system.others:
        process.signal(signal.SIGSTOP)
    async with clients(first.url, second.url, second.url) as (ann, bob, cem):
        await ann.join(room)
        await bob.join(room)
        await lose_the_leave_of(bob, system, room)
        if with_a_later_change:
            await cem.join(room)
            await ann.expect("UserJoined")
            await eventually(partial(knows, ann, cem.user), "a later change is received")
        assert bob.user in roster_of(ann), "the leave was not lost: this test shows nothing"
        left = await ann.expect("UserLeft", COMPARED_SECONDS)

    assert left["user_id"] == bob.user
    assert first.metric("studyroom_gateway_rooms_behind_total") == 1


async def test_a_newcomer_gets_the_true_roster_although_a_change_was_lost_on_the_way(system: System, room: str):
    first, second = system.gateways
    for process in system.others:
        process.signal(signal.SIGSTOP)
    async with clients(first.url, second.url, first.url) as (ann, bob, cem):
        await ann.join(room)
        await bob.join(room)
        await eventually(partial(knows, ann, bob.user), "ann sees bob")
        await lose_the_leave_of(bob, system, room)
        joined = await cem.join(room)
        left = await ann.expect("UserLeft", 1.0)

    assert {user["user_id"] for user in joined["users"]} == {ann.user, cem.user}
    assert left["user_id"] == bob.user
    assert first.metric("studyroom_gateway_rooms_behind_total") == 1


async def test_nats_losing_its_storage_empties_no_room_and_users_who_died_meanwhile_are_gone_in_time(
    system: System, room: str
):
    urls = [gateway.url for gateway in system.gateways]
    async with clients(*urls, *urls) as everyone:
        for client in everyone:
            await client.join(room)
        lost = await Client.connect(urls[1])
        before = (await lost.join(room))["epoch"]
        system.nats.signal(signal.SIGKILL)
        system.nats.wait()
        shutil.rmtree(system.nats.log.parent / "store")
        await lost.drop()
        system.nats.start()
        system.nats.wait_ready()
        began = time.monotonic()
        here = {client.user for client in everyone}
        for client in everyone:
            await eventually(partial(has_roster, client, here), "only the lost user is gone", 40)
        took = time.monotonic() - began
        async with connected(system.nats.url) as bus:
            assert await users_in(bus, room) == here
        leaves = [
            {message["payload"]["user_id"] for message in client.log if message["type"] == "UserLeft"}
            for client in everyone
        ]
        await everyone[0].chat("after")
        for client in everyone:
            await client.expect("Chat")
        newcomer = await Client.connect(urls[1])
        after = (await newcomer.join(room))["epoch"]
        await newcomer.close()

    assert leaves == [{lost.user}] * len(everyone)
    assert after != before
    print(
        f"the lost member was gone {took:.1f} s after NATS was back; lease + guard are {LEASE_SECONDS + GUARD_SECONDS}"
    )


@pytest.mark.parametrize("room_is_hosted", [True, False])
async def test_a_join_that_is_written_after_its_connection_has_left_leaves_no_ghost(
    system: System, room: str, room_is_hosted: bool
):
    """A write that a frozen server takes long after it was asked for, or a replica whose answer is lost."""
    first, _ = system.gateways
    async with clients(first.url, first.url) as (ann, bob), connected(system.nats.url) as bus:
        await ann.join(room)
        if room_is_hosted:
            await bob.join(room)
        key = subjects.presence_key(RoomId(room), UserId(ann.user))
        entry = b64decode((await last_entry(bus, key))["data"])
        await ann.leave()
        staying = {bob.user} if room_is_hosted else set()

        async def left() -> bool:
            return await users_in(bus, room) == staying

        await eventually(left, "presence knows of the leave")
        late = (await bus.jetstream().publish(key, entry)).seq

        async def undone() -> bool:
            return (await last_entry(bus, key))["seq"] > late and await left()

        # The gateway of a hosted room receives the ghost, and ends it before anybody could look.
        await eventually(undone, "the ghost is gone", 2 * COMPARED_SECONDS)


async def test_cursors_are_asked_for_again_after_presence_was_restarted_and_go_with_their_user(
    system: System, room: str
):
    first, second = system.gateways
    async with clients(first.url, first.url, second.url) as (ann, bob, late):
        await ann.join(room)
        await bob.join(room)
        for x, client in enumerate((ann, bob)):
            await client.send("CursorMove", {"x": x, "y": 2.5})
            await client.settle()
        for replica in system.presence:
            replica.signal(signal.SIGKILL)
            replica.wait()
            replica.start()
        for replica in system.presence:
            replica.wait_ready()
        async with connected(system.nats.url) as bus:
            await eventually(
                lambda: cursors(bus, room, {ann.user: 0.0, bob.user: 1.0}), "every replica has the cursors again"
            )
            await bob.leave()
            await bob.join(room)
            await eventually(lambda: cursors(bus, room, {ann.user: 0.0, bob.user: None}), "every replica forgot bob's")
        joined = await late.join(room)

    positions = {user["user_id"]: user["cursor"] and user["cursor"]["x"] for user in joined["users"]}
    assert positions == {ann.user: 0.0, bob.user: None, late.user: None}


async def test_cursors_that_moved_while_nats_was_away_are_sent_when_it_is_back(system: System, room: str):
    first, second = system.gateways
    async with clients(first.url, second.url) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        await ann.expect("UserJoined")
        system.nats.signal(signal.SIGKILL)
        system.nats.wait()
        for x, client in enumerate((ann, bob)):
            await client.send("CursorMove", {"x": x, "y": 2.5})
            await client.settle()
        system.nats.start()
        system.nats.wait_ready()
        seen = [await ann.expect("CursorUpdate"), await bob.expect("CursorUpdate")]

    assert [(cursor["user_id"], cursor["x"]) for cursor in seen] == [(bob.user, 1.0), (ann.user, 0.0)]


def has_roster(client: Client, users: set[str]) -> bool:
    return roster_of(client) == users


async def last_entry(bus: Nats, key: str) -> dict[str, Any]:
    """The message in the stream: `seq`, and `data` in base64."""
    question = json.dumps({"last_by_subj": key}).encode()
    answer = await bus.request(f"$JS.API.STREAM.MSG.GET.{subjects.PRESENCE_STREAM}", question, timeout=5)
    message: dict[str, Any] = json.loads(answer.data)["message"]
    return message


async def cursors(bus: Nats, room: str, expected: dict[str, float | None]) -> bool:
    """Whichever replica answers, these are the cursors that it has."""
    for _ in range(8):
        members = (await asyncio.wait_for(roster(bus, room), 5)).members or []
        if {member.user: member.cursor.x if member.cursor else None for member in members} != expected:
            return False
    return True
