"""Presence divided by shards: a group that is gone or stands still costs the rooms of the others nothing."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest

from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.subjects import SHARDS, shard_of
from tests.support.client import Client, clients
from tests.support.presence import connected, users_in
from tests.support.processes import NatsServer, ServiceProcess, all_running, nats_server, running, service
from tests.support.proxy import Network
from tests.support.tokens import SECRET, token_of
from tests.support.waiting import eventually

HEALTHY, OTHER = range(SHARDS // 2), range(SHARDS // 2, SHARDS)
LOST = 150
SOON_SECONDS = 2.0
"""Far more than a leave or a join takes, on a busy machine too, and far less than any attempt is kept up."""
GRACE_SECONDS = 4
SETTINGS = {
    "STUDYROOM_PRESENCE_GRACE_SECONDS": str(GRACE_SECONDS),
    "STUDYROOM_PRESENCE_GUARD_SECONDS": "2",
    "STUDYROOM_GATEWAY_JWT_SECRET": SECRET,
}


@dataclass
class System:
    nats: NatsServer
    healthy: ServiceProcess
    other: ServiceProcess
    gateway: ServiceProcess


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("groups")
    with running(nats_server(directory)) as nats:
        healthy, other = (
            service(
                "presence",
                directory,
                nats.url,
                STUDYROOM_PRESENCE_SHARDS=f"{shards[0]}-{shards[-1]}",
                **SETTINGS,
            )
            for shards in (HEALTHY, OTHER)
        )
        gateway = service("gateway", directory, nats.url, STUDYROOM_GATEWAY_JOIN_DEADLINE_SECONDS="2", **SETTINGS)
        with all_running(service("provisioner", directory, nats.url), healthy, other, gateway):
            yield System(nats, healthy, other, gateway)


@pytest.fixture
def room_here() -> str:
    """A room of the healthy group."""
    return room_in(HEALTHY)


@contextmanager
def out_of_order(replica: ServiceProcess, *, gone: bool) -> Iterator[None]:
    """Its process is killed, or stands still."""
    if gone:
        replica.signal(signal.SIGKILL)
        replica.wait()
    else:
        replica.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        if gone:
            replica.start()
            replica.wait_ready()
        else:
            replica.signal(signal.SIGCONT)


def room_in(shards: range) -> str:
    while shard_of(RoomId(room := str(uuid4()))) not in shards:
        continue
    return room


@pytest.mark.parametrize("gone", [False, True], ids=["stands still", "is gone"])
async def test_a_dead_shard_group_does_not_hold_up_leaves_and_joins_of_the_others(
    system: System, room_here: str, gone: bool
):
    url = system.gateway.url
    lost = [await Client.connect(url) for _ in range(LOST)]
    rooms = [room_in(OTHER) for _ in lost]
    for client, place in zip(lost, rooms, strict=True):
        await client.join(place)
    async with clients(url, url, url) as (ann, bob, cem), connected(system.nats.url) as bus:
        for client in (ann, bob):
            await client.join(room_here)
        await ann.expect("UserJoined")
        with out_of_order(system.other, gone=gone):
            for client in lost:
                await client.drop()
            waiting = [await Client.connect(url) for _ in range(50)]
            for client in waiting:
                await client.send("JoinRoom", {"room_id": room_in(OTHER)})
            for _ in range(3):
                await bob.leave()
                assert (await ann.expect("UserLeft", SOON_SECONDS))["user_id"] == bob.user
                await bob.send("JoinRoom", {"room_id": room_here})
                await bob.expect("JoinedRoom", SOON_SECONDS)
                await ann.expect("UserJoined", SOON_SECONDS)
            await cem.send("JoinRoom", {"room_id": room_in(HEALTHY)})
            await cem.expect("JoinedRoom", SOON_SECONDS)
            assert await asyncio.to_thread(roster_is_answered, system.gateway, room_here)
            for client in waiting:
                refused = await client.next(10)
                assert refused["payload"]["code"] == "presence_unavailable"
                await client.close()

        async def all_have_left() -> bool:
            return not any([await users_in(bus, place) for place in rooms])

        await eventually(all_have_left, "the lost ones are gone when their group is back", 15)
        await cem.send("JoinRoom", {"room_id": rooms[0]})
        await cem.expect("JoinedRoom", SOON_SECONDS)


def roster_is_answered(gateway: ServiceProcess, room: str) -> bool:
    base = gateway.url.replace("ws://", "http://").removesuffix("/ws")
    request = Request(
        f"{base}/api/v1/rooms/{room}/roster", headers={"Authorization": f"Bearer {token_of(str(uuid4()))}"}
    )
    with urlopen(request, timeout=SOON_SECONDS) as response:
        return bool(response.status == 200)


async def test_a_reconnect_is_repaired_in_a_healthy_group_while_another_does_not_answer(
    system: System, tmp_path: Path, room_here: str
):
    network = Network()
    link = network.link(int(system.nats.url.rsplit(":", 1)[1]))
    far = service("gateway", tmp_path, f"nats://127.0.0.1:{link.port}", **SETTINGS)
    with all_running(far), out_of_order(system.other, gone=False):
        async with clients(far.url, system.gateway.url) as (ann, bob), connected(system.nats.url) as bus:
            await ann.join(room_here)
            for _ in range(2):
                await bob.join(room_here)
                await ann.expect("UserJoined", SOON_SECONDS)
                link.cut()
                await bob.leave()

                async def alone() -> bool:
                    return await users_in(bus, room_here) == {ann.user}

                await eventually(alone, "presence knows that bob has left")
                link.reset()
                link.heal()
                assert (await ann.expect("UserLeft", SOON_SECONDS))["user_id"] == bob.user
    network.close()


async def test_a_drain_ends_in_time_and_gives_up_its_lease_though_a_group_does_not_answer(
    system: System, tmp_path: Path, room_here: str
):
    leaving = service("gateway", tmp_path, system.nats.url, STUDYROOM_STOP_DEADLINE_SECONDS="20", **SETTINGS)
    with all_running(leaving):
        async with clients(system.gateway.url) as (ann,):
            await ann.join(room_here)
            for place in (room_here, room_in(OTHER)):
                client = await Client.connect(leaving.url)
                await client.join(place)
            await ann.expect("UserJoined")
            with out_of_order(system.other, gone=False):
                began = time.monotonic()
                leaving.signal(signal.SIGTERM)
                assert await asyncio.to_thread(leaving.wait) == 0
                took = time.monotonic() - began
    print(f"the drain took {took:.1f} s")
    assert took < 15
    assert "the drain did not finish in time" not in leaving.output()
    assert "failed to remove the lease" not in leaving.output()


async def test_a_client_that_closes_during_its_join_is_gone_as_soon_as_it_was_there(system: System):
    place = room_in(OTHER)
    async with clients(system.gateway.url) as (ann,):
        await ann.join(place)
        bob = await Client.connect(system.gateway.url)
        with out_of_order(system.other, gone=False):
            await bob.send("JoinRoom", {"room_id": place})
            await bob.settle()
            await bob.socket.close(1000)
            await bob.ended()
        assert (await ann.expect("UserJoined"))["user"]["user_id"] == bob.user
        assert (await ann.expect("UserLeft", SOON_SECONDS))["user_id"] == bob.user


async def test_a_client_that_moves_the_mouse_during_a_join_may_chat_and_the_newest_move_is_sent(system: System):
    place, moves = room_in(OTHER), 150
    async with clients(system.gateway.url, system.gateway.url) as (ann, bob):
        await ann.join(place)
        with out_of_order(system.other, gone=False):
            await bob.send("JoinRoom", {"room_id": place})
            for x in range(moves):
                await bob.send("CursorMove", {"x": x, "y": 0})
            await bob.chat("hello")
            await bob.settle()
        await bob.expect("JoinedRoom")
        assert (await bob.expect("Chat"))["content"] == "hello"
        await eventually(lambda: ann.payloads("CursorUpdate"), "the cursor is sent")
        await ann.expect("Chat")

    assert [update["x"] for update in ann.payloads("CursorUpdate")] == [moves - 1]
