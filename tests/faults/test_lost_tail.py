"""NATS comes back with an older copy of its store: streams are shorter than they were, and created when they were.

So it is after a power cut, a restored volume and a rolled back machine. The contents of the lost tail never were, and
everything written from then on counts, although its sequences are old.
"""

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from uuid import uuid4

import pytest

from studyroom.shared.contract import subjects
from studyroom.shared.contract.close_codes import CloseCode
from studyroom.shared.contract.ids import RoomId, new_connection_id, new_gateway_id, new_membership_id, new_user_id
from studyroom.shared.contract.presence import Entry, Profile
from tests.faults.test_lost_chat import COMPARED_SECONDS, send_chat
from tests.faults.test_lost_connections import GUARD_SECONDS, System
from tests.support.backend import SETTINGS, ask, handshake_refusal, token
from tests.support.client import Client, clients
from tests.support.presence import connected, users_in
from tests.support.processes import all_running, nats_server, service
from tests.support.roster import memberships
from tests.support.waiting import eventually

NOTICED_SECONDS = 10
"""The time in which members learn the present contents of the stream."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("system")
    nats = nats_server(directory)
    settings = {
        "STUDYROOM_PRESENCE_GUARD_SECONDS": str(GUARD_SECONDS),
        "STUDYROOM_PRESENCE_GRACE_SECONDS": "1",
        "STUDYROOM_GATEWAY_MESSAGES_PER_SECOND": "1000",
        **SETTINGS,
    }
    system = System(
        nats,
        [service("presence", directory, nats.url, **settings) for _ in range(2)],
        [service("gateway", directory, nats.url, **settings) for _ in range(2)],
        [service("provisioner", directory, nats.url)],
    )
    with all_running(nats, *system.others, *system.presence, *system.gateways):
        yield system


KEPT, GONE, NEW = 5, 20, 10
LOST = 50_000
"""Changes in the lost tail: more than the system writes while it recovers."""


def present(client: Client) -> set[str]:
    return memberships(client.log)[-1].users


async def test_a_member_whose_last_leave_was_lost_is_seen_when_it_joins_again(system: System, room: str):
    first, second = system.gateways
    user = str(uuid4())
    async with clients(first.url, token=token()) as (ann,), clients(second.url, token=token()) as (cem,):
        for client in (ann, cem):
            await client.join(room)
        bob = await Client.connect(first.url, token=token(user))
        await bob.join(room)
        copy = await asyncio.to_thread(system.nats.copy_store)
        await _change_other_rooms(system.nats.url)
        await bob.close()
        for client in (ann, cem):
            await client.expect("UserLeft")
        await asyncio.to_thread(system.nats.go_back, copy)
        back = await Client.connect(second.url, token=token(user))
        await eventually(partial(_joins, back, room), "the join succeeds", 30)
        everyone = {ann.user, cem.user, user}
        for client in (ann, cem, back):
            await eventually(lambda: present(client) == everyone, "everybody sees everybody", NOTICED_SECONDS)  # noqa: B023
        await back.close()
        for client in (ann, cem):
            await eventually(lambda: present(client) == everyone - {user}, "and that it leaves", NOTICED_SECONDS)  # noqa: B023
        async with connected(system.nats.url) as bus:
            assert await users_in(bus, room) == {ann.user, cem.user}


async def test_members_see_chat_sent_after_the_tail_was_lost_and_newcomers_nothing_that_is_gone(
    system: System, room: str
):
    first, second = system.gateways
    async with clients(first.url, token=token()) as (ann,), clients(second.url, token=token()) as (bob,):
        before = [await client.join(room) for client in (ann, bob)]
        for number in range(KEPT):
            await ann.chat(f"kept {number}")
        await eventually(partial(_has_received, bob, KEPT), "they are stored")
        copy = await asyncio.to_thread(system.nats.copy_store)
        for number in range(GONE):
            await ann.chat(f"gone {number}")
        for client in (ann, bob):
            await eventually(partial(_has_received, client, KEPT + GONE), "everybody has seen them")
        since = bob.payloads("Chat")[-1]["seq"]
        await asyncio.to_thread(system.nats.go_back, copy)
        for number in range(NEW):
            await send_chat(ann, f"new {number}")
        stored = [*(f"kept {number}" for number in range(KEPT)), *(f"new {number}" for number in range(NEW))]
        for client in (ann, bob):
            await eventually(lambda: _since_reset(client) == stored, "members see the stored chat", NOTICED_SECONDS)  # noqa: B023
        async with clients(first.url, second.url, second.url) as newcomers:
            joined = [await newcomer.join(room) for newcomer in newcomers[:2]]
            for newcomer in newcomers[:2]:
                await newcomer.settle()
                assert _texts(newcomer) == stored
            await newcomers[2].send("JoinRoom", {"room_id": room, "since": since, "epoch": before[1]["epoch"]})
            resumed = await newcomers[2].expect("JoinedRoom")

    assert resumed["recovered"] is False
    epochs = {joined[0]["epoch"], joined[1]["epoch"], ann.payloads("ChatReset")[-1]["epoch"], resumed["epoch"]}
    assert len(epochs) == 1
    assert epochs.isdisjoint(answer["epoch"] for answer in before)


async def test_members_of_a_purged_room_learn_it_on_every_gateway_and_newcomers_get_the_same_everywhere(
    system: System, room: str
):
    first, second = system.gateways
    async with clients(first.url, token=token()) as (ann,), clients(second.url, token=token()) as (bob,):
        for client in (ann, bob):
            await client.join(room)
        for number in range(KEPT):
            await ann.chat(f"purged {number}")
        await ann.chat("kept")
        await eventually(partial(_has_received, bob, KEPT + 1), "they are stored")
        async with connected(system.nats.url) as bus:
            request = {"filter": subjects.chat(RoomId(room)), "keep": 1}
            await bus.request(f"$JS.API.STREAM.PURGE.{subjects.CHAT_STREAM}", json.dumps(request).encode(), timeout=5)
        for client in (ann, bob):
            await eventually(lambda: _since_reset(client) == ["kept"], "members learn it", COMPARED_SECONDS)  # noqa: B023
        async with clients(first.url, second.url) as newcomers:
            for newcomer in newcomers:
                await newcomer.join(room)
                await newcomer.settle()
                assert _texts(newcomer) == ["kept"]


async def test_bans_and_removals_hold_although_the_bucket_of_moderation_has_lost_others(system: System, room: str):
    near, far = (gateway.url for gateway in system.gateways)
    removed, banned, barred, early = (str(uuid4()) for _ in range(4))
    assert (await ask(near, "PUT", f"/bans/{early}", {"seconds": 600})).status == 200
    assert (await ask(near, "DELETE", f"/rooms/{room}/members/{removed}")).status == 204
    copy = await asyncio.to_thread(system.nats.copy_store)
    lost = [str(uuid4()) for _ in range(20)]
    for user in lost:
        assert (await ask(near, "PUT", f"/bans/{user}", {"seconds": 600})).status == 200
    there = [await Client.connect(far, token=token(user)) for user in (removed, banned, barred)]
    for client in there:
        await client.join(room)
    await asyncio.to_thread(system.nats.go_back, copy)
    for path in (f"/bans/{banned}", f"/rooms/{room}/bans/{barred}"):
        await eventually(partial(_accepted, near, path), "NATS is back")
    assert await there[1].ended() == CloseCode.BANNED
    await eventually(lambda: [error["code"] for error in there[2].payloads("Error")] == ["removed"], "it is removed")
    for gateway in (near, far):
        await eventually(partial(_agrees, gateway, {early, banned}, set(lost)), "all gateways know the stored commands")
    assert there[0].payloads("Error") == [], "earlier commands are not carried out again"
    for client in (there[0], there[2]):
        await client.close()


async def _accepted(gateway: str, path: str) -> bool:
    return (await ask(gateway, "PUT", path, {"seconds": 600})).status == 200


async def _agrees(gateway: str, banned: set[str], others: set[str]) -> bool:
    refused = {user for user in banned | others if await handshake_refusal(gateway, user) is not None}
    return refused == banned


async def _change_other_rooms(url: str) -> None:
    entry = Entry(
        profile=Profile(username="Dan"), connections={new_membership_id(new_connection_id(), 0): new_gateway_id()}
    )
    key = subjects.presence_key(RoomId(str(uuid4())), new_user_id())
    async with connected(url) as bus:
        for _ in range(LOST - 1):
            await bus.publish(key, entry.encode())
        await bus.jetstream().publish(key, entry.encode())


async def _joins(client: Client, room: str) -> bool:
    await client.send("JoinRoom", {"room_id": room})
    while True:
        answer = await client.next()
        if answer["type"] in {"JoinedRoom", "Error"}:
            return bool(answer["type"] == "JoinedRoom")


def _texts(client: Client) -> list[str]:
    return [line["content"] for line in client.payloads("Chat")]


def _has_received(client: Client, count: int) -> bool:
    return len(client.payloads("Chat")) >= count


def _since_reset(client: Client) -> list[str] | None:
    """The chat that a member received since its reset, or None before it."""
    types = client.types()
    if "ChatReset" not in types:
        return None
    begin = len(types) - types[::-1].index("ChatReset")
    return [message["payload"]["content"] for message in client.log[begin:] if message["type"] == "Chat"]
