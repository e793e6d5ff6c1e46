"""The bucket of moderation as a gateway follows it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import pytest

from gateway import moderation
from gateway.moderation import Moderation
from services.bus import Bus
from services.provisioner.streams import ensure, specifications
from services.settings import StorageSettings
from shared import subjects
from shared.headers import purge
from shared.ids import RoomId, UserId
from shared.moderation import ORDER_SECONDS, Kind, Order, Target
from tests.support.waiting import eventually

ORDER = Order(by="key backend")

Connect = Callable[..., Awaitable[Bus]]


@pytest.fixture
async def bucket(bus: Bus) -> Bus:
    await ensure(bus, specifications(StorageSettings()))
    return bus


@asynccontextmanager
async def following(bus: Bus, carried_out: list[Target]) -> AsyncIterator[Moderation]:
    follower = Moderation(bus, carried_out.append)
    await follower.start()
    running = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def ban() -> Target:
    return Target(Kind.BAN, UserId(str(uuid4())))


async def republish(bus: Bus, what: dict[str, str] | None) -> None:
    config = (await bus.api(f"STREAM.INFO.{subjects.MODERATION_STREAM}"))["config"]
    config.pop("republish", None)
    await bus.api(f"STREAM.UPDATE.{subjects.MODERATION_STREAM}", {**config, **({"republish": what} if what else {})})


async def test_every_gateway_carries_out_an_order_once_and_whoever_comes_later_knows_it(bucket: Bus, connect: Connect):
    target = ban()
    removal = Target(Kind.REMOVE, target.user, RoomId(str(uuid4())))
    here: list[Target] = []
    there: list[Target] = []
    async with following(bucket, here) as first, following(await connect(), there) as second:
        await first.order(target, ORDER, ttl_seconds=60)
        await second.order(removal, ORDER, ttl_seconds=ORDER_SECONDS)
        await eventually(lambda: [target, removal] == here[-2:] == there[-2:], "both carry out both")
        async with following(await connect(), []) as late:
            assert late.ban_of(target.user) == ORDER
            await late.lift(target)
            assert late.ban_of(target.user) is None
            assert (target.user, None) not in await first.bans()
            assert (target.user, None) not in await second.bans()
    assert here.count(target) == there.count(removal) == 1


async def test_a_ban_whose_end_left_no_trace_is_known_to_have_ended_after_a_long_absence(
    bucket: Bus, monkeypatch: pytest.MonkeyPatch
):
    target = ban()
    rule = {"src": subjects.MODERATION_KEYS, "dest": subjects.MODERATION_EVENTS}
    monkeypatch.setattr(moderation, "_TRACES_SECONDS", 0.0)
    async with following(bucket, []) as follower:
        await follower.order(target, ORDER, ttl_seconds=600)
        await republish(bucket, None)
        try:
            await bucket.store(target.key, b"", purge(1), timeout_seconds=5)

            async def gone() -> bool:
                info = await bucket.api(f"STREAM.INFO.{subjects.MODERATION_STREAM}", {"subjects_filter": target.key})
                return target.key not in json.dumps(info["state"].get("subjects") or {})

            await eventually(gone, "nothing tells of the ban any more")
            await eventually(lambda: follower.ban_of(target.user) is None, "the follower knows that it is over")
        finally:
            await republish(bucket, rule)
