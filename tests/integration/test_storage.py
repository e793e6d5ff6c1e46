"""The provisioner on real servers: how much each stream may take, which are made, and when they are left alone."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from studyroom.services.provisioner.reconciler import Reconciler
from studyroom.services.provisioner.streams import NotAllowed, WrongStorage, ensure, specifications
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus, BusError
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings
from studyroom.shared.contract import subjects
from studyroom.shared.contract.audit_subjects import AUDIT_STREAM
from studyroom.shared.contract.retention_subjects import RETENTION_STREAM
from tests.support.processes import NatsServer, configured_nats_server, nats_cluster, nats_server, running
from tests.support.waiting import eventually

MIB = 1024**2
OLD_SERVER = Path(__file__).parents[2] / ".venv" / "nats-server-2.10" / "bin" / "nats-server"
WITH_LIMITS = """
    accounts {
      ROOMS {
        jetstream: { max_file: 64M, max_mem: 1M, max_bytes_required: true }
        users: [{ user: us, password: us }]
      }
    }
    no_auth_user: us
"""


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Bus]:
    bus = Bus(NatsSettings(url=tuple(url.split(","))), BusMetrics(CollectorRegistry()), name="test")
    await bus.connect()
    try:
        yield bus
    finally:
        await bus.close()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[NatsServer]:
    with running(nats_server(tmp_path)) as server:
        yield server


@pytest.fixture
async def bus(empty: NatsServer) -> AsyncIterator[Bus]:
    async with connected(empty.url) as opened:
        yield opened


async def configs(bus: Bus) -> dict[str, dict[str, Any]]:
    found = {}
    for name in subjects.STREAMS:
        found[name] = (await bus.api(f"STREAM.INFO.{name}"))["config"]
    return found


async def sizes(bus: Bus) -> dict[str, int]:
    return {name: config["max_bytes"] for name, config in (await configs(bus)).items()}


@asynccontextmanager
async def counting_updates(bus: Bus) -> AsyncIterator[list[str]]:
    """The names of the streams that are updated meanwhile."""
    updated: list[str] = []
    subscription = await bus.subscribe(
        "$JS.EVENT.ADVISORY.STREAM.UPDATED.*", lambda message: updated.append(message.subject.rsplit(".", 1)[1])
    )
    await bus.flush()
    yield updated
    await bus.flush()
    await subscription.unsubscribe()


# --- how much ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["", WITH_LIMITS], ids=["a limit of the server", "an account that demands limits"])
async def test_every_stream_has_its_part_of_the_store_and_chat_the_largest(tmp_path: Path, config: str):
    server = configured_nats_server(tmp_path, config, jetstream="" if config else "max_file_store: 64M")
    with running(server):
        async with connected(server.url) as bus:
            await Reconciler(bus, StorageSettings()).ensure()
            parts = await sizes(bus)
    assert all(part > 0 for part in parts.values())
    assert sum(parts.values()) <= 64_000_000
    assert parts[subjects.CHAT_STREAM] >= 24 * MIB
    assert parts[subjects.PRESENCE_STREAM] >= 4 * MIB


async def test_the_storage_matches_the_settings(bus: Bus):
    settings = StorageSettings(size_bytes=80 * MIB, chat_max_bytes=10 * MIB, chat_when_full="drop_oldest")
    await Reconciler(bus, settings).ensure()
    assert (await sizes(bus))[subjects.CHAT_STREAM] == 10 * MIB
    assert (await sizes(bus))[subjects.PRESENCE_STREAM] == 10 * MIB
    assert (await configs(bus))[subjects.CHAT_STREAM]["discard"] == "old"


async def test_a_chat_stream_from_before_there_were_limits_gets_a_limit_above_its_size(bus: Bus):
    await ensure(bus, specifications(StorageSettings()))
    for _ in range(20):
        await bus.store("chat.1.room", b"x" * 100_000, {}, timeout_seconds=5)
    await Reconciler(bus, StorageSettings(size_bytes=MIB)).ensure()
    info = await bus.api(f"STREAM.INFO.{subjects.CHAT_STREAM}")
    assert info["state"]["messages"] == 20
    assert info["config"]["max_bytes"] > info["state"]["bytes"] > MIB


async def test_a_stream_is_never_made_smaller_because_there_is_less_room(bus: Bus):
    await Reconciler(bus, StorageSettings(size_bytes=80 * MIB)).ensure()
    before = await sizes(bus)
    async with counting_updates(bus) as updated:
        await Reconciler(bus, StorageSettings(size_bytes=8 * MIB)).ensure()
        await Reconciler(bus, StorageSettings()).ensure()
    assert (await sizes(bus), updated) == (before, [])


async def test_a_store_without_room_is_a_clear_error(tmp_path: Path):
    with running(configured_nats_server(tmp_path, jetstream="max_file_store: 8M")) as server:
        async with connected(server.url) as bus:
            with pytest.raises(WrongStorage, match=r"insufficient storage.*STUDYROOM_STORAGE_SIZE_BYTES"):
                await Reconciler(bus, StorageSettings(size_bytes=100 * MIB)).ensure()


# --- when to leave them alone ------------------------------------------------------------------------------


async def test_the_last_started_of_two_provisioners_that_disagree_has_its_way(bus: Bus):
    old, new = (Reconciler(bus, StorageSettings(chat_max_messages_per_room=most)) for most in (100, 200))
    async with counting_updates(bus) as updated:
        for keeper in (old, new, old, new, old):
            await keeper.ensure()
    assert (await configs(bus))[subjects.CHAT_STREAM]["max_msgs_per_subject"] == 200
    assert updated == [subjects.CHAT_STREAM]


async def test_settings_added_by_an_operator_or_a_newer_server_stay_and_cause_no_update(bus: Bus):
    keeper = Reconciler(bus, StorageSettings())
    await keeper.ensure()
    chat = (await configs(bus))[subjects.CHAT_STREAM]
    added = {**chat, "compression": "s2", "metadata": {**chat["metadata"], "owner": "operations"}}
    await bus.api(f"STREAM.UPDATE.{subjects.CHAT_STREAM}", added)
    async with counting_updates(bus) as updated:
        await keeper.ensure()
        await Reconciler(bus, StorageSettings()).ensure()
    assert updated == []
    await Reconciler(bus, StorageSettings(chat_max_messages_per_room=7)).ensure()
    chat = (await configs(bus))[subjects.CHAT_STREAM]
    assert (chat["compression"], chat["metadata"]["owner"], chat["max_msgs_per_subject"]) == ("s2", "operations", 7)


# --- which are made ----------------------------------------------------------------------------------------


async def test_a_lost_chat_stream_is_made_again_on_an_operators_command_and_a_lost_members_stream_at_once(bus: Bus):
    keeper = Reconciler(bus, StorageSettings())
    await keeper.ensure()
    await bus.api(f"STREAM.DELETE.{subjects.PRESENCE_STREAM}")
    await keeper.ensure()
    for lost in (subjects.MODERATION_STREAM, subjects.CHAT_STREAM):
        await bus.api(f"STREAM.DELETE.{lost}")
        for _ in range(2):
            with pytest.raises(NotAllowed, match=f"{lost}.* was made after {lost}.*STUDYROOM_STORAGE_CREATE"):
                await keeper.ensure()
        await Reconciler(bus, StorageSettings(create="missing")).ensure()
        assert sorted(await configs(bus)) == sorted(subjects.STREAMS)


async def test_a_first_run_that_was_interrupted_is_finished(bus: Bus):
    await Reconciler(bus, StorageSettings()).ensure()
    buckets = (subjects.GATEWAYS_STREAM, subjects.PRESENCE_STREAM)
    made_last = (*buckets, RETENTION_STREAM, AUDIT_STREAM, subjects.MODERATION_STREAM)
    for missing in range(1, 6):
        for name in made_last[:missing]:
            await bus.api(f"STREAM.DELETE.{name}")
        await Reconciler(bus, StorageSettings()).ensure()
    assert sorted(await configs(bus)) == sorted(subjects.STREAMS)


async def test_where_streams_are_never_made_the_missing_stream_is_named(bus: Bus):
    with pytest.raises(NotAllowed, match=f"{subjects.PRESENCE_STREAM}.* missing"):
        await Reconciler(bus, StorageSettings(create="never")).ensure()


async def test_many_provisioners_may_begin_at_once_in_a_cluster(tmp_path: Path):
    servers = nats_cluster(tmp_path)
    async with AsyncExitStack() as stack:
        for server in servers:
            server.start()
            stack.callback(server.stop)
        for server in servers:
            await asyncio.to_thread(server.wait_ready)
        buses = [await stack.enter_async_context(connected(server.url)) for server in servers]
        await asyncio.gather(*(Reconciler(bus, StorageSettings(replicas=3)).ensure() for bus in buses))
        assert sorted(await configs(buses[0])) == sorted(subjects.STREAMS)


# --- servers that are too old ------------------------------------------------------------------------------


@pytest.fixture
def old_program() -> str:
    if not OLD_SERVER.exists():
        pytest.skip(f"no nats-server 2.10 at {OLD_SERVER} (.ci/run installs one)")
    return str(OLD_SERVER)


async def test_a_server_that_is_too_old_is_named_and_gets_no_streams(tmp_path: Path, old_program: str):
    server = nats_server(tmp_path)
    server.command[0] = old_program
    with running(server):
        async with connected(server.url) as bus:
            with pytest.raises(WrongStorage, match=r"2\.11 or newer is needed: embedded is 2\.10"):
                await Reconciler(bus, StorageSettings()).ensure()
            assert not (await bus.api("STREAM.NAMES"))["streams"]
            with pytest.raises(WrongStorage, match=r"2\.10.* ignored .*allow_msg_ttl"):
                await ensure(bus, specifications(StorageSettings()))


async def test_every_server_of_a_cluster_has_to_be_new_enough(tmp_path: Path, old_program: str):
    servers = nats_cluster(tmp_path)
    servers[2].command[0] = old_program
    async with AsyncExitStack() as stack:
        for server in servers:
            server.start()
            stack.callback(server.stop)
        bus = await stack.enter_async_context(connected(servers[0].url))
        keeper = Reconciler(bus, StorageSettings(replicas=3))

        async def why() -> str:
            try:
                await keeper.ensure()
            except (WrongStorage, NotAllowed, BusError) as error:
                return str(error)
            return ""

        async def named() -> bool:
            return "n2 is 2.10" in await why()

        began = time.monotonic()
        await eventually(named, "the old server is named", 30)
        print(f"named after {time.monotonic() - began:.1f} s")


async def test_an_old_server_is_named_before_the_cluster_has_a_leader(tmp_path: Path, old_program: str):
    """Two of three that would elect one are not there."""
    old = nats_cluster(tmp_path)[2]
    old.command[0] = old_program
    old.start()
    try:
        async with connected(old.url) as bus:
            with pytest.raises(WrongStorage, match=r"n2 is 2\.10"):
                await Reconciler(bus, StorageSettings(replicas=3)).ensure()
    finally:
        old.stop()
