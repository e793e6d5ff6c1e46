"""A backend gets every committed event at least once, in order per room, under all faults of it and of the service.

The processes have the NATS users and permissions of production, and two groups of shards.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import nats
import nats.errors
import pytest

from studyroom.shared.contract import subjects
from studyroom.shared.contract.groups import Group
from studyroom.shared.contract.ids import RoomId
from tests.support.accounts import options_of, user_of
from tests.support.client import Client, Json, clients
from tests.support.commands import studyroom
from tests.support.editor import editors
from tests.support.hooks import KEPT, Answer, Received, Receiver, first_taken, hook_receiver, is_in_order
from tests.support.processes import NatsServer, ServiceProcess, all_running, deployed_nats_server, running, service
from tests.support.waiting import eventually, wait_until

GROUPS = 2
SETTINGS = {
    "STUDYROOM_STORAGE_GROUPS": str(GROUPS),
    "STUDYROOM_STORAGE_CREATE": "missing",
    "STUDYROOM_STORAGE_HOOKS_MAX_AGE_SECONDS": KEPT,
    "STUDYROOM_PRESENCE_GRACE_SECONDS": "1",
}
HASTY = {
    "STUDYROOM_HOOKS_TIMEOUT_SECONDS": "1",
    "STUDYROOM_HOOKS_RETRY_MAX_SECONDS": "1",
    "STUDYROOM_HOOKS_DOCUMENT_SECONDS": "0.3",
}
TAKE_OVER_SECONDS = 30.0
MESSAGE = "message.created"


@dataclass
class Site:
    directory: Path
    nats: NatsServer
    gateway: ServiceProcess

    def hooks(self, backend: Receiver, **settings: str) -> ServiceProcess:
        given = {**SETTINGS, **HASTY, **user_of("hooks"), **backend.settings, **settings}
        return service("hooks", self.directory, self.nats.url, **given)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("hooks")
    with running(deployed_nats_server(directory)) as server:
        processes = {
            name: service(name, directory, server.url, **SETTINGS, **user_of(name))
            for name in ("provisioner", "presence", "documents", "gateway")
        }
        with all_running(*processes.values()):
            yield Site(directory, server, processes["gateway"])


@pytest.fixture
def backend() -> Iterator[Receiver]:
    with hook_receiver() as receiver:
        yield receiver


@pytest.fixture
def hooks(site: Site, backend: Receiver) -> Iterator[ServiceProcess]:
    with running(site.hooks(backend)) as process:
        assert_works_on_all_groups(process)
        yield process


def assert_works_on_all_groups(process: ServiceProcess) -> None:
    wait_until(lambda: process.metric("studyroom_hooks_groups") == GROUPS, "it has all leases", TAKE_OVER_SECONDS)


async def chatted(author: Client, *contents: str) -> list[int]:
    """Send messages, and return their sequences when they are stored."""
    for content in contents:
        await author.chat(content)
    return [(await author.expect("Chat", content=content))["seq"] for content in contents]


async def taken(backend: Receiver, room: str, count: int, *types: str) -> list[Received]:
    """The first `count` events of the room that the backend has taken, without repetitions."""
    await eventually(
        lambda: len(first_taken(backend.of(room, *types))) >= count, f"{count} events of {types or 'all types'}", 40
    )
    return first_taken(backend.of(room, *types))


async def stored_messages(site: Site, room: str) -> set[int]:
    """The sequence of each message that the stream of chat has of a room."""
    connection = await nats.connect(site.nats.url, **options_of("operator"))
    try:
        group = subjects.shard_of(RoomId(room)) % GROUPS
        subscription = await connection.jetstream().subscribe(
            subjects.chat(RoomId(room)), stream=Group(group, GROUPS).chat_stream, ordered_consumer=True
        )
        found = set[int]()
        with suppress(nats.errors.TimeoutError):
            while True:
                found.add((await subscription.next_msg(timeout=0.5)).metadata.sequence.stream)
        return found
    finally:
        await connection.close()


async def test_the_events_of_a_visit_come_in_order_and_signed(
    site: Site, hooks: ServiceProcess, backend: Receiver, room: str
):
    async with clients(site.gateway.url, site.gateway.url, username="Ada") as (ada, ben):
        await ada.join(room)
        await ben.join(room)
        await ada.chat("Grüße, <all>")
        message = await ada.expect("Chat")
        target = {"target_id": message["id"], "target_seq": message["seq"]}
        await ada.send("EditChat", {**target, "content": "Grüße"})
        await ada.expect("ChatEdited")
        await taken(backend, room, 5)  # before the text is gone
        await ada.send("DeleteChat", target)
        await ada.expect("ChatDeleted")
        async with editors(room, site.gateway.url) as (editor,):
            for letter in "notes":
                await editor.edit(letter)
            await editor.sync()
        await taken(backend, room, 1, "document.saved")
        await ben.leave()
        await ada.leave()
    await taken(backend, room, 1, "room.empty")
    events = [one.event for one in first_taken(backend.of(room))]
    kinds = [event["type"] for event in events]
    assert kinds[:5] == ["member.joined", "room.occupied", "member.joined", MESSAGE, "message.edited"]
    # The edit is deleted with its message. Edits of the document within 0.3 s are one event, and these may take longer.
    assert kinds[5:7] == ["message.deleted"] * 2
    assert set(kinds[7:-3]) == {"document.saved"}
    assert kinds[-3:] == ["member.left", "member.left", "room.empty"]
    by = {event["type"]: event["data"] for event in reversed(events)}
    assert by["member.joined"] == {"room_id": room, "user_id": ada.user, "username": "Ada"}
    assert by[MESSAGE] == {"room_id": room, **message}
    assert by["message.edited"].items() >= {"content": "Grüße", "user_id": ada.user, **target}.items()
    assert by["message.deleted"]["deleted_seq"] in {message["seq"], by["message.edited"]["seq"]}
    assert by["document.saved"] == {"room_id": room, "name": "notes"}
    assert by["member.left"]["user_id"] == ben.user
    assert by["room.empty"] == {"room_id": room}
    assert is_in_order(backend.of(room))
    assert len({one.id for one in backend.received}) == len({one.body for one in first_taken(backend.received)})
    assert [event["sequence"] for event in events] == sorted({event["sequence"] for event in events})
    times = [datetime.fromisoformat(event["timestamp"]) for event in events]
    assert all((datetime.now(UTC) - time).total_seconds() < 60 for time in times)


async def test_the_text_of_a_message_that_is_gone_is_sent_to_nobody(site: Site, backend: Receiver, room: str):
    backend.decide = lambda event, _before: Answer(503 if "content" in event["data"] else 200)
    with running(site.hooks(backend)) as process:
        assert_works_on_all_groups(process)
        async with clients(site.gateway.url) as (ada,):
            await ada.join(room)
            (seq,) = await chatted(ada, "a secret")
            await eventually(lambda: backend.of(room, MESSAGE), "the backend has refused it")
            message = backend.of(room, MESSAGE)[0].event["data"]
            await ada.send("DeleteChat", {"target_id": message["id"], "target_seq": seq})
            await ada.expect("ChatDeleted")
        created, deleted = await taken(backend, room, 2, MESSAGE, "message.deleted")
    assert created.event["data"] == {"room_id": room, "seq": seq, "erased": True}
    assert created.id == backend.of(room, MESSAGE)[0].id
    assert deleted.event["data"]["deleted_seq"] == seq


async def test_a_room_whose_events_fail_holds_up_no_other_room_and_loses_nothing(
    site: Site, hooks: ServiceProcess, backend: Receiver, room: str
):
    good = str(uuid4())
    healthy = asyncio.Event()
    backend.decide = lambda event, _before: Answer(
        500 if event["data"]["room_id"] == room and not healthy.is_set() else 204
    )
    async with clients(site.gateway.url, site.gateway.url) as (ada, ben):
        await ada.join(room)
        await ben.join(good)
        wanted = await chatted(ada, *map(str, range(30)))  # more than the service keeps in memory
        others = await chatted(ben, *map(str, range(30)))
        found = await taken(backend, good, 30, MESSAGE)
        assert [one.event["data"]["seq"] for one in found] == others
        assert not first_taken(backend.of(room))
        assert hooks.metric("studyroom_hooks_waiting_rooms") >= 1
        assert hooks.metric("studyroom_hooks_oldest_undelivered_seconds") > 0
        await eventually(lambda: len(backend.of(room)) > 1, "the refused event is sent again")
        healthy.set()
        found = await taken(backend, room, 30, MESSAGE)
        assert [one.event["data"]["seq"] for one in found] == wanted
    assert is_in_order(backend.of(room))
    first, *repeated = [one for one in backend.of(room) if not one.is_taken]
    assert {(one.id, one.body) for one in repeated} == {(first.id, first.body)}
    assert hooks.metric('studyroom_hooks_attempts_total{outcome="failed"}') == len(repeated) + 1


async def test_a_backend_that_hangs_redirects_refuses_or_dies_gets_everything_in_the_end(
    site: Site, hooks: ServiceProcess, backend: Receiver, room: str
):
    troubles = [
        Answer(302, {"location": backend.url}),
        Answer(429, {"retry-after": "1"}),
        Answer(200, after_seconds=1.5),
        Answer(404),
        Answer(503, {"retry-after": "1"}),
    ]

    def decide(event: dict[str, object], before: int) -> Answer:
        return troubles[before] if event["type"] == "member.joined" and before < len(troubles) else Answer()

    backend.decide = decide
    async with clients(site.gateway.url) as (ada,):
        await ada.join(room)
        wanted = await chatted(ada, "one", "two")
        await taken(backend, room, 2, MESSAGE)
        backend.close()
        wanted += await chatted(ada, "three", "four")
        await eventually(
            lambda: hooks.metric('studyroom_hooks_attempts_total{outcome="unreachable"}') > 1, "it is not reached"
        )
        with hook_receiver(backend.port) as again:
            await taken(again, room, 2, MESSAGE)
    events = [*backend.of(room), *again.of(room)]
    joins = [one for one in events if one.event["type"] == "member.joined"]
    assert len({one.id for one in joins}) == 1
    assert [one.answer for one in joins[: len(troubles)]] == troubles
    assert [one.event["data"]["seq"] for one in first_taken(events) if one.event["type"] == MESSAGE] == wanted
    assert is_in_order(events)
    # The backend gets the pause that it asked for.
    for asked, following in pairwise(joins):
        assert following.at - asked.at >= float(asked.answer.headers.get("retry-after", 0))


async def visit_again_and_again(site: Site, room: str, stop: asyncio.Event) -> tuple[list[str], list[int]]:
    """Come, write and go until `stop` is set. Return the users, and the sequences of their messages."""
    users: list[str] = []
    written: list[int] = []
    while not stop.is_set():
        async with clients(site.gateway.url) as (guest,):
            await guest.join(room)
            written += await chatted(guest, f"{len(written)}")
            await guest.leave()
            await guest.settle()
            users.append(guest.user)
        await asyncio.sleep(0.02)
    return users, written


@pytest.mark.long
async def test_nothing_is_lost_and_order_is_kept_when_the_replica_that_works_is_killed(
    site: Site, backend: Receiver, room: str
):
    backend.decide = lambda _event, before: Answer(500 if before == 0 and len(backend.received) % 7 == 0 else 204)
    first, second = site.hooks(backend), site.hooks(backend)
    with running(first):
        assert_works_on_all_groups(first)
        with running(second):
            stop = asyncio.Event()
            visiting = asyncio.create_task(visit_again_and_again(site, room, stop))
            await taken(backend, room, 10, MESSAGE)
            assert second.metric("studyroom_hooks_groups") == 0
            first.signal(signal.SIGKILL)
            first.wait()
            before = len(first_taken(backend.of(room, MESSAGE)))
            await taken(backend, room, before + 10, MESSAGE)
            stop.set()
            users, written = await visiting
            await taken(backend, room, len(users), "member.left")
            await eventually(lambda: backend.types(room)[-1] == "room.empty", "the room is empty")
    events = first_taken(backend.of(room))
    by = partial(of_type, events)
    assert [event["data"]["seq"] for event in by(MESSAGE)] == written
    assert set(written) == await stored_messages(site, room)
    assert [event["data"]["user_id"] for event in by("member.joined")] == users
    assert sorted(event["data"]["user_id"] for event in by("member.left")) == sorted(users)
    assert len(by("room.occupied")) == len(by("room.empty"))
    assert is_in_order(backend.of(room))
    assert len({one.id for one in events}) == len({one.body for one in events})


def of_type(events: list[Received], kind: str) -> list[Json]:
    return [one.event for one in events if one.event["type"] == kind]


async def test_a_replica_that_stops_lets_another_one_go_on_at_once_and_sends_nothing_twice(
    site: Site, backend: Receiver, room: str
):
    first, second = site.hooks(backend), site.hooks(backend)
    async with clients(site.gateway.url) as (ada,):
        with running(first):
            assert_works_on_all_groups(first)
            with running(second):
                await ada.join(room)
                wanted = await chatted(ada, "one", "two")
                await taken(backend, room, 2, MESSAGE)
                first.signal(signal.SIGTERM)
                assert first.wait() == 0
                wanted += await chatted(ada, "three")
                found = await taken(backend, room, 3, MESSAGE)
                assert_works_on_all_groups(second)
    assert [one.event["data"]["seq"] for one in found] == wanted
    assert len(backend.of(room, MESSAGE)) == 3


async def test_events_of_a_time_without_the_service_come_later_also_those_of_short_visits(
    site: Site, backend: Receiver, room: str
):
    with running(site.hooks(backend)) as process:
        assert_works_on_all_groups(process)
        async with clients(site.gateway.url) as (ada,):
            await ada.join(room)
            await taken(backend, room, 1, "member.joined")
            process.stop()
            async with clients(site.gateway.url) as (ben,):
                await ben.join(room)
                wanted = await chatted(ben, "here and gone")
                await ben.leave()
                await ben.settle()
    with running(site.hooks(backend)):
        await taken(backend, room, 1, "room.empty")
    expected = ["member.joined", "room.occupied", "member.joined", MESSAGE, "member.left", "member.left", "room.empty"]
    assert backend.types(room) == expected
    joined = [one.event["data"]["user_id"] for one in backend.of(room, "member.joined")]
    assert joined == [ada.user, ben.user]
    assert [one.event["data"]["seq"] for one in backend.of(room, MESSAGE)] == wanted


def replayed(site: Site, backend: Receiver, *options: str) -> tuple[int, str, str]:
    given = {**SETTINGS, **HASTY, **user_of("hooks"), **backend.settings, "STUDYROOM_NATS_URL": site.nats.url}
    return studyroom("hooks", "replay", *options, cwd=site.directory, **given)


async def test_a_replay_sends_the_events_of_a_time_and_a_room_again_with_their_ids(
    site: Site, hooks: ServiceProcess, backend: Receiver, room: str
):
    other = str(uuid4())
    async with clients(site.gateway.url) as (ada,):
        await ada.join(room)
        await chatted(ada, "one")
        await taken(backend, room, 1, MESSAGE)
        await asyncio.sleep(0.05)
        middle = datetime.now(UTC).isoformat()
        await chatted(ada, "two")
        await ada.leave()
        await ada.join(other)
        await taken(backend, room, 1, "room.empty")
        await taken(backend, other, 2)
    hooks.stop()
    sent = {name: first_taken(backend.of(name)) for name in (room, other)}

    with hook_receiver() as again:

        async def run(*options: str) -> tuple[int, str, str]:
            return await asyncio.to_thread(replayed, site, again, *options)

        status, output, errors = await run("--since", "2026-01-01T00:00Z", "--room", room)
        assert (status, output) == (0, f"sent {len(sent[room])} events again\n"), errors
        assert [(one.id, one.body) for one in again.of(room)] == [(one.id, one.body) for one in sent[room]]
        assert not again.of(other)

        again.received.clear()
        assert (await run("--since", middle))[0] == 0
        assert again.types(room) == [MESSAGE, "member.left", "room.empty"]
        assert again.types(other)[:2] == ["member.joined", "room.occupied"]

        again.received.clear()
        assert (await run("--since", "2026-01-01T00:00Z", "--until", middle, "--room", room))[0] == 0
        assert again.types(room) == ["member.joined", "room.occupied", MESSAGE]

        again.decide = lambda _event, _before: Answer(500)
        status, _, errors = await run("--since", middle, "--room", room)
        assert status == 1
        assert "Go on with --since" in errors


def test_a_service_without_a_backend_or_a_log_ends_and_names_the_missing_settings(tmp_path: Path):
    status, _, errors = studyroom("hooks", cwd=tmp_path)
    assert status == 2
    assert all(name in errors for name in ("STUDYROOM_HOOKS_URL", "STUDYROOM_STORAGE_HOOKS_MAX_AGE_SECONDS"))
    status, _, errors = studyroom("hooks", "replay", "--since", "yesterday", cwd=tmp_path)
    assert status == 2
    assert "2026-01-01T00:00Z" in errors
