"""Replicas of presence that freeze, and streams that are replaced."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client as Nats

from studyroom.shared.contract import subjects
from tests.support.client import Client, clients
from tests.support.presence import connected, users_in
from tests.support.processes import EmbeddedStack, embedded_stack, running
from tests.support.waiting import eventually, http_get

JOIN_REQUESTS = 'studyroom_presence_roster_request_duration_seconds_count{request="join"} '


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[EmbeddedStack]:
    stack = embedded_stack(tmp_path, gateways=1, presence=2)
    with running(stack):
        yield stack


async def test_a_frozen_replica_fails_no_join_and_leaves_no_ghost_when_it_thaws(own_stack: EmbeddedStack, room: str):
    replica = own_stack.of("presence")[0]
    frozen, before = replica["pid"], joins(replica["admin_url"])
    joining = [await Client.connect(own_stack.gateways[0]) for _ in range(40)]
    signal_process(frozen, signal.SIGSTOP)
    try:
        for client in joining:
            await client.send("JoinRoom", {"room_id": room})
        await asyncio.gather(*(client.expect("JoinedRoom") for client in joining))
        for client in joining:
            await client.drop()
        async with connected(own_stack.nats_url) as bus:
            await eventually(lambda: nobody(bus, room), "everyone has left")
            signal_process(frozen, signal.SIGCONT)
            # The frozen replica carries out its pending requests now, and the gateway takes them back.
            await eventually(lambda: joins(replica["admin_url"]) > before, "the frozen replica goes on")
            await eventually(lambda: nobody(bus, room), "nobody is left behind")
    finally:
        signal_process(frozen, signal.SIGCONT)


async def test_rooms_joined_after_the_stream_was_replaced_are_of_another_epoch(own_stack: EmbeddedStack, room: str):
    async with clients(own_stack.gateways[0], own_stack.gateways[0]) as (ann, bob):
        before = (await ann.join(room))["epoch"]
        async with connected(own_stack.nats_url) as bus:
            await bus.request(f"$JS.API.STREAM.DELETE.{subjects.PRESENCE_STREAM}", timeout=5)
        await ann.leave()

        async def joined_again() -> bool:
            await bob.send("JoinRoom", {"room_id": room})
            answer = await bob.next()
            return bool(answer["type"] == "JoinedRoom" and answer["payload"]["epoch"] != before)

        await eventually(joined_again, "the epoch is another", 30)


def joins(admin_url: str) -> float:
    """Requests to join that the replica has answered, with any outcome."""
    for line in http_get(f"{admin_url}/metrics")[1].splitlines():
        if line.startswith(JOIN_REQUESTS):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


async def nobody(bus: Nats, room: str) -> bool:
    """Nobody is in the room, whichever replica answers."""
    return not any([await users_in(bus, room) for _ in range(8)])


def signal_process(pid: int, number: signal.Signals) -> None:

    os.kill(pid, number)
