"""Acknowledged messages are there after the NATS servers were killed, and after the power was cut."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import CalledProcessError
from uuid import uuid4

import nats
import nats.errors
import nats.js.errors
import pytest
from nats.aio.client import Client as Nats

from tests.support.accounts import options_of, user_of
from tests.support.disk import Disk, disks
from tests.support.processes import (
    NatsServer,
    all_running,
    deployed_nats_cluster,
    deployed_nats_server,
    running,
    service,
)

_MESSAGES = 40
_ATTEMPT_SECONDS = 1.0
_PAUSE_SECONDS = 0.1
_DEADLINE_SECONDS = 40.0


@contextmanager
def mounted(directory: Path, count: int) -> Iterator[list[Disk]]:
    with ExitStack() as stack:
        try:
            made = stack.enter_context(disks(directory, count))
        except (OSError, CalledProcessError) as error:
            pytest.skip(f"no file system in an image can be mounted here: {error}")
        yield made


async def connect(servers: list[NatsServer]) -> Nats:
    return await nats.connect(
        [server.url for server in servers], **options_of("operator"), max_reconnect_attempts=-1, reconnect_time_wait=0.1
    )


async def store(connection: Nats) -> set[bytes]:
    """Messages of chat, sent again under their ids until they are acknowledged."""

    async def store_one() -> bytes:
        content = uuid4().hex.encode()
        headers = {"Nats-Msg-Id": content.decode()}
        while True:
            try:
                await connection.jetstream().publish(
                    f"chat.0.{uuid4()}", content, timeout=_ATTEMPT_SECONDS, headers=headers
                )
            except (nats.errors.Error, nats.js.errors.Error, TimeoutError):
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return content

    async with asyncio.timeout(_DEADLINE_SECONDS):
        return set(await asyncio.gather(*(store_one() for _ in range(_MESSAGES))))


async def stored(connection: Nats) -> set[bytes]:
    """All messages in the chat stream of its leader. Asks until there is a leader."""
    stream = connection.jsm()
    async with asyncio.timeout(_DEADLINE_SECONDS):
        while True:
            try:
                last = (await stream.stream_info("CHAT")).state.last_seq
                messages = [await stream.get_msg("CHAT", sequence) for sequence in range(1, last + 1)]
            except (nats.errors.Error, nats.js.errors.Error, TimeoutError):
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return {message.data or b"" for message in messages}


def kill(servers: list[NatsServer]) -> None:
    for server in servers:
        server.signal(signal.SIGKILL)
    for server in servers:
        server.wait()


def start(servers: list[NatsServer]) -> None:
    for server in servers:
        server.start()
    for server in servers:
        server.wait_ready()


def cut_power(servers: list[NatsServer], of: list[Disk]) -> None:
    for disk in of:
        disk.remember()
    kill(servers)
    for disk in of:
        disk.come_back()


async def test_three_servers_keep_acknowledged_messages_when_any_are_killed_or_lose_power(tmp_path: Path):
    with mounted(tmp_path, 3) as disk:
        servers = deployed_nats_cluster(tmp_path, [one.mounted for one in disk])
        streams = service(
            "provisioner", tmp_path, servers[0].url, **user_of("provisioner"), STUDYROOM_STORAGE_REPLICAS="3"
        )
        with all_running(*servers):
            with running(streams):
                connection = await connect(servers)
                acknowledged = await store(connection)
            kill(servers[:1])
            acknowledged |= await store(connection)
            start(servers[:1])
            kill(servers)
            start(servers)
            assert acknowledged <= await stored(connection), "after all were killed"

            acknowledged |= await store(connection)
            cut_power(servers[:1], disk[:1])
            acknowledged |= await store(connection)
            start(servers[:1])
            assert acknowledged <= await stored(connection), "after a server lost its power"

            acknowledged |= await store(connection)
            cut_power(servers, disk)
            start(servers)
            assert acknowledged <= await stored(connection), "after all lost their power"
            await connection.close()


@pytest.mark.parametrize("synced", [True, False], ids=["always", "now and then, as NATS does by default"])
async def test_a_single_server_that_syncs_always_keeps_acknowledged_messages_over_a_power_cut(
    tmp_path: Path, synced: bool
):
    with mounted(tmp_path, 1) as disk:
        server = deployed_nats_server(tmp_path, store=disk[0].mounted)
        if not synced:
            config = tmp_path / "nats" / "nats.conf"
            config.write_text(config.read_text().replace("sync_interval: always", ""))
        with all_running(server):
            with running(service("provisioner", tmp_path, server.url, **user_of("provisioner"))):
                connection = await connect([server])
                # The stream and its present contents are on the disk in any case. Later messages are in question.
                disk[0].sync()
            acknowledged = await store(connection)
            cut_power([server], disk)
            start([server])
            lost = acknowledged - await stored(connection)
            assert not lost if synced else lost
            await connection.close()
