"""Shared documents over HTTP: reading, creating, writing, deleting, versions and the export of a room."""

import asyncio
import io
import json
import time
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import pycrdt
import pytest
import websockets

from studyroom.shared.contract import lib0
from tests.support.backend import KEY, SETTINGS, ask, token
from tests.support.editor import AUTH, Editor
from tests.support.processes import EmbeddedStack, embedded_stack, running
from tests.support.waiting import eventually

CREATE = {"If-None-Match": "*"}
TEXT = {**CREATE, "Content-Type": "text/plain"}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    settings = {
        **SETTINGS, "STUDYROOM_GATEWAY_DOCUMENT_BODY_MAX_BYTES": "100000",
        "STUDYROOM_GATEWAY_JWT_LEEWAY_SECONDS": "0",
    }  # fmt: skip
    with running(embedded_stack(tmp_path_factory.mktemp("stack"), presence=1, documents=2, **settings)) as stack:
        yield stack


async def call(
    gateway: str, method: str, path: str, body: bytes | None = None, *, bearer: str = KEY, **headers: str
) -> tuple[int, bytes]:
    """Send a request below `/api/v1/rooms`. In the names of `headers`, `_` stands for `-`."""
    url = gateway.replace("ws://", "http://").removesuffix("/ws") + "/api/v1/rooms/" + path
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named.setdefault("Content-Type", "application/octet-stream")

    def answered() -> tuple[int, bytes]:
        request = Request(url, body, {**named, "Authorization": f"Bearer {bearer}"}, method=method)
        try:
            with urlopen(request, timeout=20) as response:
                return response.status, response.read()
        except HTTPError as error:
            return error.code, error.read()

    return await asyncio.to_thread(answered)


def code(answer: tuple[int, bytes]) -> tuple[int, str]:
    return answer[0], json.loads(answer[1])["code"]


def document(text: str, client: int | None = None) -> bytes:
    update: bytes = pycrdt.Doc({"text": pycrdt.Text(text)}, client_id=client).get_update()
    return update


async def text_of(gateway: str, room: str, name: str = "notes") -> str | None:
    """None if there is no such document."""
    status, body = await call(gateway, "GET", f"{room}/documents/{name}?format=text")
    return body.decode() if status == 200 else None


async def editor(gateway: str, room: str, name: str = "notes") -> Editor:
    one = await Editor.connect(gateway, room, name, query=f"?access_token={token()}")
    await one.sync()
    return one


# --- reading and rights ------------------------------------------------------------------------------------


async def test_documents_are_listed_and_read_in_the_format_that_the_request_asks_for(system: EmbeddedStack, room: str):
    here, there = system.gateways
    for name in ("notes", "a-plan"):
        status, _ = await call(here, "PUT", f"{room}/documents/{name}", document(name), **CREATE)
        assert status == 201
    listed = (await ask(there, "GET", f"/rooms/{room}/documents?limit=1")).body
    assert ([one["name"] for one in listed["documents"]], listed["next"]) == (["a-plan"], "a-plan")
    listed = (await ask(there, "GET", f"/rooms/{room}/documents?after=a-plan")).body
    assert [one["name"] for one in listed["documents"]] == ["notes"]
    assert listed["documents"][0]["bytes"] == len(document("notes", 1)) or listed["documents"][0]["bytes"] > 10
    path = f"{room}/documents/notes"
    update = (await call(there, "GET", path))[1]
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc.apply_update(update)
    assert str(doc.get("text", type=pycrdt.Text)) == "notes"
    assert (await call(there, "GET", path, Accept="text/html, application/json;q=0.9"))[1] == b'{"text":"notes"}'
    assert (await call(there, "GET", f"{path}?format=text", Accept="application/json"))[1] == b"notes"
    assert code(await call(there, "GET", f"{room}/documents/nothing")) == (404, "not_found")


