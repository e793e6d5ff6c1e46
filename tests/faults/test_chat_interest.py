"""A room's subscription is new to the leader of the chat stream some time after it was made: no message may be missed.

The join barrier shows only that the leader of the *presence* stream knows of it. So the presence stream is led nearby
here, and from the gateway's server to the leader of the chat stream everything takes long. A new room is protected
because the gateway asks the leader for its position: the request goes the way that the subscription went before it.
"""

import asyncio
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from studyroom.shared.contract import subjects
from tests.faults.test_join_barrier import slow_cluster
from tests.support.client import Client
from tests.support.processes import ServiceProcess, all_running, service
from tests.support.streams import lead
from tests.support.waiting import eventually

ROOMS = 40
FOUND_SECONDS = 10.0


async def chat_at_once(near: Client, far: Client, room: str) -> None:
    """One message before the far client joins, one while, and one when it has joined: then there is silence."""
    await near.join(room)
    await near.chat("before")
    await near.expect("Chat")
    await far.send("JoinRoom", {"room_id": room})
    await near.chat("while")
    await far.expect("JoinedRoom")
    await near.chat("after")
    await near.expect("Chat")
    await near.expect("Chat")


def has_all(client: Client) -> bool:
    return [line["content"] for line in client.payloads("Chat")] == ["before", "while", "after"]


@pytest.mark.timeout(180)
async def test_chat_sent_right_after_a_join_over_a_slow_route_arrives_in_order(tmp_path: Path):
    with slow_cluster(tmp_path) as servers:
        near_url, far_url = servers[2].url, servers[0].url
        started: list[ServiceProcess] = [
            service("provisioner", tmp_path, near_url, STUDYROOM_STORAGE_REPLICAS="3"),
            service("presence", tmp_path, near_url),
            service("gateway", tmp_path, near_url),
            service("gateway", tmp_path, far_url),
        ]
        near, far = started[2:]
        with all_running(*started):
            await lead(servers[2], subjects.PRESENCE_STREAM)
            await lead(servers[1], subjects.CHAT_STREAM)
            speakers = [await Client.connect(near.url) for _ in range(ROOMS)]
            listeners = [await Client.connect(far.url) for _ in range(ROOMS)]
            pairs = list(zip(speakers, listeners, strict=True))
            await asyncio.gather(*(chat_at_once(*pair, str(uuid4())) for pair in pairs))
            for listener in listeners:
                await eventually(partial(has_all, listener), "every message arrives, in order", FOUND_SECONDS)
            for client in (*speakers, *listeners):
                await client.close()
