"""Nothing that a backend has erased is left: not in streams, files and logs, nor for anyone who comes later."""

import asyncio
import io
import json
import re
import signal
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from nats.aio.client import Client as Nats

from studyroom.shared.contract import subjects
from studyroom.shared.contract.audit import fingerprint
from studyroom.shared.contract.chat import encode_stored
from studyroom.shared.contract.ids import MessageId, RoomId, UserId
from tests.support.backend import KEY, SETTINGS, Json, ask, token
from tests.support.client import Client, clients
from tests.support.editor import Editor
from tests.support.hooks import Receiver, hook_receiver
from tests.support.leftovers import files_having, having, raw_messages
from tests.support.presence import connected
from tests.support.processes import NatsServer, ServiceProcess, all_running, nats_server, running, service
from tests.support.waiting import eventually

HEART = "\N{HEAVY BLACK HEART}"
DEADLINE_SECONDS = 60.0
MANY = 400
WITH_BYTES = ("CHAT", "DOCUMENTS", "HOOKS", "MEMBER_LOG")
"""The streams in which NATS overwrites what is erased."""


@dataclass
class System:
    nats: NatsServer
    services: dict[str, ServiceProcess]
    backend: Receiver

    @property
    def gateways(self) -> list[str]:
        return [self.services[name].url for name in ("gateway", "other gateway")]

    def logged(self) -> list[str]:
        """The lines of all processes.

        Without the log of requests, which names the users that backends named, and without the ids of users in lines
        about their connections.
        """
        lines = [line for process in self.services.values() for line in process.output().splitlines()]
        return [
            re.sub('"user":"[^"]*"', "", line) if '"connected"' in line or '"disconnected"' in line else line
            for line in lines if '"moderation"' not in line
        ]  # fmt: skip


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("erasure")
    with running(nats_server(directory)) as server, hook_receiver() as backend:
        names = {"other gateway": "gateway"}
        given = {**SETTINGS, **backend.settings, "STUDYROOM_HOOKS_RETRY_MAX_SECONDS": "1"}
        services = {
            name: service(names.get(name, name), directory, server.url, **given)
            for name in ("provisioner", "presence", "documents", "hooks", "gateway", "other gateway")
        }
        with all_running(*services.values()):
            yield System(server, services, backend)


async def sent(author: Client, content: str, **extra: Any) -> Json:
    await author.send("Chat", {"content": content, **extra})
    return await author.expect("Chat", content=content)


def target(message: Json) -> Json:
    return {"target_id": message["id"], "target_seq": message["seq"]}


async def done(gateway: str, path: str) -> Json:
    """The record of an erasure that is complete."""

    async def is_done() -> Json | None:
        answer = await ask(gateway, "GET", path)
        assert answer.body.get("outcome") != "interrupted", answer
        return answer.body if answer.body.get("outcome") == "done" else None

    record: Json = await eventually(is_done, f"{path} is done", DEADLINE_SECONDS)
    return record


async def pages(gateway: str, room: str) -> list[Json]:
    """All messages of a room over HTTP, oldest first."""
    found: list[Json] = []
    before: int | None = None
    while True:
        query = "?limit=100" + (f"&before={before}" if before else "")
        page = (await ask(gateway, "GET", f"/rooms/{room}/messages{query}")).body
        found = page["messages"] + found
        before = page["before"]
        if before is None:
            return found


@asynccontextmanager
async def talking(*people: Client) -> AsyncIterator[dict[str, list[str]]]:
    """People who send message after message during the block, and the texts of each."""
    spoken: dict[str, list[str]] = {client.user: [] for client in people}
    ended = asyncio.Event()

    async def talk(client: Client) -> None:
        while not ended.is_set():
            text = f"{client.user[:8]} says {len(spoken[client.user])}"
            await sent(client, text)
            spoken[client.user].append(text)
            await asyncio.sleep(0.1)  # not to be refused for a flood

    tasks = [asyncio.create_task(talk(client)) for client in people]
    try:
        yield spoken
    finally:
        ended.set()
        await asyncio.gather(*tasks)


