"""Full streams: chat is refused, or its oldest goes, and nothing else stops; members are refused and others leave."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from nats.aio.client import Client as Nats

from studyroom.services.provisioner.sizes import MIB, divide
from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import encode_stored
from studyroom.shared.contract.ids import MessageId, RoomId, UserId
from tests.support.backend import SETTINGS, Answer, ask, token
from tests.support.client import Client, clients
from tests.support.presence import connected
from tests.support.processes import (
    NatsServer,
    ServiceProcess,
    all_running,
    configured_nats_server,
    nats_cluster,
    service,
)
from tests.support.waiting import eventually, http_get

STORE = "max_file_store: 4M"
FILLING = "x" * 60_000
LONG = "https://example.org/" + "a" * 1900
"""An avatar's address, so that a few members fill the bucket."""


@dataclass
class Small:
    """A system whose store is soon full."""

    directory: Path
    servers: list[NatsServer]
    gateways: list[ServiceProcess]
    provisioner: ServiceProcess
    settings: dict[str, str]
    services: list[ServiceProcess] = field(default_factory=list)

    def share(self, stream: str) -> int:
        return divide(4 * MIB)[stream]

    @property
    def url(self) -> str:
        return ",".join(server.url for server in self.servers)


@pytest.fixture(scope="module", params=[1, 3])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    directory = tmp_path_factory.mktemp(f"small-{request.param}")
    servers = [configured_nats_server(directory, jetstream=STORE)]
    if request.param > 1:
        servers = nats_cluster(directory, jetstream=STORE)
    settings: dict[str, str] = {**SETTINGS, "STUDYROOM_STORAGE_REPLICAS": str(request.param)}
    url = ",".join(server.url for server in servers)
    names = ("provisioner", "presence", "gateway", "gateway")
    provisioner, *others = (service(name, directory, url, **settings) for name in names)
    with ExitStack() as stack:
        stack.enter_context(all_running(*servers))
        stack.enter_context(all_running(provisioner, *others))
        yield Small(directory, servers, others[1:], provisioner, settings, [provisioner, *others])


@pytest.fixture
async def nats(small: Small) -> AsyncIterator[Nats]:
    async with connected(small.servers[0].url) as connection:
        yield connection


