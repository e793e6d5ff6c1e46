"""`studyroom room` and `studyroom user` against a real system with the users of production, well and not."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener
from uuid import uuid4

import nats
import pytest
from pydantic import SecretStr

from studyroom.services.inspector.command import inspect_room, inspect_user
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.retention import Retention
from studyroom.shared.contract.retention_subjects import retention_key
from tests.support.accounts import options_of, user_of
from tests.support.backend import SETTINGS, ask, token
from tests.support.client import Client, clients
from tests.support.commands import studyroom
from tests.support.processes import (
    NatsServer,
    Process,
    ServiceProcess,
    all_running,
    deployed_nats_server,
    running,
    service,
)
from tests.support.waiting import eventually

GROUPS = 2
GROUPED = {"STUDYROOM_STORAGE_GROUPS": str(GROUPS)}
"""So that the room's streams are those of its group."""
NAMES = ("provisioner", "presence", "presence", "gateway", "gateway")
SECRET = "a thought for nobody but the room"
INSPECTOR = {**user_of("inspector"), **GROUPED}

Found = tuple[int, dict[str, Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with running(deployed_nats_server(tmp_path_factory.mktemp("inspected"))) as ready:
        yield ready


@pytest.fixture(scope="module")
def system(server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ServiceProcess]]:
    directory = tmp_path_factory.mktemp("services")
    more = {**GROUPED, **SETTINGS, "STUDYROOM_GATEWAY_JOINS_PER_MINUTE": "6000"}
    processes = [service(name, directory, server.url, **user_of(name), **more) for name in NAMES]
    with all_running(*processes):
        yield processes


@pytest.fixture
def gateways(system: list[ServiceProcess]) -> list[ServiceProcess]:
    return [process for process in system if process.name == "gateway"]


def settings_of(server: NatsServer) -> tuple[NatsSettings, StorageSettings]:
    password = SecretStr(options_of("inspector")["password"])
    return NatsSettings(url=(server.url,), user="inspector", password=password), StorageSettings(groups=GROUPS)


async def of_room(server: NatsServer, room: str) -> Found:
    """The exit status and the report of `studyroom room ROOM --json`."""
    settings = settings_of(server)
    report, status = await inspect_room(*settings, RoomId(room), for_programs=True, members_shown=0)
    return status, json.loads(report)


async def of_user(server: NatsServer, user: str) -> Found:
    report, status = await inspect_user(*settings_of(server), UserId(user), for_programs=True)
    return status, json.loads(report)


def differences(found: Found) -> list[str]:
    status, report = found
    texts: list[str] = [one["text"] for one in report["differences"]]
    assert report["failures"] == {}
    assert (status, report["ok"]) == ((1, False) if texts else (0, True))
    return texts


async def test_it_shows_who_is_where_and_that_everybody_agrees(
    server: NatsServer, gateways: list[ServiceProcess], room: str, tmp_path: Path
):
    here, there = (gateway.url for gateway in gateways)
    async with clients(here, there, there, username="Ada") as people:
        for client in people:
            await client.join(room)
        await people[0].chat(SECRET)
        for client in people:
            await client.expect("Chat")
        status, report = found = await of_room(server, room)
        assert (status, differences(found)) == (0, [])
        assert report["members"].keys() == {client.user for client in people}
        assert {len(report[side]) for side in ("gateways", "presence")} == {2}
        assert {(one["members"], one["digest"]) for one in (*report["gateways"], *report["presence"])} == {
            (3, report["stream"]["digest"])
        }
        assert sorted(one["connections"] for one in report["gateways"]) == [1, 2]
        assert all(one["chat"]["position"] >= report["stream"]["chat"] > 0 for one in report["gateways"])

        operator = await nats.connect(server.url, **options_of("operator"))
        kept = Retention(by="key backend", messages_seconds=86_400)
        await operator.request(retention_key(RoomId(room)), kept.encode(), timeout=5)
        await operator.close()
        status, screen, errors = studyroom(
            "room", room, "--members", "2", cwd=tmp_path, STUDYROOM_NATS_URL=server.url, **INSPECTOR
        )
    assert (status, errors) == (0, "")
    assert screen.splitlines()[-1] == "All agree: the stream, 2 gateways and 2 presence replicas."
    assert "and 1 more" in screen.splitlines()
    assert "keeps messages for 86,400 s: by key backend" in screen.splitlines()
    assert report["retention"] is None
    assert SECRET not in screen
    assert SECRET not in json.dumps(report)


async def test_members_who_come_go_and_write_all_the_time_cause_no_false_alarm(
    server: NatsServer, gateways: list[ServiceProcess], room: str
):
    ended = asyncio.Event()

    async def come_and_go(client: Client) -> None:
        while not ended.is_set():
            await client.join(room)
            await client.chat("hello")
            await client.leave()
            await asyncio.sleep(0.05)  # within the limits on rates

    async with clients(*[gateway.url for gateway in gateways] * 4) as people:
        await people[0].join(room)
        async with asyncio.TaskGroup() as all_of_them:
            for client in people[1:]:
                all_of_them.create_task(come_and_go(client))
            found = [await of_room(server, room) for _ in range(3)]
            ended.set()
    assert [differences(one) for one in found] == [[]] * 3
    chat = [report["stream"]["chat"] for _, report in found]
    assert chat == sorted(set(chat)), "nobody wrote meanwhile: this test shows nothing"


async def test_a_member_whose_record_was_deleted_is_named_with_all_who_still_have_it(
    server: NatsServer, gateways: list[ServiceProcess], room: str
):
    here, there = (gateway.url for gateway in gateways)
    stream = subjects.presence_stream(subjects.shard_of(RoomId(room)) % GROUPS, GROUPS)
    async with clients(here, there) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        await ann.expect("UserJoined")
        assert differences(await of_room(server, room)) == []
        operator = await nats.connect(server.url, **options_of("operator"))
        purged = json.dumps({"filter": subjects.presence_key(RoomId(room), UserId(bob.user))}).encode()
        answer = await operator.request(f"$JS.API.STREAM.PURGE.{stream}", purged, timeout=5)
        assert json.loads(answer.data)["purged"] == 1
        await operator.close()
        found, about_bob = await asyncio.gather(of_room(server, room), of_user(server, bob.user))
        texts = differences(found)
    ghosts = [text for text in texts if f"has member {bob.user}" in text]
    assert all("of which the stream has no record" in text for text in ghosts)
    assert sorted(text.split()[0] for text in ghosts) == ["gateway", "gateway", "presence", "presence"]
    (connection,) = [text for text in texts if text not in ghosts]
    assert "has connection " in connection
    assert f"of {bob.user}, which the stream does not name" in connection
    assert not any(ann.user in text for text in texts)
    assert found[1]["looks"] == 3
    assert len([text for text in differences(about_bob) if f"has room {room}" in text]) == 2


async def test_a_gateway_and_a_replica_that_stand_still_are_named_and_nobody_else(
    server: NatsServer, system: list[ServiceProcess], gateways: list[ServiceProcess], room: str
):
    frozen = [next(one for one in system if one.name == "presence"), gateways[0]]
    async with clients(*(gateway.url for gateway in gateways)) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        before = await of_room(server, room)
        try:
            for process in frozen:
                process.signal(signal.SIGSTOP)
            texts = differences(await of_room(server, room))
        finally:
            for process in frozen:
                process.signal(signal.SIGCONT)
        await eventually(lambda: agree(server, room), "everybody agrees again", 60)
    of_gateway, of_replica = sorted(texts, key=lambda text: "presence" in text.split(" did not ")[0].split(" at ")[0])
    (silent,) = [one["gateway"] for one in before[1]["gateways"] if str(frozen[1].pid) == str(one["process"]["pid"])]
    # Later than 7 s after it stood still, nobody knows any more which gateway it is.
    assert of_gateway.startswith((f"gateway {silent} at 127.0.0.1:", "the gateway at 127.0.0.1:"))
    assert "did not answer" in of_gateway
    assert of_replica.startswith("the presence replica at 127.0.0.1:")
    assert of_replica.endswith("is connected to NATS and did not answer")


async def agree(server: NatsServer, room: str) -> bool:
    return (await of_room(server, room))[0] == 0


async def test_a_user_is_shown_with_all_connections_rooms_and_bans(
    server: NatsServer, gateways: list[ServiceProcess], room: str, tmp_path: Path
):
    here, there = (gateway.url for gateway in gateways)
    user, banned_from = str(uuid4()), str(uuid4())
    async with clients(here, there, token=token(user, name="Ada")) as (one, other):
        await one.join(room)
        await other.join(room)
        assert (await ask(here, "PUT", f"/rooms/{banned_from}/bans/{user}", {"seconds": 60})).status == 200
        status, report = found = await of_user(server, user)
        assert (status, differences(found)) == (0, [])
        connections = [line for gateway in report["gateways"] for line in gateway["connections"]]
        assert {line["id"] for line in connections} == {one.welcome["connection_id"], other.welcome["connection_id"]}
        assert {line["room"] for line in connections} == {room}
        assert all(line["expires_at"] and line["unread_bytes"] == 0 for line in connections)
        assert set(report["rooms"][room]["connections"]) == {line["membership"] for line in connections}
        assert [(ban["room"], ban["by"]) for ban in report["bans"]] == [(banned_from, "key backend-2026")]

        status, screen, errors = studyroom("user", user, cwd=tmp_path, STUDYROOM_NATS_URL=server.url, **INSPECTOR)
    assert (status, errors) == (0, "")
    assert f"user {user}: 2 connections at 2 gateways" in screen
    assert f"banned from room {banned_from}: by key backend-2026" in screen
    assert screen.splitlines()[-1].startswith("All agree")

    status, report = found = await of_user(server, str(uuid4()))
    assert (status, differences(found), report["rooms"]) == (0, [], {})


@asynccontextmanager
async def following(server: NatsServer, room: str, tmp_path: Path, *options: str) -> AsyncIterator[Process]:
    name = "-".join(("follow", *options))
    process = Process(
        name, [sys.executable, "-m", "studyroom", "room", room, "--follow", *options], tmp_path / f"{name}.log",
        environment={"STUDYROOM_NATS_URL": server.url, **INSPECTOR},
    )  # fmt: skip
    process.start()
    try:
        await eventually(lambda: "following" in process.output(), "it follows the room")
        yield process
        process.signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait) == 0
    finally:
        process.stop()


