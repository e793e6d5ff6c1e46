"""Custom presence through changes and storage that get lost."""

import shutil
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import RoomId, UserId
from tests.faults.test_lost_changes import COMPARED_SECONDS
from tests.faults.test_lost_connections import System, running
from tests.support.client import Client, Json, clients
from tests.support.fields import shown, update
from tests.support.presence import announce, connected, roster
from tests.support.processes import NatsServer
from tests.support.waiting import eventually


@pytest.fixture
def system(own_nats: NatsServer, tmp_path: Path) -> Iterator[System]:
    yield from running(own_nats, tmp_path, 2)


def shows(client: Client, user: str, fields: Json) -> bool:
    return shown(client, user) == fields


async def test_a_change_that_was_lost_on_the_way_is_found_by_the_comparison(system: System, room: str):
    first, second = system.gateways
    async with clients(first.url, second.url) as (ann, bob):
        for client in (ann, bob):
            await client.join(room)
        async with connected(system.nats.url) as bus:
            await announce(bus, subjects.PRESENCE_STREAM, on=False)
            await update(bob, hand=True)

            async def is_stored() -> bool:
                members = (await roster(bus, room)).members or []
                return any(member.user == bob.user and member.fields for member in members)

            await eventually(is_stored, "presence has the change")
            await announce(bus, subjects.PRESENCE_STREAM, on=True)
        for client in (ann, bob):
            await eventually(partial(shows, client, bob.user, {"hand": True}), "the change is found", COMPARED_SECONDS)
            assert not {"UserLeft", "UserUpdated"} & set(client.types())


async def test_a_change_is_not_lost_with_the_entry_of_its_member_before_its_gateway_has_it(system: System, room: str):
    first, second = system.gateways
    async with clients(first.url, second.url) as (ann, bob):
        for client in (ann, bob):
            await client.join(room)
        await update(bob, seat=4)
        for client in (ann, bob):
            await eventually(partial(shows, client, bob.user, {"seat": 4}), "Bob's seat")
        async with connected(system.nats.url) as bus:
            await announce(bus, subjects.PRESENCE_STREAM, on=False)
            await update(bob, hand=True)

            async def is_stored() -> bool:
                members = (await roster(bus, room)).members or []
                return any(member.user == bob.user and member.fields.get("hand") for member in members)

            await eventually(is_stored, "presence has the change")
            key = subjects.presence_key(RoomId(room), UserId(bob.user))
            await bus.jetstream().publish(key, headers={"KV-Operation": "PURGE", "Nats-Rollup": "sub"})
            await announce(bus, subjects.PRESENCE_STREAM, on=True)
        for client in (ann, bob):
            wanted = partial(shows, client, bob.user, {"seat": 4, "hand": True})
            await eventually(wanted, "Bob has both fields", 2 * COMPARED_SECONDS)


async def test_nats_losing_its_storage_loses_no_fields_of_members_who_are_here(system: System, room: str):
    urls = [gateway.url for gateway in system.gateways]
    async with clients(*urls) as (ann, bob):
        for client in (ann, bob):
            await client.join(room)
        await update(ann, hand=True)
        await update(bob, seat=4)
        for client in (ann, bob):
            await eventually(partial(shows, client, ann.user, {"hand": True}), "Ann's hand")
            await eventually(partial(shows, client, bob.user, {"seat": 4}), "Bob's seat")
        system.nats.signal(signal.SIGKILL)
        system.nats.wait()
        shutil.rmtree(system.nats.log.parent / "store")
        system.nats.start()
        system.nats.wait_ready()
        await update(ann, seat=5)
        for client in (ann, bob):
            fields = {"hand": True, "seat": 5}
            await eventually(partial(shows, client, ann.user, fields), "Ann is restored", 60)
        async with clients(urls[1]) as (late,):

            async def is_whole() -> bool:
                await late.join(room)
                return shows(late, ann.user, {"hand": True, "seat": 5}) and shows(late, bob.user, {"seat": 4})

            await eventually(is_whole, "presence has all fields again", 40)
        for client in (ann, bob):
            assert "UserUpdated" not in client.types()
            assert not {left["user_id"] for left in client.payloads("UserLeft")} & {ann.user, bob.user}
