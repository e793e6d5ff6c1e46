"""Long documents over HTTP, and how many documents and exports there may be."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.test_document_http import CREATE, TEXT, call, code, document, editor, text_of
from tests.support.backend import SETTINGS, ask, token
from tests.support.editor import AUTH, PERMISSION_DENIED, SYNC, UPDATE, Editor
from tests.support.processes import EmbeddedStack, embedded_stack, running
from tests.support.waiting import eventually, wait_until

DOCUMENT_MAX_BYTES = 3_000_000
BODY_MAX_BYTES = 2_500_000
PER_ROOM_MAX = 3
EXPORTS_AT_ONCE = 2
LONG = "long " * 300_000
"""1.5 MB, and NATS takes 1 MB."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    settings = {
        **SETTINGS, "STUDYROOM_GATEWAY_DOCUMENT_BODY_MAX_BYTES": str(BODY_MAX_BYTES),
        "STUDYROOM_DOCUMENTS_MAX_BYTES": str(DOCUMENT_MAX_BYTES), "STUDYROOM_DOCUMENTS_PER_ROOM_MAX": str(PER_ROOM_MAX),
    }  # fmt: skip
    with running(embedded_stack(tmp_path_factory.mktemp("stack"), presence=1, documents=2, **settings)) as stack:
        yield stack


# --- long documents ----------------------------------------------------------------------------------------


async def test_a_long_version_is_restored_at_once_for_everyone(system: EmbeddedStack, room: str):
    here, there = system.gateways
    path, versions = f"{room}/documents/notes", f"/rooms/{room}/documents/notes/versions"
    assert await call(here, "PUT", path, document(LONG), **CREATE) == (201, b"")
    ann, bob = await editor(here, room), await editor(there, room)
    assert ann.text == bob.text == LONG
    version = (await ask(here, "POST", versions, {"name": "Long"})).body["id"]
    await ann.send(SYNC, UPDATE, ann.erase())
    await ann.edit("short")
    await eventually(lambda: bob.text == "short", "the other editor has it")
    before = len(bob.received)
    assert (await ask(there, "POST", f"{versions}/{version}/restore")).status == 204
    # The answer means that it is stored, and a newcomer on any gateway has it.
    late = await editor(here, room)
    assert late.text == LONG
    await eventually(lambda: ann.text == bob.text == LONG, "each editor has what was restored")
    (restored,) = [contents for _, _, contents in bob.received[before:] if len(contents) > 1000]
    assert len(restored) > len(LONG)  # one message has all of it
    await ann.edit(" and more")
    await bob.has(" and more")
    await ann.sync()
    assert await text_of(there, room) == ann.text == bob.text
    for one in (ann, bob, late):
        await one.close()


async def test_a_long_document_is_created_once_however_many_try_and_only_if_it_is_one(system: EmbeddedStack, room: str):
    here, there = system.gateways
    path = f"{room}/documents/notes"
    assert code(await call(here, "PUT", path, b"\xff" * 1_500_000, **CREATE)) == (400, "invalid_request")
    assert code(await call(here, "PUT", path, bytes(BODY_MAX_BYTES + 1), **CREATE)) == (413, "body_too_large")
    tried = [call(gateway, "PUT", f"{path}?root=text", LONG.encode(), **TEXT) for gateway in (here, there) * 2]
    answers = await asyncio.gather(*tried)
    assert sorted(status for status, _ in answers) == [201, 412, 412, 412]
    assert await text_of(there, room) == LONG
    too_long = b"x" * (DOCUMENT_MAX_BYTES - len(LONG) + 1)
    assert code(await call(here, "POST", path, document(too_long.decode()))) == (409, "document_full")
    assert (await call(here, "PUT", f"{room}/documents/plan?root=text", too_long, **TEXT))[0] == 201


async def test_a_backend_may_create_a_long_document_again_from_the_same_bytes(system: EmbeddedStack, room: str):
    here, there = system.gateways
    path, template = f"{room}/documents/notes", document(LONG, client=1)
    for _ in range(2):
        assert (await call(here, "PUT", path, template, **CREATE))[0] == 201
        assert await text_of(there, room) == LONG
        await ask(here, "DELETE", f"/rooms/{path}")
        assert await text_of(there, room) is None
    assert code(await call(here, "POST", path, template)) == (409, "document_deleted")