async def test_the_live_log_shows_every_event_and_no_content_unless_it_is_asked_for(
    server: NatsServer, gateways: list[ServiceProcess], room: str, tmp_path: Path
):
    here, there = (gateway.url for gateway in gateways)
    user = str(uuid4())
    async with AsyncExitStack() as opened:
        logs = [
            await opened.enter_async_context(following(server, room, tmp_path, *options))
            for options in ((), ("--json", "--content"))
        ]
        first, second = await opened.enter_async_context(clients(here, there, token=token(user, name="Ada")))
        await first.join(room)
        await first.chat(SECRET)
        chat = await first.expect("Chat")
        await second.join(room)
        await first.leave()
        await eventually(lambda: "moved" in logs[0].output(), "the user has moved to the other gateway")
        await second.send("UpdatePresence", {"fields": {"status": SECRET}})
        await second.expect("PresenceChanged")
        assert (await ask(here, "DELETE", f"/rooms/{room}/messages/{chat['seq']}")).status == 204
        assert (await ask(here, "PUT", f"/rooms/{room}/bans/{user}", {"seconds": 60})).status == 200
        await eventually(
            lambda: all("left" in process.output() for process in logs), "the ban has ended the membership"
        )
    text, lines = logs[0].output(), [json.loads(line) for line in logs[1].output().splitlines()]
    kinds = [line["event"] for line in lines]
    assert kinds[0] == "following"
    assert [kind for kind in kinds if kind != "ban"] == [
        "following", "joined", "message", "connected", "moved", "changed", "deleted", "left",
    ]  # fmt: skip
    assert "ban" in kinds
    by_kind = {line["event"]: line for line in lines}
    assert by_kind["message"]["content"] == SECRET
    assert (by_kind["joined"]["username"], by_kind["left"]["user_id"]) == ("Ada", user)
    assert by_kind["moved"]["from"] != by_kind["moved"]["to"]
    assert by_kind["deleted"]["deleted_seq"] == chat["seq"]
    assert all(f"  {kind}" in text for kind in kinds[1:])
    assert f"chars={len(SECRET)}" in text
    assert SECRET not in text


