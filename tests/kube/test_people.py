"""The people of the check are clients for browsers, and their records are judged as those in a cluster."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.kube import crowd
from tests.kube.crowd import crowd_of
from tests.kube.history import judge
from tests.support.client import Client
from tests.support.commands import needs_web
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service
from tests.support.tokens import SECRET, token_of
from tests.support.waiting import eventually

pytestmark = [needs_web, pytest.mark.skipif(bool(crowd.why_not()), reason=crowd.why_not() or "the client is built")]


@pytest.fixture
def gateway(stack: EmbeddedStack, tmp_path: Path) -> Iterator[ServiceProcess]:
    with running(service("gateway", tmp_path, stack.nats_url, STUDYROOM_GATEWAY_JWT_SECRET=SECRET)) as ready:
        yield ready


async def test_people_lose_nothing_while_their_gateway_is_killed(
    gateway: ServiceProcess,
):
    async with crowd_of(base_of(gateway), rooms=2, size=4) as people:
        gateway.signal(signal.SIGKILL)
        await asyncio.to_thread(gateway.wait)
        await eventually(lambda: len({one.person for one in people.events if one.name == "out"}) == 4, "all are out")
        gateway.start()
        await asyncio.to_thread(gateway.wait_ready)
        outcome = judge(await people.end())
    assert outcome.messages >= 4
    assert (outcome.lost, outcome.doubled, outcome.wrong) == ([], [], [])
    assert outcome.seconds_outside > 0
    assert outcome.seconds_without_chat > 0


async def test_a_leave_and_a_stranger_in_a_room_are_noticed(gateway: ServiceProcess):
    async with crowd_of(base_of(gateway), rooms=1, size=2) as people:
        room = next(iter(people.rooms.values()))
        for stays in (False, True):
            stranger = await Client.connect(gateway.url, token=token_of(str(uuid4())))
            await stranger.join(room)
            if not stays:
                await stranger.close()
                await eventually(lambda: sum(one.name == "left" for one in people.events) == 2, "both see the leave")
        outcome = judge(await people.end())
        await stranger.close()
    assert len(outcome.left) == len(outcome.wrong) == 2


def base_of(gateway: ServiceProcess) -> str:
    return gateway.url.replace("ws:", "http:").removesuffix("/ws")
