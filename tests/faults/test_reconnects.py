"""A gateway that comes back to NATS: it finds changes, and does not write unchanged members again."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from nats.aio.client import Client as Nats

from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.presence import Entry, LeaveRequest
from tests.support.client import Client, clients
from tests.support.presence import announce, connected, users_in
from tests.support.processes import NatsServer, ServiceProcess, all_running, nats_server, running, service
from tests.support.proxy import Link, Network
from tests.support.roster import memberships
from tests.support.waiting import eventually

MEMBERS, ROOMS = 80, 8
COMPARED = 4
"""After a reconnect: at once, and three times more within seconds."""
SHOWN_SECONDS = 4.0
"""Less than any of the comparisons that come every ten seconds."""
SETTINGS = {"STUDYROOM_PRESENCE_GRACE_SECONDS": "1", "STUDYROOM_PRESENCE_GUARD_SECONDS": "2"}


@dataclass
class System:
    nats: NatsServer
    presence: ServiceProcess
    gateway: ServiceProcess
    """Its way to NATS is the link."""
    other: ServiceProcess
    link: Link

    def completed(self) -> float:
        """How often a gateway has announced all connections of a shard to presence."""
        return self.presence.metric('studyroom_presence_roster_request_duration_seconds_count{request="complete"}')

    def found(self) -> float:
        """How many changes the gateway has found in rosters, without an event."""
        return self.gateway.metric("studyroom_gateway_resync_differences_total")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("reconnects")
    network = Network()
    with running(nats_server(directory)) as nats:
        presence = service("presence", directory, nats.url, **SETTINGS)
        other = service("gateway", directory, nats.url)
        with all_running(service("provisioner", directory, nats.url), presence, other):
            link = network.link(int(nats.url.rsplit(":", 1)[1]))
            yield System(nats, presence, other, other, link)
    network.close()


@pytest.fixture
def system(stack: System, tmp_path: Path) -> Iterator[System]:
    """With a gateway that has just begun, so that its next comparison is some time off."""
    gateway = service("gateway", tmp_path, f"nats://127.0.0.1:{stack.link.port}")
    with all_running(gateway):
        yield System(stack.nats, stack.presence, gateway, stack.other, stack.link)


async def written(bus: Nats) -> int:
    """Sequence of the last change of any entry."""
    answer = await bus.request(f"$JS.API.STREAM.INFO.{subjects.PRESENCE_STREAM}", timeout=5)
    sequence: int = json.loads(answer.data)["state"]["last_seq"]
    return sequence


def roster_of(client: Client) -> set[str]:
    return memberships(client.log)[-1].users


def knows(client: Client, users: set[str]) -> bool:
    return roster_of(client) == users


async def test_a_reconnect_that_finds_nothing_changed_writes_nothing_and_sends_nothing(system: System):
    rooms = [str(uuid4()) for _ in range(ROOMS)]
    members = [await Client.connect(system.gateway.url) for _ in range(MEMBERS)]
    await asyncio.gather(*(member.join(rooms[index % ROOMS]) for index, member in enumerate(members)))
    async with clients(*[system.other.url] * ROOMS) as others, connected(system.nats.url) as bus:
        for other, room in zip(others, rooms, strict=True):
            await other.join(room)
        for index, member in enumerate(members):
            here = {one.user for one in members[index % ROOMS :: ROOMS]} | {others[index % ROOMS].user}
            await eventually(partial(knows, member, here), "everyone knows everyone")
        lengths, before, completed = [len(member.log) for member in members], await written(bus), system.completed()
        system.link.reset()
        await eventually(
            lambda: system.completed() >= completed + COMPARED * subjects.SHARDS, "all has been compared", 20
        )
        after = await written(bus)
        await members[0].chat("still here")
        await others[0].expect("Chat")
        restored = system.gateway.metric("studyroom_gateway_connections_restored_total")
        newcomer = await Client.connect(system.other.url)
        await newcomer.join(rooms[1])
        await members[1].expect("UserJoined")
        changed = [len(member.log) - count for member, count in zip(members[2:], lengths[2:], strict=True)]
        await newcomer.close()
    for member in members:
        await member.close()

    assert (after - before, restored) == (0, 0)
    assert max(changed[: ROOMS - 2]) == 0


async def test_changes_while_a_gateway_was_cut_off_are_sent_and_its_own_member_is_restored(system: System, room: str):
    async with (
        clients(system.gateway.url, system.gateway.url, system.other.url, system.other.url) as (ann, bob, cem, dan),
        connected(system.nats.url) as bus,
    ):
        for client in (ann, bob, cem):
            await client.join(room)
        system.link.cut()
        await cem.leave()
        await dan.join(room)
        key = subjects.presence_key(RoomId(room), UserId(bob.user))
        question = json.dumps({"last_by_subj": key}).encode()
        answer = await bus.request(f"$JS.API.STREAM.MSG.GET.{subjects.PRESENCE_STREAM}", question, timeout=5)
        (membership_id,) = Entry.decode(b64decode(json.loads(answer.data)["message"]["data"])).connections
        leave = LeaveRequest(room=RoomId(room), user=UserId(bob.user), connection=membership_id)
        await bus.request(subjects.presence_leave(subjects.shard_of(RoomId(room))), leave.encode(), timeout=5)
        assert await users_in(bus, room) == {ann.user, dan.user}
        before = await written(bus)
        system.link.reset()
        system.link.heal()
        here = {ann.user, bob.user, dan.user}
        for client in (ann, bob, dan):
            await eventually(partial(knows, client, here), "everyone knows who is here", SHOWN_SECONDS)
        assert await users_in(bus, room) == here
        print(f"{await written(bus) - before} entries written for one member that was missing and one changed room")


async def test_a_change_that_was_lost_right_after_a_reconnect_is_found_soon(system: System, room: str):
    """The stream's leader may not know of the gateway's subscriptions yet."""
    async with clients(system.gateway.url, system.other.url) as (ann, bob), connected(system.nats.url) as bus:
        await ann.join(room)
        await bob.join(room)
        await ann.expect("UserJoined")
        await announce(bus, subjects.PRESENCE_STREAM, on=False)
        completed = system.completed()
        system.link.reset()
        await eventually(lambda: system.completed() >= completed + subjects.SHARDS, "all has been compared once")
        found = system.found()
        await bob.leave()

        async def alone() -> bool:
            return await users_in(bus, room) == {ann.user}

        await eventually(alone, "presence knows that bob has left")
        await announce(bus, subjects.PRESENCE_STREAM, on=True)
        assert (await ann.expect("UserLeft", SHOWN_SECONDS))["user_id"] == bob.user
        await eventually(lambda: system.found() > found, "the gateway counts the leave as lost, and found in a roster")
