"""Changing the number of groups of shards: only where no chat is left behind, and while no service runs."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from studyroom.services.provisioner.reconciler import Reconciler
from studyroom.services.provisioner.streams import NotAllowed
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings
from studyroom.shared.contract import document_subjects, subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.groups import Group, groups_made
from studyroom.shared.contract.ids import RoomId, new_gateway_id, new_user_id
from tests.support.processes import NatsServer, nats_server, running

NOTES = DocumentName("notes")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with running(nats_server(tmp_path)) as ready:
        yield ready


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    connection = Bus(NatsSettings(url=(server.url,)), BusMetrics(CollectorRegistry()), name="test")
    await connection.connect()
    yield connection
    await connection.close()


async def provision(bus: Bus, groups: int) -> None:
    await Reconciler(bus, StorageSettings(groups=groups)).ensure()


async def names(bus: Bus) -> list[str]:
    return sorted((await bus.api("STREAM.NAMES"))["streams"])


async def config(bus: Bus, stream: str) -> dict[str, object]:
    found: dict[str, object] = (await bus.api(f"STREAM.INFO.{stream}"))["config"]
    return found


async def remove(bus: Bus, *streams: str) -> None:
    for stream in streams:
        await bus.api(f"STREAM.DELETE.{stream}")


async def store(bus: Bus, subject: str) -> None:
    await bus.store(subject, b"{}", {}, timeout_seconds=5)


@pytest.mark.parametrize("groups", [1, 3, 4, 16])
async def test_each_group_gets_its_streams_and_an_equal_part_of_the_store(bus: Bus, groups: int):
    await provision(bus, groups)
    assert await names(bus) == sorted(subjects.streams(groups))
    for of in (subjects.chat_streams(groups), subjects.presence_streams(groups), subjects.documents_streams(groups)):
        assert len({(await config(bus, name))["max_bytes"] for name in of}) == 1
    room = RoomId(str(uuid4()))
    own = Group(subjects.shard_of(room) % groups, groups)
    await store(bus, subjects.chat(room))
    await store(bus, subjects.presence_key(room, new_user_id()))
    await store(bus, own.presence_incarnation)
    await store(bus, document_subjects.document(room, NOTES))
    await store(bus, document_subjects.document_snapshot(room, NOTES))
    await store(bus, own.documents_incarnation)
    for name in (
        *subjects.chat_streams(groups),
        *subjects.presence_streams(groups),
        *subjects.documents_streams(groups),
    ):
        state = (await bus.api(f"STREAM.INFO.{name}"))["state"]
        assert state["messages"] == {own.chat_stream: 1, own.presence_stream: 2, own.documents_stream: 3}.get(name, 0)
    await provision(bus, groups)


@pytest.mark.parametrize("stream", ["CHAT", "DOCUMENTS"])
async def test_chat_and_documents_are_never_left_behind(bus: Bus, stream: str):
    await provision(bus, 1)
    room = RoomId(str(uuid4()))
    await store(bus, {"CHAT": subjects.chat(room), "DOCUMENTS": document_subjects.document(room, NOTES)}[stream])
    for _ in range(2):
        with pytest.raises(
            NotAllowed, match=rf"GROUPS is 4, and .* made with 1.*{stream} has 1 messages.*Groups of shards"
        ):
            await provision(bus, 4)
    assert await names(bus) == sorted(subjects.STREAMS)
    await provision(bus, 1)


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 2), (2, 4), (3, 1)])
async def test_when_the_streams_without_chat_are_removed_others_take_their_place(bus: Bus, before: int, after: int):
    await provision(bus, before)
    await store(bus, subjects.presence_key(RoomId(str(uuid4())), new_user_id()))
    divided = (subjects.chat_streams, subjects.presence_streams, subjects.documents_streams)
    old = sorted(name for of in divided for name in of(before))
    with pytest.raises(NotAllowed, match=re.escape(f"Nothing would be lost: remove {' '.join(old)} ")):
        await provision(bus, after)
    await remove(bus, *old)
    await provision(bus, after)
    assert await names(bus) == sorted(subjects.streams(after))
    assert {groups_made(await config(bus, name)) for name in await names(bus)} == {after}


async def test_bans_survive_the_change(bus: Bus):
    await provision(bus, 1)
    ban = subjects.moderation_key("ban", new_user_id(), None)
    await store(bus, ban)
    await remove(bus, subjects.CHAT_STREAM, subjects.PRESENCE_STREAM, subjects.DOCUMENTS_STREAM)
    await provision(bus, 4)
    assert await bus.stored(subjects.MODERATION_STREAM, {"last_by_subj": ban}) is not None


async def test_nothing_changes_while_services_run(bus: Bus):
    await provision(bus, 1)
    lease = subjects.gateway_key(new_gateway_id())
    await store(bus, lease)
    with pytest.raises(NotAllowed, match="Stop all gateways and presence first: gateways have leases"):
        await provision(bus, 4)
    # Not even if somebody has removed the streams under them.
    await remove(bus, subjects.CHAT_STREAM, subjects.PRESENCE_STREAM, subjects.DOCUMENTS_STREAM)
    with pytest.raises(NotAllowed, match="gateways have leases"):
        await provision(bus, 4)
    await bus.api(f"STREAM.PURGE.{subjects.GATEWAYS_STREAM}")
    await provision(bus, 4)


async def test_a_change_that_was_interrupted_goes_on(bus: Bus):
    await provision(bus, 1)
    regrouped = (subjects.CHAT_STREAM, subjects.PRESENCE_STREAM, subjects.DOCUMENTS_STREAM)
    kept = [await config(bus, name) for name in await names(bus) if name not in regrouped]
    await remove(bus, *regrouped)
    await provision(bus, 4)
    # A crash between the streams of chat leaves this behind.
    await remove(bus, "CHAT_3", *subjects.presence_streams(4), *subjects.documents_streams(4))
    for stream in kept:
        await bus.api(f"STREAM.UPDATE.{stream['name']}", stream)
    await provision(bus, 4)
    assert await names(bus) == sorted(subjects.streams(4))
    assert {groups_made(await config(bus, name)) for name in await names(bus)} == {4}


async def test_an_earlier_provisioner_with_another_number_takes_nothing_back(bus: Bus):
    early = Reconciler(bus, StorageSettings(groups=1))
    await early.ensure()
    await remove(bus, subjects.CHAT_STREAM, subjects.PRESENCE_STREAM, subjects.DOCUMENTS_STREAM)
    await provision(bus, 4)
    with pytest.raises(NotAllowed, match="a provisioner that started later"):
        await early.ensure()
    assert await names(bus) == sorted(subjects.streams(4))
