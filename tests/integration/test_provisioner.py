import asyncio
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from studyroom.services.provisioner.streams import StreamSpec, WrongStorage, ensure, specifications
from studyroom.shared.chassis.nats.batches import BatchReader
from studyroom.shared.chassis.nats.bus import ApiError, Bus
from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.contract import hook_subjects, subjects
from studyroom.shared.contract.headers import TTL, purge, removal
from studyroom.shared.contract.ids import RoomId, UserId
from tests.integration.conftest import Connect
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
async def no_streams(bus: Bus) -> None:
    listed = (await bus.api("STREAM.NAMES")).get("streams") or []
    for name in listed:
        await bus.api(f"STREAM.DELETE.{name}")


async def config(bus: Bus, stream: str) -> dict[str, Any]:
    found: dict[str, Any] = (await bus.api(f"STREAM.INFO.{stream}"))["config"]
    return found


async def test_the_streams_that_are_made_match_the_settings(bus: Bus):
    settings = StorageSettings(chat_max_messages_per_room=7, chat_duplicate_window_seconds=11)
    await ensure(bus, specifications(settings))

    chat = await config(bus, subjects.CHAT_STREAM)
    assert chat["max_msgs_per_subject"] == 7
    assert chat["duplicate_window"] == 11_000_000_000
    assert (await config(bus, subjects.PRESENCE_STREAM))["allow_msg_ttl"] is True


async def test_many_processes_may_begin_at_once(connect: Connect):
    buses = [await connect() for _ in range(8)]
    await asyncio.gather(*(ensure(each, specifications(StorageSettings())) for each in buses))

    assert sorted((await buses[0].api("STREAM.NAMES"))["streams"]) == sorted(subjects.STREAMS)


async def test_many_processes_with_different_settings_end_with_one_of_them(connect: Connect):
    buses = [await connect() for _ in range(6)]
    wishes = [StorageSettings(chat_max_messages_per_room=100 + index) for index in range(6)]
    await asyncio.gather(*(ensure(each, specifications(wish)) for each, wish in zip(buses, wishes, strict=True)))

    assert (await config(buses[0], subjects.CHAT_STREAM))["max_msgs_per_subject"] in range(100, 106)


async def test_a_second_pass_changes_nothing(bus: Bus):
    settings, names = (
        StorageSettings(hooks_max_age_seconds=3600),
        (*subjects.STREAMS, *hook_subjects.streams_of_hooks(1)),
    )
    await ensure(bus, specifications(settings))
    before = [await config(bus, stream) for stream in names]
    await ensure(bus, specifications(settings))

    assert [await config(bus, stream) for stream in names] == before


async def test_every_change_of_a_member_is_copied_for_hooks_before_the_next_replaces_it(bus: Bus):
    await ensure(bus, specifications(StorageSettings(hooks_max_age_seconds=3600)))
    room, user, other = RoomId(str(uuid4())), UserId(str(uuid4())), UserId(str(uuid4()))
    copies = BatchReader(bus, hook_subjects.MEMBER_LOG_STREAM)
    await copies.open()

    async def copied(of: UserId) -> list[bytes]:
        batch = await copies.get({"seq": 1, "next_by_subj": hook_subjects.MEMBER_LOG, "batch": 10})
        return [read.data for read in batch.messages if hook_subjects.parse_member_log(read.subject) == (room, of)]

    await bus.store(subjects.presence_key(room, other), b"there", {}, timeout_seconds=5)
    await eventually(partial(copied, other), "NATS copies")
    for value, headers in ((b"joined", {}), (b"moved", {}), (b"", purge(600)), (b"again", {TTL: "1"})):
        await bus.store(subjects.presence_key(room, user), value, headers, timeout_seconds=5)

    async def all_copied() -> bool:
        return await copied(user) == [b"joined", b"moved", b"", b"again", b""]  # the last one expires

    await eventually(all_copied, "all changes are copied")


async def test_changed_settings_are_applied_without_losing_messages(bus: Bus):
    await ensure(bus, specifications(StorageSettings()))
    await bus.store("chat.1.room", b"kept", {}, timeout_seconds=5)
    await ensure(bus, specifications(StorageSettings(chat_max_age_seconds=300, chat_max_messages_per_room=3)))

    changed = await bus.api(f"STREAM.INFO.{subjects.CHAT_STREAM}")
    assert changed["config"]["max_age"] == 300_000_000_000
    assert changed["state"]["messages"] == 1


async def test_buckets_that_gateways_write_are_migrated_to_refuse_rollups_and_keep_their_data(bus: Bus):
    streams = {subjects.GATEWAYS_STREAM: "$KV.gateways.one", subjects.MODERATION_STREAM: "$KV.moderation.ban.one"}
    specs = specifications(StorageSettings())
    markers = {"allow_rollup_hdrs": True, "subject_delete_marker_ttl": 600_000_000_000}
    await ensure(bus, [StreamSpec({**spec.config, **markers}) for spec in specs if spec.name in streams])
    for key in streams.values():
        await bus.store(key, b"{}", {TTL: "600"}, timeout_seconds=5)
        await bus.store(f"{key}.gone", b"", {**purge(600)}, timeout_seconds=5)
    await ensure(bus, specs)

    for stream, key in streams.items():
        found = await bus.api(f"STREAM.INFO.{stream}", {"subjects_filter": key})
        assert found["config"]["allow_rollup_hdrs"] is False
        assert "subject_delete_marker_ttl" not in found["config"]
        assert found["state"]["subjects"] == {key: 1}
        with pytest.raises(ApiError, match="rollup not permitted"):
            await bus.store(key, b"{}", {"Nats-Rollup": "all"}, timeout_seconds=5)
        await bus.store(key, b"", removal(600), timeout_seconds=5)


async def test_storage_that_cannot_change_is_a_clear_error(bus: Bus):
    await ensure(bus, specifications(StorageSettings(kind="memory")))

    with pytest.raises(WrongStorage, match="STUDYROOM_STORAGE_KIND"):
        await ensure(bus, specifications(StorageSettings(kind="file")))
