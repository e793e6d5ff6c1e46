"""The bucket of moderation as a gateway follows it."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from studyroom.gateway.moderation import moderation
from studyroom.gateway.moderation.moderation import Moderation
from studyroom.services.provisioner.streams import ensure, specifications
from studyroom.shared.chassis.metrics import ProcessMetrics
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import removal
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.moderation import COMMAND_SECONDS, Command, Kind, Target
from tests.support.waiting import eventually

ORDER = Command(by="key backend")

Connect = Callable[..., Awaitable[Bus]]


@pytest.fixture
async def bucket(bus: Bus) -> Bus:
    await ensure(bus, specifications(StorageSettings()))
    return bus


@asynccontextmanager
async def following(bus: Bus, carried_out: list[Target]) -> AsyncIterator[Moderation]:
    tasks = Tasks(ProcessMetrics(CollectorRegistry(), "test"))
    follower = Moderation(bus, tasks, carried_out.append)
    await follower.start()
    tasks.spawn("moderation", follower.run())
    try:
        yield follower
    finally:
        await tasks.stop()


def ban() -> Target:
    return Target(Kind.BAN, UserId(str(uuid4())))


def is_free(follower: Moderation, target: Target) -> bool:
    return follower.ban_of(target.user) is None


async def republish(bus: Bus, what: dict[str, str] | None) -> None:
    config = (await bus.api(f"STREAM.INFO.{subjects.MODERATION_STREAM}"))["config"]
    config.pop("republish", None)
    await bus.api(f"STREAM.UPDATE.{subjects.MODERATION_STREAM}", {**config, **({"republish": what} if what else {})})


async def test_every_gateway_carries_out_a_command_once_and_later_gateways_know_it(bucket: Bus, connect: Connect):
    target = ban()
    removal = Target(Kind.REMOVE, target.user, RoomId(str(uuid4())))
    here: list[Target] = []
    there: list[Target] = []
    async with following(bucket, here) as first, following(await connect(), there) as second:
        await first.command(target, ORDER, ttl_seconds=60)
        await second.command(removal, ORDER, ttl_seconds=COMMAND_SECONDS)
        await eventually(lambda: [target, removal] == here[-2:] == there[-2:], "both carry out both")
        async with following(await connect(), []) as late:
            assert late.ban_of(target.user) == ORDER
            await late.lift(target)
            assert late.ban_of(target.user) is None
            assert (target.user, None) not in await first.bans()
            assert (target.user, None) not in await second.bans()
    assert here.count(target) == there.count(removal) == 1


async def test_every_gateway_ends_a_ban_by_itself_because_nats_notifies_nobody(bucket: Bus, connect: Connect):
    target, kept = ban(), ban()
    async with following(bucket, []) as here, following(await connect(), []) as there:
        await here.command(kept, ORDER, ttl_seconds=600)
        await here.command(target, ORDER, ttl_seconds=2)
        await eventually(lambda: there.ban_of(target.user) == ORDER, "the other knows of the ban")
        ordered = await last_sequence(bucket)
        async with following(await connect(), []) as late:
            assert late.ban_of(target.user) == ORDER
            for follower in (here, there, late):
                await eventually(partial(is_free, follower, target), "the ban is over", 3)
                assert set(await follower.bans()) >= {(kept.user, None)}
                assert (target.user, None) not in await follower.bans()
                assert follower.ban_of(kept.user) == ORDER
        assert await last_sequence(bucket) == ordered, "the bucket has no marker of its end"


async def test_a_ban_ends_by_the_clock_of_nats_and_not_by_that_of_the_gateway(
    bucket: Bus, monkeypatch: pytest.MonkeyPatch
):
    target = ban()
    async with following(bucket, []) as follower:
        await follower.command(target, ORDER, ttl_seconds=1)
        monkeypatch.setattr(time, "time", lambda: 0.0)
        await eventually(lambda: follower.ban_of(target.user) is None, "the ban is over", 3)


async def last_sequence(bus: Bus) -> int:
    sequence: int = (await bus.api(f"STREAM.INFO.{subjects.MODERATION_STREAM}"))["state"]["last_seq"]
    return sequence


async def test_a_ban_whose_end_left_no_trace_is_known_to_have_ended_after_a_long_absence(
    bucket: Bus, monkeypatch: pytest.MonkeyPatch
):
    target = ban()
    rule = {"src": subjects.MODERATION_KEYS, "dest": subjects.MODERATION_EVENTS}
    monkeypatch.setattr(moderation, "_TRACES_SECONDS", 0.0)
    async with following(bucket, []) as follower:
        await follower.command(target, ORDER, ttl_seconds=600)
        await republish(bucket, None)
        try:
            await bucket.store(target.key, b"", removal(1), timeout_seconds=5)

            async def gone() -> bool:
                info = await bucket.api(f"STREAM.INFO.{subjects.MODERATION_STREAM}", {"subjects_filter": target.key})
                return target.key not in json.dumps(info["state"].get("subjects") or {})

            await eventually(gone, "no record of the ban is left")
            await eventually(lambda: follower.ban_of(target.user) is None, "the follower knows that it is over")
        finally:
            await republish(bucket, rule)
