"""`studyroom backup` and `studyroom restore`, with the users of production, on a system that people use meanwhile."""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import nats
import pytest
from nats.aio.client import Client as Nats

from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import RoomId
from tests.support.accounts import options_of, user_of
from tests.support.backend import SETTINGS, ask, handshake_refusal
from tests.support.client import Client, clients
from tests.support.commands import studyroom
from tests.support.editor import Editor, editors
from tests.support.leftovers import having, raw_messages
from tests.support.processes import NatsServer, ServiceProcess, all_running, deployed_nats_server, running, service
from tests.support.waiting import eventually

MANY_BYTES = 10_000_000
"""More than NATS sends before it waits for an answer."""


@dataclass
class System:
    nats: NatsServer
    services: dict[str, ServiceProcess]
    directory: Path

    @property
    def url(self) -> str:
        return self.services["gateway"].url

    async def command(self, *arguments: str, user: str, **environment: str) -> tuple[int, str]:
        """The exit status of a command of `studyroom`, and what it prints."""
        variables = {"STUDYROOM_NATS_URL": self.nats.url, **user_of(user), **environment}
        status, output, errors = await asyncio.to_thread(studyroom, *arguments, cwd=self.directory, **variables)
        return status, output + errors

    async def backup(self, directory: Path) -> Path:
        status, output = await self.command("backup", str(directory), user="backup")
        assert status == 0, output
        return Path(output.splitlines()[-1].removeprefix("complete: "))

    async def restore(self, *arguments: str, **environment: str) -> tuple[int, str]:
        return await self.command("restore", *arguments, user="operator", **environment)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("system")
    with running(deployed_nats_server(directory / "nats")) as server:
        names = ("provisioner", "presence", "documents", "gateway")
        services = {name: service(name, directory, server.url, **user_of(name), **SETTINGS) for name in names}
        with all_running(*services.values()):
            yield System(server, services, directory)


async def operator(system: System) -> Nats:
    return await nats.connect(system.nats.url, **options_of("operator"))


async def stored(system: System, stream: str) -> list[tuple[int, str, str]]:
    """Sequence, subject and data of every message."""
    connection = await operator(system)
    found: list[tuple[int, str, str]] = []
    following = 1
    while True:
        request = json.dumps({"seq": following, "next_by_subj": ">"}).encode()
        answer = json.loads((await connection.request(f"$JS.API.STREAM.MSG.GET.{stream}", request, timeout=5)).data)
        if "error" in answer:
            await connection.close()
            return found
        message = answer["message"]
        found.append((message["seq"], message["subject"], message.get("data", "")))
        following = message["seq"] + 1


