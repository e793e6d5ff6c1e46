"""An erasure reaches what is stored for hooks and what the backend has not got yet, and the backend learns of it.

The processes have the NATS users and permissions of production, and two groups of shards.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import nats
import pytest

from studyroom.shared.contract import hook_subjects
from studyroom.shared.contract.audit import fingerprint
from studyroom.shared.contract.ids import UserId
from tests.support.accounts import options_of, user_of
from tests.support.backend import SETTINGS, Json, ask, token
from tests.support.client import clients
from tests.support.hooks import Answer, Receiver, first_taken, hook_receiver, is_in_order
from tests.support.leftovers import Raw, files_having, having, raw_messages
from tests.support.processes import NatsServer, ServiceProcess, all_running, deployed_nats_server, running, service
from tests.support.waiting import eventually, wait_until

GROUPS = 2
DEADLINE_SECONDS = 60.0
REFUSED, TAKEN = Answer(503), Answer()


@dataclass
class Site:
    directory: Path
    nats: NatsServer
    gateways: list[str]
    settings: dict[str, str]

    def hooks(self) -> ServiceProcess:
        hasty = {"STUDYROOM_HOOKS_RETRY_MAX_SECONDS": "1", "STUDYROOM_HOOKS_TIMEOUT_SECONDS": "2"}
        return service("hooks", self.directory, self.nats.url, **{**self.settings, **user_of("hooks"), **hasty})

    async def left(self, *words: str) -> list[Raw]:
        """The messages in the streams of hooks that have one of these words, but for markers that go by themselves."""
        connection = await nats.connect(self.nats.url, **options_of("operator"))
        try:
            messages = await raw_messages(connection, *hook_subjects.streams_of_hooks(GROUPS))
        finally:
            await connection.close()
        return [raw for raw in having(messages, *words) if not raw.is_removal]

    def on_disk(self, *words: str) -> list[str]:
        streams = [name for name in hook_subjects.streams_of_hooks(GROUPS) if not name.startswith("KV_")]
        return [found for stream in streams for found in files_having(self.nats.store, stream, *words)]

    async def done(self, path: str) -> Json:
        """The record of an erasure that is complete."""

        async def is_done() -> Json | None:
            answer = await ask(self.gateways[1], "GET", path)
            return answer.body if answer.body.get("outcome") == "done" else None

        record: Json = await eventually(is_done, f"{path} is done", DEADLINE_SECONDS)
        return record


@pytest.fixture(scope="module")
def backend() -> Iterator[Receiver]:
    with hook_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, backend: Receiver) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("erasure-of-hooks")
    given = {
        **SETTINGS, **backend.settings, "STUDYROOM_STORAGE_GROUPS": str(GROUPS),
        "STUDYROOM_STORAGE_CREATE": "missing", "STUDYROOM_PRESENCE_GRACE_SECONDS": "1",
    }  # fmt: skip
    with running(deployed_nats_server(directory)) as server:
        names = {"other gateway": "gateway"}
        processes = {
            name: service(names.get(name, name), directory, server.url, **given, **user_of(names.get(name, name)))
            for name in ("provisioner", "presence", "documents", "gateway", "other gateway")
        }
        with all_running(*processes.values()):
            yield Site(directory, server, [processes[name].url for name in ("gateway", "other gateway")], given)


@pytest.fixture
def hooks(site: Site) -> Iterator[ServiceProcess]:
    with running(site.hooks()) as process:
        wait_until(lambda: process.metric("studyroom_hooks_groups") == GROUPS, "it has all leases", 30)
        yield process


def erasures_of(backend: Receiver, user: str) -> list[int]:
    """The places among all requests at which the backend has learned that a user was erased."""
    return [
        place for place, one in enumerate(backend.received)
        if one.event["type"] == "user.erased" and one.event["data"] == {"user_sha256": fingerprint(UserId(user))}
    ]  # fmt: skip


async def test_the_backend_gets_nothing_about_an_erased_user_any_more_and_learns_of_the_erasure(
    site: Site, hooks: ServiceProcess, backend: Receiver, room: str
):
    here, there = site.gateways
    ann, name = str(uuid4()), "Annabel Uniquename"
    backend.decide = lambda event, _: REFUSED if event["data"].get("room_id") == room else TAKEN
    async with clients(here, there, username="Bob") as (bob, eve):
        await bob.join(room)
        async with clients(there, token=token(ann, name=name)) as (she,):
            await she.join(room)
            await she.chat("unique-words-of-ann")
            await bob.expect("Chat")
        await eve.join(room)
        await bob.chat("a message of Bob")
        await eventually(partial(has_joined_and_left, site, ann), "the log has her visit")
        await eventually(lambda: backend.of(room), "an event is refused")

        for _ in range(2):  # the second request answers the same
            assert (await ask(here, "DELETE", f"/users/{ann}")).status == 202
            await site.done(f"/users/{ann}/erasure")
        assert await site.left(ann, name) == []
        assert site.on_disk(ann, name) == []
        await eventually(lambda: erasures_of(backend, ann), "the backend learns of the erasure")
        backend.decide = lambda _event, _before: TAKEN
        await eve.leave()
    await eventually(lambda: "room.empty" in backend.types(room), "the backend has all events", 30)
    events = [one.event for one in first_taken(backend.of(room))]
    kinds = [(event["type"], event["data"].get("user_id")) for event in events]
    assert kinds[:3] == [("member.joined", bob.user), ("room.occupied", None), ("message.created", None)]
    assert events[2]["data"].keys() == {"room_id", "seq", "erased"}
    assert kinds[3:5] == [("member.joined", eve.user), ("message.created", bob.user)]
    assert is_in_order(backend.of(room))
    learned = erasures_of(backend, ann)[0]
    assert not any(ann.encode() in one.body or name.encode() in one.body for one in backend.received[learned:])
    assert hooks.metric("studyroom_hooks_expired_events_total") == 0


async def has_joined_and_left(site: Site, user: str) -> bool:
    return len([raw for raw in await site.left(user) if raw.stream.startswith("HOOKS")]) == 2


async def test_an_erasure_is_complete_only_when_the_hooks_service_has_carried_it_out(
    site: Site, backend: Receiver, room: str
):
    here, _ = site.gateways
    ann, name = str(uuid4()), "Annabel Uniquename"
    with running(site.hooks()) as process:
        wait_until(lambda: process.metric("studyroom_hooks_groups") == GROUPS, "it has all leases", 30)
        async with clients(here, token=token(ann, name=name)) as (she,):
            await she.join(room)
            await eventually(partial(is_known, site, ann), "the bucket of hooks has her")
            process.stop()
            await she.leave()
            # Her second visit is in the log of members only.
            await she.join(room)
        assert (await ask(here, "DELETE", f"/users/{ann}")).status == 202
        assert (await ask(here, "GET", f"/users/{ann}/erasure")).body["outcome"] == "requested"
    with running(site.hooks()):
        await site.done(f"/users/{ann}/erasure")
        assert await site.left(ann, name) == []
        assert site.on_disk(ann, name) == []
        await eventually(lambda: erasures_of(backend, ann), "the backend learns of the erasure")
        await eventually(lambda: backend.types(room)[-1] == "room.empty", "the room is empty for the backend")


async def is_known(site: Site, user: str) -> bool:
    return any(raw.stream == hook_subjects.HOOKS_BUCKET_STREAM for raw in await site.left(user))


async def test_the_backend_learns_that_a_room_or_its_old_messages_were_erased(
    site: Site, hooks: ServiceProcess, backend: Receiver, room: str
):
    here, there = site.gateways
    async with clients(here, token=token(name="Bob Uniquename")) as (bob,):
        await bob.join(room)
        await bob.chat("old")
        await bob.expect("Chat")
        before = int(time.time()) + 2
        assert (await ask(there, "DELETE", f"/rooms/{room}/messages?before={before}")).status == 202
        await site.done(f"/rooms/{room}/erasure/messages")
        await eventually(lambda: backend.of(room, "messages.erased"), "the backend learns of the old messages")
        assert backend.of(room, "messages.erased")[0].event["data"] == {"room_id": room, "before": before}

        assert (await ask(there, "DELETE", f"/rooms/{room}")).status == 202
        await site.done(f"/rooms/{room}/erasure")
        assert await bob.error() == "removed"
        assert await site.left(bob.user, "Bob Uniquename") == []
        assert site.on_disk(bob.user, "Bob Uniquename") == []
        await eventually(lambda: backend.types(room)[-1:] == ["room.erased"], "the backend learns of the room")
        await bob.join(room)
        await eventually(lambda: backend.types(room)[-2:] == ["member.joined", "room.occupied"], "he comes back")
    assert hooks.running
