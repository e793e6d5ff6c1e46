"""Streams that are missing: made where nothing was lost, and otherwise on an operator's command."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import nats
import pytest
from nats.aio.client import Client as Nats

from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import encode_stored
from studyroom.shared.contract.ids import MessageId, RoomId, UserId
from tests.support import accounts
from tests.support.client import clients
from tests.support.commands import studyroom
from tests.support.presence import connected
from tests.support.processes import NatsServer, ServiceProcess, all_running, nats_cluster, running, service
from tests.support.waiting import eventually, http_get

STORED = 50
ROOM = RoomId(str(uuid4()))


@asynccontextmanager
async def operator(server: NatsServer, *, with_accounts: bool) -> AsyncIterator[Nats]:
    connection = await nats.connect(server.url, **(accounts.options_of("operator") if with_accounts else {}))
    try:
        yield connection
    finally:
        await connection.close()


async def names(connection: Nats) -> list[str]:
    return json.loads((await connection.request("$JS.API.STREAM.NAMES", timeout=5)).data)["streams"] or []


async def chat(connection: Nats) -> dict[str, Any]:
    info: dict[str, Any] = json.loads((await connection.request("$JS.API.STREAM.INFO.CHAT", timeout=5)).data)
    return info


async def store_chat(connection: Nats) -> None:
    for number in range(STORED):
        line = encode_stored(UserId(str(uuid4())), "Ada", str(number), 1_700_000_000, MessageId(str(uuid4())))
        await connection.request(subjects.chat(ROOM), line, timeout=5)


@contextmanager
def alone(server: NatsServer) -> Iterator[None]:
    """A server of a cluster by itself; when it is started again it finds itself in a cluster, with its data."""
    config = Path(server.command[-1])
    text = config.read_text()
    config.write_text(text[: text.index("cluster {")])
    with running(server):
        yield
    config.write_text(text)


@pytest.fixture(params=[False, True], ids=["plain", "with accounts"])
def with_accounts(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def reasons(provisioner: ServiceProcess) -> str:
    """Why it is not ready."""
    return http_get(f"{provisioner.admin_url}/readyz")[1]


async def test_a_cluster_around_a_server_that_has_chat_gets_no_empty_stream_beside_it(
    tmp_path: Path, with_accounts: bool
):
    servers = nats_cluster(tmp_path, with_accounts=with_accounts)
    user = accounts.user_of("provisioner") if with_accounts else {}
    with alone(servers[0]), running(service("provisioner", tmp_path, servers[0].url, **user)):
        async with operator(servers[0], with_accounts=with_accounts) as connection:
            await store_chat(connection)

    url = ",".join(server.url for server in servers)
    settings = {"STUDYROOM_STORAGE_REPLICAS": "3", **user}
    provisioner = service("provisioner", tmp_path, url, **settings)
    with all_running(*servers):
        provisioner.start()
        try:
            await eventually(lambda: "although there was data before" in reasons(provisioner), "it logs why not")
            assert "STUDYROOM_STORAGE_CREATE" in reasons(provisioner)
            async with operator(servers[1], with_accounts=with_accounts) as connection:
                assert await names(connection) == []
        finally:
            provisioner.stop()
        commanded = service("provisioner", tmp_path, url, **settings, STUDYROOM_STORAGE_CREATE="missing")
        with running(commanded):
            async with operator(servers[1], with_accounts=with_accounts) as connection:
                assert sorted(await names(connection)) == sorted(subjects.STREAMS)


async def test_from_a_single_server_to_three_with_a_backup_the_chat_stays(tmp_path: Path):
    servers = nats_cluster(tmp_path / "three")
    one = nats_cluster(tmp_path / "one")[0]
    with alone(one), running(service("provisioner", tmp_path, one.url)):
        async with connected(one.url) as connection:
            await store_chat(connection)
        backups = tmp_path / "backups"
        status, output, errors = studyroom("backup", str(backups), cwd=tmp_path, STUDYROOM_NATS_URL=one.url)
        assert status == 0, output + errors

    url = ",".join(server.url for server in servers)
    with all_running(*servers):
        async with connected(servers[0].url) as connection:
            variables = {"STUDYROOM_NATS_URL": url, "STUDYROOM_STORAGE_REPLICAS": "3"}
            status, output, errors = studyroom("restore", str(backups), cwd=tmp_path, **variables)
            assert status == 0, output + errors
            services = [service(name, tmp_path, url, STUDYROOM_STORAGE_REPLICAS="3") for name in ("provisioner",)]
            services += [service(name, tmp_path, url) for name in ("presence", "gateway")]
            with all_running(*services):
                info = await chat(connection)
                assert (info["state"]["messages"], info["config"]["num_replicas"]) == (STORED, 3)
                async with clients(services[-1].url) as (ann,):
                    joined = await ann.join(ROOM)
                    shown = [(await ann.expect("Chat"))["content"] for _ in range(joined["history"])]
                    assert shown == [str(number) for number in range(STORED)]