async def leave_everything(system: System, ann: str, name: str, room: str, bob: Client) -> tuple[Json, Json]:
    """Ann writes, edits, reacts, mentions, edits notes and keeps a version, in two rooms, and is banned from one.

    Returns Bob's message to which she has reacted, and one of hers.
    """
    here, there = system.gateways
    second = str(uuid4())
    bearer = token(ann, name=name)
    bobs = await sent(bob, "a message of Bob")
    async with clients(here, there, token=bearer) as (one, two):
        await one.join(room)
        await two.join(second)
        first = await sent(one, "unique-words-of-ann", mentions=[bob.user])
        await one.send("EditChat", {**target(first), "content": "unique-words-of-ann, edited"})
        await one.expect("ChatEdited")
        await one.send("ReactToChat", {**target(bobs), "reaction": HEART, "is_on": True})
        await one.expect("ChatReaction")
        await sent(two, "unique-words-of-ann elsewhere")
        await one.send("UpdatePresence", {"fields": {"status": "unique-status-of-ann"}})
    editor = await Editor.connect(here, room, query=f"?access_token={bearer}")
    await editor.sync()
    await editor.edit("text that stays")
    await editor.sync()
    version = await ask(there, "POST", f"/rooms/{room}/documents/notes/versions", {"name": "draft"}, bearer=bearer)
    assert version.status == 201
    await editor.close()
    ban = {"seconds": 3600, "reason": "unique-reason about ann"}
    assert (await ask(here, "PUT", f"/rooms/{second}/bans/{ann}", ban)).status == 200
    return bobs, first


async def are_named_in(connection: Nats, *words: str) -> bool:
    return {raw.stream for raw in having(await raw_messages(connection), *words)} >= {*WITH_BYTES}


async def test_nothing_of_an_erased_user_is_left_anywhere_and_others_lose_nothing(system: System, room: str):
    here, there = system.gateways
    ann, name = str(uuid4()), "Annabel Uniquename"
    words = (ann, name, "unique-words-of-ann", "unique-status-of-ann", "unique-reason")
    async with clients(here, there, username="Bob") as (bob, eve), connected(system.nats.url) as connection:
        epoch = (await bob.join(room))["epoch"]
        await eve.join(room)
        bobs, first = await leave_everything(system, ann, name, room, bob)
        await eventually(partial(are_named_in, connection, *words), "all streams name her")
        await eventually(lambda: files_having(system.nats.store, "CHAT", ann), "her messages are on the disk")
        for gateway in system.gateways:  # which remember the reaction then
            assert (await pages(gateway, room))[0]["reactions"][0]["reaction"] == HEART

        async with clients(here, token=token(ann, name=name)) as (still_here,), talking(bob, eve) as spoken:
            await still_here.join(room)
            answers = [await ask(gateway, "DELETE", f"/users/{ann}") for gateway in (here, there)]
            assert [(answer.status, answer.body) for answer in answers] == [(202, {"outcome": "requested"})] * 2
            assert await still_here.ended() == 4502
            record = await done(there, f"/users/{ann}/erasure")
        assert record["by"] == "key backend-2026"

        # The streams, their files, and the logs of all processes.
        left = having(await raw_messages(connection), *words)
        assert [raw for raw in left if not raw.is_removal] == []
        for stream in WITH_BYTES:
            assert files_having(system.nats.store, stream, *words) == []
        assert [line for line in system.logged() if any(word in line for word in words)] == []

        # Those who come later, on each gateway, and who come back.
        everything = [text for texts in spoken.values() for text in texts]
        for gateway in system.gateways:
            messages = await pages(gateway, room)
            assert sorted(one["content"] for one in messages) == sorted(["a message of Bob", *everything])
            assert [one["content"] for one in messages if one["user_id"] == bob.user][1:] == spoken[bob.user]
            assert messages[0].get("reactions") is None
            async with clients(gateway, gateway) as (newcomer, back):
                joined = await newcomer.join(room)
                lines = [await newcomer.expect("Chat") for _ in range(joined["history"])]
                assert lines == messages[-len(lines) :]
                await back.send("JoinRoom", {"room_id": room, "since": first["seq"], "epoch": epoch})
                assert (await back.expect("JoinedRoom"))["recovered"] is False
        # Members got the deletions in order, and begin again because of the reaction.
        for client in (bob, eve):
            assert first["seq"] in [deleted["deleted_seq"] for deleted in client.payloads("ChatDeleted")]
            assert "ChatReset" in client.types()
        assert bobs["id"] in [one["id"] for one in bob.payloads("Chat")]
    async with clients(here, token=token(ann, name="Somebody")) as (again,):
        await again.join(room)  # nothing of the ban is left, and she may come back
    reader = await Editor.connect(there, room)
    await reader.sync()
    assert reader.text == "text that stays"
    await reader.close()
    (version,) = (await ask(here, "GET", f"/rooms/{room}/documents/notes/versions")).body["versions"]
    assert (version["name"], version["author"], version["author_id"]) == ("draft", "", None)