@pytest.mark.parametrize(
    ("claims", "reads", "writes"),
    [
        ({}, 200, 201),
        ({"documents": "read"}, 200, 403),
        ({"documents": "none"}, 403, 403),
        ({"rooms": [str(uuid4())]}, 403, 403),
    ],
    ids=["write", "read", "none", "another room"],
)
async def test_the_access_token_decides_who_reads_and_writes(
    system: EmbeddedStack, room: str, claims: dict[str, Any], reads: int, writes: int
):
    here, _ = system.gateways
    bearer = token(**claims)
    await call(here, "PUT", f"{room}/documents/notes", document("x"), **CREATE)
    assert (await call(here, "GET", f"{room}/documents/notes", bearer=bearer))[0] == reads
    assert (await call(here, "GET", f"{room}/documents", bearer=bearer))[0] == reads
    assert (await call(here, "GET", f"{room}/documents/notes/versions", bearer=bearer))[0] == reads
    assert (await call(here, "PUT", f"{room}/documents/own", document("x"), bearer=bearer, **CREATE))[0] == writes
    version = b'{"name": "draft"}'
    made = await call(
        here, "POST", f"{room}/documents/notes/versions", version, bearer=bearer, Content_Type="application/json"
    )
    assert made[0] == writes
    for method, path in (("POST", "notes"), ("DELETE", "notes")):
        answer = await call(here, method, f"{room}/documents/{path}", document("x"), bearer=bearer)
        assert answer[0] in {401, 403}
    assert (await call(here, "GET", f"{room}/export", bearer=bearer))[0] == 403


async def test_pages_of_other_origins_may_not_write(system: EmbeddedStack, room: str):
    here, _ = system.gateways
    answer = await call(
        here, "PUT", f"{room}/documents/notes", document("x"), bearer=token(), Origin="https://evil.example", **CREATE
    )
    assert code(answer) == (403, "origin_not_allowed")


async def test_the_socket_of_an_editor_ends_with_its_access_token(system: EmbeddedStack, room: str):
    brief = token(exp=int(time.time()) + 3)
    ann = await Editor.connect(system.gateways[0], room, query=f"?access_token={brief}")
    await ann.sync()
    await ann.ended()
    assert ann.close_code == 4002


async def test_a_silent_editor_gets_something_in_time(system: EmbeddedStack, room: str):
    """Providers end a socket from which nothing comes for 30 s."""
    ann = await editor(system.gateways[0], room)
    before = len(ann.received)
    await eventually(lambda: len(ann.received) > before, "the gateway sends something", 20)
    await ann.close()


# --- creating and writing ----------------------------------------------------------------------------------


async def test_a_document_is_created_once_however_many_try(system: EmbeddedStack, room: str):
    here, there = system.gateways
    path = f"{room}/documents/notes"
    tried = [call(gateway, "PUT", path, document("first"), **CREATE) for gateway in (here, there) * 5]
    answers = await asyncio.gather(*tried)
    assert sorted(status for status, _ in answers) == [201, *[412] * 9]
    assert await text_of(here, room) == "first"
    assert code(await call(here, "PUT", path, document("late"), **CREATE)) == (412, "document_exists")
    assert code(await call(here, "PUT", path, document("over it"))) == (400, "invalid_request")


async def test_an_editor_who_writes_first_is_not_overwritten_and_gets_nothing_twice(system: EmbeddedStack, room: str):
    here, there = system.gateways
    ann = await editor(here, room)
    _, (status, _) = await asyncio.gather(
        ann.edit("by Ann"), call(there, "PUT", f"{room}/documents/notes", document("template "), **CREATE)
    )
    await ann.sync()
    found = await text_of(there, room)
    if status == 412:
        assert found == "by Ann"
    else:
        assert found in {"template by Ann", "by Anntemplate "}
    await eventually(lambda: ann.text == found, "the editor has the same")
    await ann.close()


async def test_plain_text_creates_a_document_too(system: EmbeddedStack, room: str):
    here, _ = system.gateways
    path = f"{room}/documents/notes"
    assert code(await call(here, "PUT", path, b"some text", **TEXT)) == (400, "invalid_request")
    assert (await call(here, "PUT", f"{path}?root=body", "größer".encode(), **TEXT))[0] == 201
    assert json.loads((await call(here, "GET", f"{path}?format=json"))[1]) == {"body": "größer"}


