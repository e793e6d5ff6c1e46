"""The retention of a room is stored once, and applied from then on by any gateway.

The processes have the NATS users and permissions of production.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nats
import pytest

from studyroom.shared.contract.audit_subjects import AUDIT_STREAM
from studyroom.shared.contract.retention_subjects import RETENTION_CLAIM, RETENTION_STREAM
from tests.support.accounts import options_of, user_of
from tests.support.backend import SETTINGS, Json, ask, token
from tests.support.client import Client, clients
from tests.support.editor import editors
from tests.support.leftovers import Raw, files_having, having, raw_messages
from tests.support.processes import NatsServer, ServiceProcess, all_running, deployed_nats_server, running, service
from tests.support.waiting import eventually

EVERY_SECONDS = 2
DEADLINE_SECONDS = 40.0
KEPT_SECONDS = 3


@dataclass
class Site:
    directory: Path
    nats: NatsServer
    gateways: list[str]

    def gateway(self) -> ServiceProcess:
        return service("gateway", self.directory, self.nats.url, **settings_of("gateway"))

    async def stored(self, stream: str, *words: str) -> list[Raw]:
        connection = await nats.connect(self.nats.url, **options_of("operator"))
        try:
            return having(await raw_messages(connection, stream), *words)
        finally:
            await connection.close()

    async def records(self, room: str) -> list[Json]:
        """The records of the audit stream about a room."""
        return [json.loads(raw.data) for raw in await self.stored(AUDIT_STREAM, room)]

    async def passes(self) -> int:
        """The sequence of the newest claim, which grows with each pass."""
        return max((raw.sequence for raw in await self.stored(RETENTION_STREAM, RETENTION_CLAIM)), default=0)

    async def several_passes(self) -> None:
        newest = await self.passes()
        for _ in range(3):
            newest = await eventually(partial(self._newer, newest), "another pass begins", DEADLINE_SECONDS)

    async def _newer(self, than: int) -> int:
        newest = await self.passes()
        return newest if newest > than else 0


def settings_of(user: str) -> dict[str, str]:
    return {**SETTINGS, **user_of(user), "STUDYROOM_GATEWAY_RETENTION_SECONDS": str(EVERY_SECONDS)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("retention")
    with running(deployed_nats_server(directory)) as server:
        names = {"other gateway": "gateway"}
        processes = {
            name: service(names.get(name, name), directory, server.url, **settings_of(names.get(name, name)))
            for name in ("provisioner", "presence", "documents", "gateway", "other gateway")
        }
        with all_running(*processes.values()):
            yield Site(directory, server, [processes[name].url for name in ("gateway", "other gateway")])


async def sent(author: Client, content: str, **extra: Any) -> Json:
    await author.send("Chat", {"content": content, **extra})
    return await author.expect("Chat", content=content)


async def contents(gateway: str, room: str) -> list[str]:
    answer = await ask(gateway, "GET", f"/rooms/{room}/messages?limit=100")
    return [message["content"] for message in answer.body["messages"]]


async def have_only(site: Site, room: str, *wanted: str) -> bool:
    return all([await contents(gateway, room) == list(wanted) for gateway in site.gateways])


async def newcomer_gets_nothing(gateway: str, room: str) -> bool:
    async with clients(gateway) as (newcomer,):
        return bool((await newcomer.join(room))["history"] == 0)


def retention(room: str, messages: int | None = None, versions: int | None = None) -> Json:
    return {"room_id": room, "messages_seconds": messages, "versions_seconds": versions, "by": "key backend-2026"}


async def test_messages_that_are_too_old_go_everywhere_and_again_and_again(site: Site, room: str):
    here, there = site.gateways
    path = f"/rooms/{room}/retention"
    async with clients(here, there) as (bob, eve):
        for client in (bob, eve):
            await client.join(room)
        await sent(bob, "something-old")
        answer = await ask(there, "PUT", path, {"messages_seconds": KEPT_SECONDS})
        assert (answer.status, answer.body) == (200, retention(room, KEPT_SECONDS))
        for text in ("something-else", "one-more"):
            await sent(eve, text)
            await eventually(partial(have_only, site, room), "old messages are gone", DEADLINE_SECONDS)
            assert await site.stored("CHAT", text, "something-old") == []
            assert files_having(site.nats.store, "CHAT", text, "something-old") == []
            for gateway in site.gateways:
                await eventually(partial(newcomer_gets_nothing, gateway, room), "the gateway has read the room again")
        for client in (bob, eve):
            assert client.types().count("ChatReset") >= 1
        assert (await ask(here, "DELETE", path)).status == 204
        await sent(bob, "something-new")
        stored_at = time.monotonic()
        await eventually(lambda: time.monotonic() > stored_at + KEPT_SECONDS, "it would be too old")
        await site.several_passes()
        assert await have_only(site, room, "something-new")
    records = await site.records(room)
    kinds = [(record["action"], record["by"], record["outcome"]) for record in records]
    mine = [("set_retention", "key backend-2026", outcome) for outcome in ("requested", "done")]
    assert kinds[:2] == mine
    assert records[0]["messages_seconds"] == KEPT_SECONDS
    assert ("erase_old_messages", "retention", "done") in kinds
    removed = [("remove_retention", "key backend-2026", outcome) for outcome in ("requested", "done")]
    assert [kind for kind in kinds if kind[0] == "remove_retention"] == removed


async def test_a_room_with_nothing_that_is_too_old_is_left_alone(site: Site, room: str):
    here, there = site.gateways
    async with clients(here) as (bob,):
        await bob.join(room)
        await sent(bob, "something-old")
        await ask(there, "PUT", f"/rooms/{room}/retention", {"messages_seconds": 1})
        await eventually(partial(have_only, site, room), "it is gone", DEADLINE_SECONDS)
        await eventually(partial(is_recorded_as_done, site, room), "it is recorded")
        await site.several_passes()  # one of them may go on after the messages are gone
        records, resets = await site.records(room), bob.types().count("ChatReset")
        await site.several_passes()
        assert await site.records(room) == records
        assert bob.types().count("ChatReset") == resets


async def is_recorded_as_done(site: Site, room: str) -> bool:
    done = ("erase_old_messages", "done")
    return done in [(record["action"], record["outcome"]) for record in await site.records(room)]


async def test_the_retention_outlives_the_gateway_that_has_set_it(site: Site, room: str):
    here, _ = site.gateways
    with running(site.gateway()) as doomed:
        answer = await ask(doomed.url, "PUT", f"/rooms/{room}/retention", {"messages_seconds": KEPT_SECONDS})
        assert answer.status == 200
    async with clients(here) as (bob,):
        await bob.join(room)
        await sent(bob, "after its death")
        await eventually(partial(have_only, site, room), "another gateway erases it", DEADLINE_SECONDS)
    assert (await ask(here, "GET", f"/rooms/{room}/retention")).body == retention(room, KEPT_SECONDS)


async def test_old_versions_of_documents_go_and_the_document_stays(site: Site, room: str):
    here, there = site.gateways
    versions = f"/rooms/{room}/documents/notes/versions"
    async with editors(room, here) as (editor,):
        await editor.edit("text-that-stays")
        await editor.sync()
        assert (await ask(there, "POST", versions, {"name": "unique-draft"})).status == 201
        assert (await ask(there, "PUT", f"/rooms/{room}/retention", {"versions_seconds": 1})).status == 200
        await eventually(partial(has_no_versions, here, versions), "the version is gone", DEADLINE_SECONDS)
        assert files_having(site.nats.store, "DOCUMENTS", "unique-draft") == []
        assert editor.text == "text-that-stays"
    records = [record for record in await site.records(room) if record["action"] == "erase_old_versions"]
    assert [(record["by"], record["outcome"], record["versions"]) for record in records] == [("retention", "done", 1)]


async def has_no_versions(gateway: str, versions: str) -> bool:
    return bool((await ask(gateway, "GET", versions)).body["versions"] == [])


async def test_only_backends_may_set_read_and_remove_a_retention_and_may_repeat_that(site: Site, room: str):
    here, there = site.gateways
    path, both = f"/rooms/{room}/retention", {"messages_seconds": 86_400, "versions_seconds": 86_400}
    moderator = token(role="moderator")
    for method, body in (("PUT", both), ("GET", None), ("DELETE", None)):
        assert (await ask(here, method, path, body, bearer=moderator)).refusal == (401, "unauthorized")
    for wrong in (0, "a day", 10**10):
        assert (await ask(here, "PUT", path, {"messages_seconds": wrong})).refusal == (400, "invalid_request")
    assert (await ask(here, "GET", path)).refusal == (404, "not_found")
    for _ in range(2):
        assert (await ask(here, "PUT", path, both)).body == retention(room, 86_400, 86_400)
    assert (await ask(there, "GET", path)).body == retention(room, 86_400, 86_400)
    for _ in range(2):
        assert (await ask(there, "DELETE", path)).status == 204
    assert (await ask(here, "GET", path)).refusal == (404, "not_found")