async def info(nats: Nats, stream: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((await nats.request(f"$JS.API.STREAM.INFO.{stream}", timeout=5)).data)
    return answer


async def fill(nats: Nats, room: str) -> int:
    """Say more than fits. Returns the sequence of the first message."""
    first = 0
    for size in (60_000, 1_000, 1):
        while True:
            line = encode_stored(UserId(str(uuid4())), "Ada", FILLING[:size], 1_700_000_000, MessageId(str(uuid4())))
            answer = json.loads((await nats.request(subjects.chat(RoomId(room)), line, timeout=5)).data)
            if "error" in answer:
                break
            first = first or answer["seq"]
    return first


def new_message() -> dict[str, str]:
    return {"user_id": str(uuid4()), "username": "Tutor", "content": "hello", "id": str(uuid4())}


async def post(gateway: ServiceProcess, room: str) -> Answer:
    return await ask(gateway.url, "POST", f"/rooms/{room}/messages", new_message())


async def test_a_full_store_refuses_chat_and_nothing_else(small: Small, nats: Nats, room: str):
    here, there = small.gateways
    async with clients(here.url, there.url, there.url) as (ann, ben, cy):
        await ann.join(room)
        await ben.join(room)
        assert (await ann.expect("UserJoined"))["user"]["user_id"] == ben.user
        first = await fill(nats, room)

        message = str(uuid4())
        await ann.chat("is anybody there?", id=message)
        assert await ann.error() == "chat_storage_full"
        assert [sent["payload"]["id"] for sent in ann.log if sent["type"] == "Error"] == [message]
        assert (await post(there, room)).refusal == (507, "chat_storage_full")
        assert [gateway.metric("studyroom_gateway_chat_storage_full_total") for gateway in (here, there)] == [1, 1]

        await ann.send("CursorMove", {"x": 1.0, "y": 2.0})
        await cy.join(room)
        assert (await ann.expect("UserJoined"))["user"]["user_id"] == cy.user
        await ben.leave()
        assert (await ann.expect("UserLeft"))["user_id"] == ben.user
        assert (await ask(there.url, "PUT", f"/bans/{uuid4()}", {"seconds": 60})).status == 200
        leases = (await info(nats, subjects.GATEWAYS_STREAM))["state"]["last_seq"]

        async def renewed() -> bool:
            return bool((await info(nats, subjects.GATEWAYS_STREAM))["state"]["last_seq"] >= leases + 2)

        await eventually(renewed, "the leases are renewed")
        for process in small.services:
            assert http_get(f"{process.admin_url}/readyz")[0] == 200

        assert (await ask(here.url, "DELETE", f"/rooms/{room}/messages/{first}")).status == 204
        await ann.expect("ChatDeleted", deleted_seq=first)
        await ann.chat("is anybody there?", id=message)
        await ann.expect("Chat", id=message)


async def test_members_are_refused_before_the_bucket_is_full_and_leave_as_ever(small: Small, nats: Nats, room: str):
    here, there = small.gateways
    inside: list[Client] = []
    async with clients(here.url) as (ann,):
        await ann.join(room)
        while True:
            inside.append(await Client.connect(there.url, token=token(avatar_url=LONG)))
            await inside[-1].send("JoinRoom", {"room_id": room})
            answer = await inside[-1].next()
            if answer["type"] == "Error":
                break
        assert answer["payload"]["code"] == "presence_unavailable"
        assert "the store of members is full" in answer["payload"]["message"]
        state = (await info(nats, subjects.PRESENCE_STREAM))["state"]
        assert state["bytes"] / small.share(subjects.PRESENCE_STREAM) < 0.95

        leaving, *others = inside[:-1]
        await leaving.leave()
        while (await ann.expect("UserLeft"))["user_id"] != leaving.user:
            continue
        for client in others[:20]:
            await client.leave()

        async def joins_again() -> bool:
            await inside[-1].send("JoinRoom", {"room_id": room})
            answer = await inside[-1].next()
            return bool(answer["type"] == "JoinedRoom")

        await eventually(joins_again, "there is room for new members")

        async def measured() -> bool:
            text = small.provisioner.metrics()
            return all(f'studyroom_provisioner_stream_bytes{{stream="{name}"}}' in text for name in subjects.STREAMS)

        await eventually(measured, "the provisioner reports the sizes of streams")
        limit = 'studyroom_provisioner_stream_max_bytes{stream="KV_presence",when_full="refuses"}'
        assert small.provisioner.metric(limit) == small.share(subjects.PRESENCE_STREAM)
        for client in inside:
            client.socket.transport.abort()


async def test_where_the_oldest_may_go_chat_goes_on_in_a_full_store(small: Small, nats: Nats, room: str):
    await fill(nats, room)
    oldest = (await info(nats, subjects.CHAT_STREAM))["state"]["first_seq"]
    small.provisioner.stop()
    dropping = service(
        "provisioner", small.directory, small.url, **small.settings, STUDYROOM_STORAGE_CHAT_WHEN_FULL="drop_oldest"
    )
    small.services[0] = dropping
    with all_running(dropping):

        async def changed() -> bool:
            return bool((await info(nats, subjects.CHAT_STREAM))["config"]["discard"] == "old")

        await eventually(changed, "the provisioner has changed the stream")
        async with clients(small.gateways[0].url) as (ann,):
            await ann.join(room)
            for number in range(3):
                await ann.chat(str(number) + "x" * 3_000)
                await ann.expect("Chat")
        assert (await info(nats, subjects.CHAT_STREAM))["state"]["first_seq"] > oldest
