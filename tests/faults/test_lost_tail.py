"""NATS comes back with an older copy of its store: streams are shorter than they were, and created when they were.

So it is after a power cut, a restored volume and a rolled back machine. What was in the lost tail never was, and
whatever is written from then on counts, although its sequences are old ones.
"""

import asyncio
from collections.abc import Iterator
from functools import partial
from uuid import uuid4

import pytest

from shared import subjects
from shared.ids import RoomId, new_connection_id, new_gateway_id, new_user_id, stay_id
from shared.presence import Entry, Profile
from tests.faults.test_lost_connections import GUARD_SECONDS, System
from tests.support.backend import SETTINGS, token
from tests.support.client import Client, clients
from tests.support.presence import connected, users_in
from tests.support.processes import all_running, nats_server, service
from tests.support.roster import stays
from tests.support.waiting import eventually

NOTICED_SECONDS = 10
"""By then members know what the stream holds now."""


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


LOST = 50_000
"""Changes in the lost tail: more than the system writes while it recovers."""


def present(client: Client) -> set[str]:
    return stays(client.log)[-1].users


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


async def _change_other_rooms(url: str) -> None:
    entry = Entry(profile=Profile(username="Dan"), connections={stay_id(new_connection_id(), 0): new_gateway_id()})
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
