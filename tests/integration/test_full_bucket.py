"""A bucket of members that gets full: joins are refused while leaves still fit, on one server and in a cluster."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from studyroom.presence.grace import GracePeriods
from studyroom.presence.metrics import PresenceMetrics
from studyroom.presence.operations import Operations
from studyroom.presence.store import Store
from studyroom.services.provisioner.sizes import MIB
from studyroom.services.provisioner.streams import specifications
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus, BusUnavailable
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import (
    RoomId,
    UserId,
    new_connection_id,
    new_gateway_id,
    new_membership_id,
    new_user_id,
)
from studyroom.shared.contract.presence import Entry, JoinRequest, LeaveRequest, Outcome, Profile, RosterReply
from tests.support.processes import NatsServer, all_running, configured_nats_server, nats_cluster
from tests.support.streams import make_streams
from tests.support.waiting import eventually

GATEWAY = new_gateway_id()
BUCKET_BYTES = 128 * 1024
LOOKED_AT_SECONDS = 1.0
"""How long a replica may take to look how full it is."""
MOST_MEMBERS = 1000
"""Far more than fit."""
MEMBERS_BEFORE_ELECTION = 50
ELECTED_SECONDS = 30.0
ASKED_AGAIN_SECONDS = 0.02

Answer = TypeVar("Answer")


async def answered(question: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer of a replica or of NATS, asked again as gateways ask: during an election the bucket has no leader."""
    async with asyncio.timeout(ELECTED_SECONDS):
        while True:
            try:
                return await question()
            except BusUnavailable:
                await asyncio.sleep(ASKED_AGAIN_SECONDS)


@pytest.fixture(scope="module", params=[1, 3])
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[NatsServer]]:
    directory = tmp_path_factory.mktemp(f"nats-{request.param}")
    made = [configured_nats_server(directory)] if request.param == 1 else nats_cluster(directory)
    with ExitStack() as stack:
        stack.enter_context(all_running(*made))
        yield made


class Replica:
    def __init__(self, bus: Bus, tasks: Tasks) -> None:
        self.store = Store(bus, shards=range(subjects.SHARDS), marker_ttl_seconds=600)
        self.operations = Operations(
            self.store,
            PresenceMetrics(CollectorRegistry()),
            GracePeriods(on_ended=lambda _outcome: None, on_ghosts_gone=lambda _gateway: None),
            grace_seconds=60,
            guard_seconds=5,
            room_capacity=2 * MOST_MEMBERS,
        )
        tasks.supervise("mirror", self.store.keep)


@dataclass
class Bucket:
    bus: Bus
    replicas: list[Replica]

    async def info(self) -> dict[str, Any]:
        return await answered(partial(self.bus.stream_info, subjects.PRESENCE_STREAM))

    async def join(self, request: JoinRequest) -> RosterReply:
        """Join by one replica after the other."""
        replica = self.replicas[0]
        self.replicas.reverse()
        return await answered(partial(replica.operations.join, request))

    async def leave(self, joined: JoinRequest, *, lost: bool = False) -> Outcome:
        request = LeaveRequest(room=joined.room, user=joined.user, connection=joined.connection, lost=lost)
        return (await answered(partial(self.replicas[0].operations.leave, request))).outcome

    async def elect(self) -> None:
        """Let a cluster elect a leader of the bucket."""
        if self.bus.clustered:
            await self.bus.api(f"STREAM.LEADER.STEPDOWN.{subjects.PRESENCE_STREAM}")

    async def fill(self) -> list[JoinRequest]:
        """Members join until they are refused by all replicas, for longer than the size of the bucket is estimated.

        In a cluster the servers elect a leader of the bucket meanwhile.
        """
        joined: list[JoinRequest] = []
        refused_at: float | None = None
        now = asyncio.get_running_loop().time
        while refused_at is None or now() - refused_at < LOOKED_AT_SECONDS:
            assert len(joined) < MOST_MEMBERS, "nobody was refused"
            if len(joined) == MEMBERS_BEFORE_ELECTION:
                await self.elect()
            request = a_join()
            reply = await self.join(request)
            if reply.outcome is Outcome.OK:
                joined.append(request)
                refused_at = None
                continue
            assert reply.storage_full
            refused_at = refused_at or now()
            await asyncio.sleep(0.02)
        return joined


def a_join(user: UserId | None = None, *, again: bool = False) -> JoinRequest:
    return JoinRequest(
        room=RoomId(str(uuid4())), user=user or new_user_id(), connection=new_membership_id(new_connection_id(), 0),
        gateway=GATEWAY, profile=Profile(username="A" * 100), with_roster=False, again=again,
    )  # fmt: skip


@pytest.fixture
async def bucket(servers: list[NatsServer], tasks: Tasks) -> AsyncIterator[Bucket]:
    """Empty, and small."""
    async with AsyncExitStack() as stack:
        buses = []
        for server in servers[:2] if len(servers) > 1 else servers * 2:
            buses.append(Bus(NatsSettings(url=(server.url,)), BusMetrics(CollectorRegistry()), name="test"))
            stack.push_async_callback(buses[-1].close)
            await buses[-1].connect()
        sizes = dict.fromkeys(subjects.STREAMS, MIB) | {subjects.PRESENCE_STREAM: BUCKET_BYTES}
        await make_streams(buses[0], specifications(StorageSettings(replicas=len(servers)), sizes))
        await buses[0].api(f"STREAM.PURGE.{subjects.PRESENCE_STREAM}")
        replicas = [Replica(bus, tasks) for bus in buses]
        for replica in replicas:
            await replica.store.wait_ready()
        yield Bucket(buses[0], replicas)


async def test_joins_are_refused_while_leaves_and_members_still_fit(bucket: Bucket):
    joined = await bucket.fill()
    assert 0.88 < (await bucket.info())["state"]["bytes"] / BUCKET_BYTES < 0.95

    assert await bucket.leave(joined[0], lost=True) is Outcome.OK
    back = a_join(joined[0].user).model_copy(update={"room": joined[0].room})
    assert (await bucket.join(back)).outcome is Outcome.OK  # within the grace period
    assert (await bucket.join(back)).outcome is Outcome.OK  # asked once more
    assert (await bucket.join(a_join(again=True))).outcome is Outcome.OK  # restored after a reconnect
    assert (await bucket.join(a_join())).storage_full

    for one in joined[1:]:
        assert await bucket.leave(one) is Outcome.OK

    async def accepted() -> bool:
        return (await bucket.join(a_join())).outcome is Outcome.OK

    await eventually(accepted, "there is room again", 10)


async def test_a_join_that_nats_has_no_room_for_is_refused_at_once(bucket: Bucket):
    """Somebody else has filled the bucket since the last look."""
    assert (await bucket.join(a_join())).outcome is Outcome.OK
    size = BUCKET_BYTES - (await bucket.info())["state"]["bytes"] - 300
    entry = Entry(profile=Profile(username="Ada"), connections={}).encode()
    await bucket.bus.store(
        subjects.presence_key(RoomId(str(uuid4())), new_user_id()), entry.ljust(size), {}, timeout_seconds=5
    )
    assert (await bucket.join(a_join())).storage_full