@asynccontextmanager
async def page(server: NatsServer, tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    """The address of the page without its token, and the token."""
    process = Process(
        "inspector", [sys.executable, "-m", "studyroom", "inspector", "--port", "0"], tmp_path / "inspector.log",
        environment={"STUDYROOM_NATS_URL": server.url, **INSPECTOR},
    )  # fmt: skip
    process.start()
    try:
        printed = await eventually(lambda: re.findall(r"(http://\S+)/\?token=(\S+)\n", process.output()), "it listens")
        yield printed[0]
        process.signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait) == 0
        assert process.output().count("\n") == 1
    finally:
        process.stop()


def fetched(url: str, **headers: str) -> tuple[int, str, Message]:
    """Status, body and headers, without following redirects."""

    class Stay(HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    try:
        with build_opener(Stay).open(Request(url, headers=headers), timeout=20) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except HTTPError as error:
        return error.code, error.read().decode(), error.headers


async def test_the_page_shows_the_same_reports_to_those_who_have_its_token(
    server: NatsServer, gateways: list[ServiceProcess], room: str, tmp_path: Path
):
    ann = token(str(uuid4()), name="<b>Ann</b>")
    async with page(server, tmp_path) as (address, secret), clients(gateways[0].url, token=ann) as (client,):
        await client.join(room)
        user = client.user

        async def get(path: str, **headers: str) -> tuple[int, str, Message]:
            return await asyncio.to_thread(fetched, f"{address}{path}", **headers)

        for path in ("/", "/?token=wrong", "/inspect", f"/rooms/{room}", f"/users/{user}"):
            status, body, _ = await get(path, Authorization="Bearer wrong", Cookie="inspector=wrong")
            assert (status, user in body) == (401, False)

        status, _, headers = await get(f"/?token={secret}")
        assert (status, headers["Location"]) == (303, "/")
        assert {"HttpOnly", "SameSite=strict"} <= set(headers["Set-Cookie"].split("; "))
        cookie = headers["Set-Cookie"].split(";")[0]
        status, _, headers = await get(f"/inspect?kind=rooms&id={room.upper()}", Cookie=cookie)
        assert (status, headers["Location"]) == (303, f"/rooms/{room}")
        status, body, headers = await get(f"/rooms/{room}", Cookie=cookie)
        assert (status, user in body, "All agree" in body) == (200, True, True)
        assert "&lt;b&gt;Ann&lt;/b&gt;" in body
        assert "<b>" not in body
        assert secret not in body
        assert "default-src 'none'" in headers["Content-Security-Policy"]

        bearer = {"Authorization": f"Bearer {secret}"}
        status, body, _ = await get(f"/users/{user}?format=json", **bearer)
        assert (status, json.loads(body)["ok"], list(json.loads(body)["rooms"])) == (200, True, [room])
        assert (await get("/inspect?kind=rooms&id=mine", **bearer))[0] == 400
        assert (await get("/rooms/mine?format=json", **bearer))[0] == 400


def test_without_the_right_to_ask_it_gives_the_reason_and_claims_nothing(server: NatsServer, room: str, tmp_path: Path):
    status, screen, errors = studyroom(
        "room", room, cwd=tmp_path, STUDYROOM_NATS_URL=server.url, **user_of("doctor"), **GROUPED
    )
    assert (status, screen) == (2, "")
    assert "the NATS user must be `inspector`" in errors.splitlines()[-1]