# --- how many documents ------------------------------------------------------------------------------------


async def fill(gateway: str, room: str, count: int = PER_ROOM_MAX) -> None:
    for number in range(count):
        assert (await call(gateway, "PUT", f"{room}/documents/d{number}", document("x"), **CREATE))[0] == 201


async def names(gateway: str, room: str) -> list[str]:
    return [one["name"] for one in (await ask(gateway, "GET", f"/rooms/{room}/documents")).body["documents"]]


async def refusal_of(one: Editor) -> bytes:
    """The reason that the editor gets, once."""
    await eventually(lambda: one.count(AUTH, PERMISSION_DENIED) == 1, "the edit is refused")
    (reason,) = [contents for kind, step, contents in one.received if (kind, step) == (AUTH, PERMISSION_DENIED)]
    return reason


async def test_a_room_gets_no_more_documents_than_the_limit_and_those_that_are_there_go_on(
    system: EmbeddedStack, room: str
):
    here, there = system.gateways
    early = await editor(here, room, "one-more")  # opened while there is a place
    await fill(here, room)
    refusal = (409, "too_many_documents")
    for method, headers in (("PUT", CREATE), ("POST", {})):
        assert code(await call(there, method, f"{room}/documents/one-more", document("x"), **headers)) == refusal
    late = await editor(there, room, "one-more")
    for one in (early, late):
        await one.edit("too many")
        assert b"as many documents as it may have" in await refusal_of(one)
    assert await names(here, room) == ["d0", "d1", "d2"]
    old = await editor(here, room, "d0")
    await old.edit(" goes on")
    await old.sync()
    await early.close()
    await ask(here, "DELETE", f"/rooms/{room}/documents/d1")
    await late.sync()  # asks again, and there is a place now
    assert await names(there, room) == ["d0", "d2", "one-more"]
    assert await text_of(here, room, "one-more") == "too many"
    for one in (late, old):
        await one.close()


async def test_the_first_edit_of_an_editor_that_goes_at_once_is_stored_if_there_is_a_place_and_only_then(
    system: EmbeddedStack, room: str
):
    here, there = system.gateways

    async def write_and_go(name: str) -> None:
        one = await Editor.connect(here, room, name, query=f"?access_token={token()}")
        await one.edit("first")
        await one.close()

    await fill(here, room, PER_ROOM_MAX - 1)
    await write_and_go("one-more")

    async def is_there() -> bool:
        return await text_of(there, room, "one-more") == "first"

    await eventually(is_there, "it is stored")
    await write_and_go("too-many")
    new = await editor(here, room, "too-many")  # the gateway has asked about the first edit before
    assert new.text == ""
    assert await names(there, room) == ["d0", "d1", "one-more"]
    await new.close()


# --- how many exports --------------------------------------------------------------------------------------


def stands_still(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@contextmanager
def standing_still(system: EmbeddedStack) -> Iterator[None]:
    """The documents service gets requests, and answers none until the end."""
    pids = [row["pid"] for row in system.of("documents")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for pid in pids:
            wait_until(partial(stands_still, pid), "it stands still")
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_a_gateway_sends_two_exports_at_a_time_also_if_others_begin_at_the_same_moment(
    system: EmbeddedStack, room: str
):
    here, _ = system.gateways
    await fill(here, room, 1)
    with standing_still(system):
        exports = [asyncio.create_task(call(here, "GET", f"{room}/export")) for _ in range(EXPORTS_AT_ONCE + 1)]
        done, waiting = await asyncio.wait(exports, return_when=asyncio.FIRST_COMPLETED, timeout=4)
        assert [code(one.result()) for one in done] == [(429, "rate_limited")]
    assert [(await one)[0] for one in waiting] == [200] * EXPORTS_AT_ONCE
    # Each has given its place back.
    for _ in range(EXPORTS_AT_ONCE + 1):
        assert (await call(here, "GET", f"{room}/export"))[0] == 200