async def test_an_erased_room_is_empty_on_every_gateway_and_others_keep_theirs(system: System, room: str):
    here, there = system.gateways
    other = str(uuid4())
    async with clients(here, there, here, username="Bob") as (bob, eve, cyd), connected(system.nats.url) as connection:
        await cyd.join(other)
        kept = await sent(cyd, "kept")
        epoch = (await bob.join(room))["epoch"]
        await eve.join(room)
        lines = [await sent(bob, f"secret-of-the-room {number}") for number in range(20)]
        await eve.send("ReactToChat", {**target(lines[0]), "reaction": HEART, "is_on": True})
        await eve.expect("ChatReaction")
        editor = await Editor.connect(here, room)
        await editor.sync()
        await editor.edit("secret-of-the-room notes")
        await editor.sync()
        banned = str(uuid4())
        await ask(here, "PUT", f"/rooms/{room}/bans/{banned}", {"seconds": 3600})

        for _ in range(2):  # the second request answers the same
            assert (await ask(there, "DELETE", f"/rooms/{room}")).status == 202
            record = await done(here, f"/rooms/{room}/erasure")
        assert record["documents"] == 0
        assert [await bob.error(), await eve.error()] == ["removed", "removed"]
        await editor.ended()
        assert editor.close_code == 4503

        (only,) = [raw for raw in await raw_messages(connection, "CHAT") if raw.subject.endswith(room)]
        assert b'"resets":true' in only.data
        left = having(await raw_messages(connection), room)
        assert {raw.stream for raw in left if not raw.is_removal} <= {"CHAT", "DOCUMENTS", "AUDIT", "HOOKS"}
        assert [raw for raw in having(left, "secret-of-the-room", bob.user) if not raw.is_removal] == []
        for stream in WITH_BYTES:
            assert files_having(system.nats.store, stream, "secret-of-the-room", bob.user) == []
        for gateway in system.gateways:
            assert await pages(gateway, room) == []
            async with clients(gateway, gateway) as (newcomer, back):
                assert (await newcomer.join(room))["history"] == 0
                await back.send("JoinRoom", {"room_id": room, "since": lines[5]["seq"], "epoch": epoch})
                joined = await back.expect("JoinedRoom")
                assert (joined["recovered"], joined["history"]) == (False, 0)
                new = await sent(newcomer, "a new beginning")
                await back.expect("Chat", content="a new beginning")
                await ask(gateway, "DELETE", f"/rooms/{room}/messages/{new['seq']}")
        reader = await Editor.connect(there, room)
        await reader.sync()
        assert reader.text == ""
        await reader.close()
        assert await pages(here, other) == [kept]
        assert cyd.types().count("ChatReset") == 0


async def test_old_messages_of_a_room_go_with_their_edits_and_reactions_and_newer_ones_stay(system: System, room: str):
    here, there = system.gateways
    async with clients(here, there, username="Bob") as (bob, eve), connected(system.nats.url) as connection:
        for client in (bob, eve):
            await client.join(room)
        lines = [await sent(bob, f"something-old {number}") for number in range(2)]
        before = int(time.time()) + 1
        await eventually(lambda: time.time() > before, "the next second begins")
        kept = await sent(eve, "something new")
        await bob.send("EditChat", {**target(lines[0]), "content": "something-old, edited"})
        await eve.send("ReactToChat", {**target(lines[1]), "reaction": HEART, "is_on": True})
        await bob.expect("ChatReaction")

        assert (await ask(there, "DELETE", f"/rooms/{room}/messages?before={before}")).status == 202
        record = await done(here, f"/rooms/{room}/erasure/messages")
        assert record["messages"] == 4
        of_room = having(await raw_messages(connection, "CHAT"), room)
        assert having(of_room, "something-old", HEART) == []
        assert files_having(system.nats.store, "CHAT", "something-old") == []
        for gateway in system.gateways:
            assert await pages(gateway, room) == [kept]
            await eventually(partial(newcomers_get, gateway, room, kept), "newcomers get only the new message")
        for client in (bob, eve):
            await eventually(partial(has_begun_again, client), "members read the room again")
        assert (await ask(here, "DELETE", f"/rooms/{room}/messages?before=0")).refusal == (400, "invalid_request")


async def newcomers_get(gateway: str, room: str, *messages: Json) -> bool:
    async with clients(gateway) as (newcomer,):
        joined = await newcomer.join(room)
        return [await newcomer.expect("Chat") for _ in range(joined["history"])] == list(messages)


def has_begun_again(client: Client) -> bool:
    return "ChatReset" in client.types()


async def test_the_export_of_a_user_has_everything_in_the_name_of_the_user_and_nothing_of_others(
    system: System, room: str
):
    here, there = system.gateways
    ann = str(uuid4())
    async with clients(here, username="Bob") as (bob,):
        await bob.join(room)
        await leave_everything(system, ann, "Ann", room, bob)
    archive = await asyncio.to_thread(download, there, f"/users/{ann}/export")
    lines = [json.loads(line) for line in archive.read("chat.jsonl").splitlines()]
    assert [line["type"] for line in lines] == ["Chat", "ChatEdited", "ChatReaction", "Chat"]
    assert {line["payload"]["user_id"] for line in lines} == {ann}
    assert [line["room_id"] == room for line in lines] == [True, True, True, False]
    (ban,) = json.loads(archive.read("bans.json"))
    assert (ban["reason"], ban["room_id"]) == ("unique-reason about ann", lines[3]["room_id"])
    assert json.loads(archive.read("documents.json")) == [{"room_id": room, "name": "notes"}]
    assert json.loads(archive.read("user.json"))["user_id"] == ann
    async with connected(system.nats.url) as connection:
        records = having(await raw_messages(connection, "AUDIT"), f"export_user.{fingerprint(UserId(ann))}")
    assert [json.loads(record.data)["outcome"] for record in records] == ["requested", "done"]