async def fill(system: System) -> None:
    """Chat that needs several chunks, in a room that nobody visits."""
    connection = await operator(system)
    other = RoomId(str(uuid4()))
    for _ in range(MANY_BYTES // 500_000):
        noise = json.dumps({"content": os.urandom(250_000).hex()})  # which a snapshot cannot compress much
        await connection.request(subjects.chat(other), noise.encode(), timeout=5)
    await connection.close()


async def history(client: Client, joined: dict[str, Any]) -> list[str]:
    return [(await client.expect("Chat"))["content"] for _ in range(joined["history"])]


def shown(client: Client) -> list[str]:
    """The chat that a client shows: the messages since the last message that says to begin again."""
    found: list[str] = []
    for message in client.log:
        if message["type"] == "ChatReset":
            found = []
        elif message["type"] == "Chat":
            found.append(message["payload"]["content"])
    return found


async def shows(client: Client, *texts: str) -> None:
    await eventually(lambda: shown(client) == list(texts), f"{texts} are shown, and nothing else", 60)


async def test_chat_documents_and_bans_come_back_under_connected_clients_and_members_stay(
    system: System, tmp_path: Path, room: str
):
    await fill(system)
    banned = str(uuid4())
    async with clients(system.url, system.url, username="Ada") as (ann, bob), editors(room, system.url) as (editor,):
        for client in (ann, bob):
            await client.join(room)
        await ann.chat("before the backup")
        await bob.expect("Chat")
        await editor.edit("written before")
        await editor.sync()
        await ask(system.url, "PUT", f"/bans/{banned}", {"seconds": 3600})

        before = {name: await stored(system, name) for name in ("CHAT", "DOCUMENTS", "KV_moderation")}
        made = await system.backup(tmp_path)
        await editor.edit(" and after")
        await editor.sync()
        await ann.chat("after the backup")
        await bob.expect("Chat", content="after the backup")

        # Streams that have messages are only replaced on demand.
        status, output = await system.restore(str(made))
        assert status == 1
        assert "CHAT, DOCUMENTS, KV_moderation have messages already. Nothing was changed" in output
        status, output = await system.restore(str(made), "--replace")
        assert status == 0, output
        assert {name: await stored(system, name) for name in before} == before

        # The clients are still connected and members, and show the chat that there is now.
        for client in (ann, bob):
            await shows(client, "before the backup")
        await ann.chat("after the restore")
        assert (await bob.expect("Chat", content="after the restore"))["seq"] == before["CHAT"][-1][0] + 1
        await shows(ann, "before the backup", "after the restore")
        assert "UserLeft" not in ann.types() + bob.types()
        # The gateway finds another log when it next looks, here for a newcomer, and closes the connections of editors.
        newcomer = await Editor.connect(system.url, room)
        await newcomer.begin_sync()
        await editor.ended()
        await newcomer.close()
        async with editors(room, system.url) as (reader,):
            assert reader.text == "written before"
            # Editors connect again, as every provider does, and bring what the backup lacks.
            again = await Editor.connect(system.url, room)
            again.doc.apply_update(editor.doc.get_update())
            await again.sync()
            await reader.has("written before and after")
            await again.close()
    async with clients(system.url) as (cyd,):
        assert await history(cyd, await cyd.join(room)) == ["before the backup", "after the restore"]
    assert await handshake_refusal(system.url, banned) is not None


async def test_a_backup_goes_into_an_empty_nats_whose_provisioner_runs(system: System, tmp_path: Path, room: str):
    async with clients(system.url) as (ann,):
        await ann.join(room)
        await ann.chat("kept")
        await ann.expect("Chat")
    made = await system.backup(tmp_path)
    with running(deployed_nats_server(tmp_path / "empty")) as server:
        others = {
            name: service(name, tmp_path, server.url, **user_of(name), **SETTINGS)
            for name in ("provisioner", "presence", "gateway")
        }
        empty = System(server, others, tmp_path)
        with all_running(*others.values()):
            status, output = await empty.restore(str(made.parent))
            assert status == 0, output
            async with clients(empty.url) as (ann,):
                joined = await ann.join(room)
                assert await history(ann, joined) == ["kept"]


async def test_a_backup_or_restore_that_is_not_possible_fails_with_the_reason_and_changes_nothing(
    system: System, tmp_path: Path, room: str
):
    async with clients(system.url) as (ann,):
        await ann.join(room)
        await ann.chat("kept")
        await ann.expect("Chat")
    made = await system.backup(tmp_path)
    before = await stored(system, "CHAT")
    refused = [
        (await system.restore(str(made), "--stream", "OTHER"), "does not have OTHER"),
        (await system.restore(str(made), STUDYROOM_STORAGE_GROUPS="4"), "has 1 groups of shards"),
        (await system.restore(str(system.directory)), "is not a complete backup, and has none"),
        (await system.command("restore", str(made), "--replace", user="backup"), "ermission"),
        (await system.command("backup", str(tmp_path), user="doctor"), "ermission"),
        (await system.command("backup", "/proc/backups", user="backup"), "cannot write to /proc/backups"),
    ]
    (made / "CHAT" / "stream.tar.s2").write_bytes(b"")
    refused.append((await system.restore(str(made), "--replace"), "has 0 bytes"))
    for (status, output), reason in refused:
        assert (status, reason in output) == (1, True), output
    assert await stored(system, "CHAT") == before
    assert [path.name for path in made.parent.iterdir()] == [made.name]


@pytest.mark.long
async def test_erasures_since_a_backup_are_repeated_after_its_restore(system: System, tmp_path: Path, room: str):
    """The restored streams have it again, and the stream with the records of erasures stays as it is."""
    other = str(uuid4())
    async with clients(system.url, username="Ann") as (ann,), clients(system.url, username="Bob") as (bob,):
        await ann.join(room)
        await bob.join(room)
        await ann.chat("unique-words-of-ann")
        await bob.expect("Chat")
        await bob.chat("words of Bob")
        await bob.expect("Chat", content="words of Bob")
        await ask(system.url, "POST", f"/rooms/{other}/messages", message_of(bob.user, "unique-words-of-the-room"))
    made = await system.backup(tmp_path)
    for path in (f"/users/{ann.user}", f"/rooms/{other}"):
        assert (await ask(system.url, "DELETE", path)).status == 202
        await eventually(partial(is_done, system, f"{path}/erasure"), "it is erased", 60)
    operating = await operator(system)
    assert having(await raw_messages(operating, "CHAT"), "unique-") == []

    status, output = await system.restore(str(made), "--replace")
    assert status == 0, output
    assert "AUDIT: stays as it is" in output
    path = output[output.index("/erasures?since=") :].split()[0]
    assert having(await raw_messages(operating, "CHAT"), "unique-words-of-ann", "unique-words-of-the-room") != []
    assert (await ask(system.url, "PUT", path)).status == 202
    await eventually(partial(is_done, system, path), "it is erased again", 60)
    assert having(await raw_messages(operating, "CHAT"), "unique-", ann.user) == []
    await operating.close()
    page = (await ask(system.url, "GET", f"/rooms/{room}/messages")).body
    assert [message["content"] for message in page["messages"]] == ["words of Bob"]


def message_of(user: str, content: str) -> dict[str, str]:
    return {"user_id": user, "username": "Bob", "content": content}


async def is_done(system: System, path: str) -> bool:
    answer = await ask(system.url, "GET", path)
    return bool(answer.body.get("outcome") == "done")