async def test_a_backend_writes_and_editors_get_it(system: EmbeddedStack, room: str):
    here, there = system.gateways
    ann = await editor(here, room)
    await ann.edit("Ann")
    assert (await call(there, "POST", f"{room}/documents/notes", document(" and a bot")))[0] == 204
    await ann.has("Ann", " and a bot")
    assert code(await call(there, "POST", f"{room}/documents/notes", b"\xff\xff")) == (400, "invalid_request")
    assert code(await call(there, "POST", f"{room}/documents/notes", bytes(100_001))) == (413, "body_too_large")
    await ann.close()


# --- versions ----------------------------------------------------------------------------------------------


async def test_a_version_is_made_listed_read_restored_and_deleted(system: EmbeddedStack, room: str):
    here, there = system.gateways
    ann, user = await editor(here, room), str(uuid4())
    await ann.edit("draft")
    await ann.sync()
    path, bearer = f"/rooms/{room}/documents/notes/versions", token(user, name="Ann")
    made = await ask(here, "POST", path, {"name": "First draft"}, bearer=bearer)
    assert made.status == 201
    assert {**made.body, "id": "", "created_at": 0, "bytes": 0} == {
        "id": "", "name": "First draft", "created_at": 0, "author": "Ann", "author_id": user, "bytes": 0,
    }  # fmt: skip
    await ann.edit(" and more")
    await ann.sync()
    listed = await ask(there, "GET", path)
    assert listed.body == {"versions": [made.body]}
    version = made.body["id"]
    assert (await call(there, "GET", f"{path[7:]}/{version}?format=text"))[1] == b"draft"
    assert (await ask(there, "POST", f"{path}/{version}/restore", bearer=bearer)).status == 204
    await eventually(lambda: ann.text == "draft", "the editor has what was restored")
    await ann.edit(", second")
    await ann.sync()
    assert await text_of(there, room) == ann.text
    assert (await ask(here, "DELETE", f"{path}/{version}")).status == 204
    for answer in (
        await ask(there, "DELETE", f"{path}/{version}"),
        await ask(there, "POST", f"{path}/{version}/restore"),
        await ask(there, "POST", f"/rooms/{room}/documents/nothing/versions", {"name": "x"}),
    ):
        assert answer.refusal == (404, "not_found")
    assert (await ask(there, "POST", path, {"name": "\u200b"})).refusal == (400, "invalid_request")
    assert (await ask(there, "GET", path)).body == {"versions": []}
    await ann.close()


# --- deleting ----------------------------------------------------------------------------------------------


async def test_a_deleted_document_is_gone_for_everyone_and_its_name_is_free(system: EmbeddedStack, room: str):
    here, there = system.gateways
    ann, bob = await editor(here, room), await editor(there, room)
    await ann.edit("secret")
    await bob.has("secret")
    await ask(here, "POST", f"/rooms/{room}/documents/notes/versions", {"name": "with the secret"})
    assert (await ask(here, "DELETE", f"/rooms/{room}/documents/notes")).status == 204
    for one in (ann, bob):
        await one.ended()
        assert one.close_code == 4503
    assert await text_of(there, room) is None
    assert (await ask(there, "GET", f"/rooms/{room}/documents/notes/versions")).body == {"versions": []}
    assert (await ask(there, "GET", f"/rooms/{room}/documents")).body["documents"] == []
    assert (await ask(there, "DELETE", f"/rooms/{room}/documents/notes")).status == 204

    new = await editor(there, room)
    await new.edit("fresh")
    await new.sync()
    assert await text_of(here, room) == "fresh"
    await new.close()