def download(gateway: str, path: str) -> zipfile.ZipFile:
    url = gateway.replace("ws://", "http://").removesuffix("/ws") + "/api/v1" + path
    request = Request(url, headers={"Authorization": f"Bearer {KEY}"})
    with urlopen(request, timeout=20) as response:
        return zipfile.ZipFile(io.BytesIO(response.read()))


async def store_many(system: System, user: str, room: str) -> None:
    async with connected(system.nats.url) as connection:
        for number in range(MANY):
            message = MessageId(str(uuid4()))
            encoded = encode_stored(UserId(user), "Ann", f"unique-words-of-ann {number}", 1_700_000_000, message)
            await connection.request(subjects.chat(RoomId(room)), encoded, timeout=5)


async def test_an_erasure_that_dies_in_the_middle_is_completed_when_it_is_requested_again(
    system: System, tmp_path: Path, room: str
):
    ann, there = str(uuid4()), system.gateways[1]
    await store_many(system, ann, room)
    doomed = service("gateway", tmp_path, system.nats.url, **SETTINGS)
    with all_running(doomed):
        async with connected(system.nats.url) as connection:

            async def left() -> int:
                return len(having(await raw_messages(connection, "CHAT"), ann))

            async def left_meanwhile() -> int:
                doomed.signal(signal.SIGSTOP)  # reading takes long
                found = await left()
                if found == MANY:
                    doomed.signal(signal.SIGCONT)
                return found

            assert (await ask(doomed.url, "DELETE", f"/users/{ann}")).status == 202
            await eventually(lambda: is_between(left_meanwhile, 0, MANY), "some messages are erased", DEADLINE_SECONDS)
            doomed.signal(signal.SIGKILL)
            doomed.wait()
            assert 0 < await left() < MANY
            assert (await ask(there, "DELETE", f"/users/{ann}")).status == 202
            await done(there, f"/users/{ann}/erasure")
            assert await left() == 0
            records = having(await raw_messages(connection, "AUDIT"), fingerprint(UserId(ann)))
            outcomes = [outcome for raw in records for outcome in ("requested", "done") if outcome.encode() in raw.data]
            assert outcomes == ["requested", "requested", "done"]
            assert await pages(there, room) == []


async def is_between(count: Any, low: int, high: int) -> bool:
    found: int = await count()
    return low < found < high


async def test_only_backends_may_erase_and_a_record_that_is_not_there_is_not_found(system: System, room: str):
    gateway, user = system.gateways[0], str(uuid4())
    moderator = token(role="moderator")
    for method, path in (
        ("DELETE", f"/users/{user}"), ("DELETE", f"/rooms/{room}"), ("PUT", "/erasures?since=0"),
        ("GET", f"/users/{user}/erasure"), ("GET", f"/rooms/{room}/erasure"), ("GET", "/erasures?since=0"),
    ):  # fmt: skip
        assert (await ask(gateway, method, path, bearer=moderator)).refusal == (401, "unauthorized")
    for method in ("GET", "PUT"):
        assert (await ask(gateway, method, "/erasures?since=x")).refusal == (400, "invalid_request")
    assert (await ask(gateway, "GET", f"/users/{uuid4()}/erasure")).refusal == (404, "not_found")
    assert (await ask(gateway, "DELETE", "/users/nobody")).refusal == (400, "invalid_request")


async def test_without_nats_it_is_unknown_whether_an_erasure_is_recorded_and_the_request_may_be_repeated(
    system: System,
):
    gateway, user = system.gateways[0], f"/users/{uuid4()}"
    system.nats.signal(signal.SIGKILL)
    system.nats.wait()
    try:
        unknown = [await ask(gateway, "DELETE", user), await ask(gateway, "GET", f"{user}/export")]
    finally:
        system.nats.start()
        system.nats.wait_ready()
    assert [answer.refusal for answer in unknown] == [(503, "audit_unavailable")] * 2
    for process in system.services.values():
        process.wait_ready()

    async def is_accepted() -> bool:
        return (await ask(gateway, "DELETE", user)).status == 202

    await eventually(is_accepted, "the request is recorded", DEADLINE_SECONDS)
    await done(gateway, f"{user}/erasure")