async def test_a_deleted_document_ends_for_hocuspocus_and_the_other_documents_of_the_socket_stay(
    system: EmbeddedStack, room: str
):
    here, there = system.gateways
    bearer = token()
    socket = await websockets.connect(f"{here.removesuffix('/ws')}/documents/{room}")
    for name in ("notes", "plan"):
        await call(here, "PUT", f"{room}/documents/{name}", document(name), **CREATE)
        await socket.send(lib0.text(name) + bytes((AUTH, 0)) + lib0.text(bearer))
        await socket.send(lib0.text(name) + bytes((0, 0)) + lib0.data(b"\x00"))
    received: list[bytes] = []

    async def got(start: bytes) -> None:
        async with asyncio.timeout(10):
            while not any(message.startswith(start) for message in received):
                message = await socket.recv()
                assert isinstance(message, bytes)
                received.append(message)

    for name in ("notes", "plan"):
        await got(lib0.text(name) + bytes((0, 0)))
    await ask(there, "DELETE", f"/rooms/{room}/documents/notes")
    await got(lib0.text("notes") + bytes((AUTH, 1)))
    assert b"DocumentDeleted" in received[-2]
    await call(there, "POST", f"{room}/documents/plan", document("more"))
    received.clear()
    await got(lib0.text("plan") + bytes((0, 2)))
    await socket.close()


async def test_an_offline_editor_brings_nothing_of_a_deleted_document_back(system: EmbeddedStack, room: str):
    here, there = system.gateways
    ann = await editor(here, room)
    await ann.edit("secret")
    await ann.sync()
    await ann.close()
    await ask(here, "DELETE", f"/rooms/{room}/documents/notes")
    new = await editor(there, room)
    await new.edit("fresh")
    for gateway in (here, there):
        back = await Editor.connect(gateway, room, query=f"?access_token={token()}")
        back.doc.apply_update(ann.doc.get_update())
        back.write(", and more of it")
        await back.begin_sync()
        await back.ended()
        assert back.close_code == 4503
        assert back.count(AUTH, 1) == 0 or back.received
    await new.sync()
    assert (new.text, await text_of(here, room)) == ("fresh", "fresh")
    update = ann.doc.get_update()
    assert code(await call(here, "POST", f"{room}/documents/notes", update)) == (409, "document_deleted")
    await new.close()


async def test_a_backend_may_create_a_deleted_document_again_from_the_same_bytes(system: EmbeddedStack, room: str):
    here, there = system.gateways
    path, template = f"{room}/documents/notes", document("template", client=1)
    for _ in range(2):
        assert (await call(here, "PUT", path, template, **CREATE))[0] == 201
        async with asyncio.timeout(10):
            ann = await editor(there, room)
        assert ann.text == "template"
        await ann.edit("!")
        await ann.sync()
        assert await text_of(here, room) == "template!"
        await ask(here, "DELETE", f"/rooms/{path}")
        await ann.ended()


# --- export ------------------------------------------------------------------------------------------------


async def test_a_room_is_exported_with_its_chat_its_documents_and_their_versions(system: EmbeddedStack, room: str):
    here, there = system.gateways
    for number in range(250):
        message = {"user_id": str(uuid4()), "username": "Bot", "content": f"message {number}"}
        assert (await ask(here, "POST", f"/rooms/{room}/messages", message)).status == 201
    for name in ("notes", "plan"):
        await call(here, "PUT", f"{room}/documents/{name}", document(f"the {name}"), **CREATE)
    made = await ask(here, "POST", f"/rooms/{room}/documents/plan/versions", {"name": "draft"})
    moderator = token(rooms=[room], role="moderator")
    status, body = await call(there, "GET", f"{room}/export", bearer=moderator)
    assert status == 200
    with zipfile.ZipFile(io.BytesIO(body)) as file:
        assert file.testzip() is None
        lines = [json.loads(line)["content"] for line in file.read("chat.jsonl").splitlines()]
        assert lines == [f"message {number}" for number in reversed(range(250))]
        assert {name: file.read(f"documents/{name}.txt") for name in ("notes", "plan")} == {
            "notes": b"the notes", "plan": b"the plan",
        }  # fmt: skip
        assert json.loads(file.read("documents/plan.json")) == {"text": "the plan"}
        assert file.read(f"versions/plan/{made.body['id']}.yjs") == file.read("documents/plan.yjs")
        assert json.loads(file.read("versions/plan.json"))["versions"] == [made.body]
        assert json.loads(file.read("room.json"))["room_id"] == room
