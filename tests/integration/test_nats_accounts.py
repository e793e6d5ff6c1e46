"""The rights of each user of NATS, on a real server with the configuration of production."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import nats
import pytest
from nats.aio.client import Client as Nats

from studyroom.shared.contract import audit_subjects, subjects
from studyroom.shared.contract.ids import GatewayId, RoomId, UserId
from studyroom.shared.contract.moderation import Kind, Target
from tests.support.accounts import SERVICES, options_of, user_of
from tests.support.backend import SETTINGS, ask
from tests.support.client import clients
from tests.support.processes import NatsServer, ServiceProcess, all_running, deployed_nats_server, running, service
from tests.support.waiting import eventually

ROOM = RoomId("550e8400-e29b-41d4-a716-446655440000")
USER = UserId("6fa459ea-ee8a-3ca4-894e-db77e160355e")
OTHER = GatewayId("16fd2706-8baf-433b-82eb-8c7fada847da")

PRESENCE_KEY = subjects.presence_key(ROOM, USER)
LEASE = subjects.gateway_key(OTHER)
PROOF = subjects.lease_proof_key(OTHER)
CHAT = subjects.chat(ROOM)
CHAT_EVENT = subjects.room_events(ROOM).replace(">", "chat")
CHANGE_EVENT = subjects.room_events(ROOM).replace(">", f"presence.{USER}")
BAN = Target(Kind.BAN, USER).key
CONFIGURING = [f"$JS.API.STREAM.{verb}.{stream}" for verb in ("CREATE", "UPDATE") for stream in subjects.STREAMS]
DESTROYING = [
    f"$JS.API.{verb}.{stream}"
    for verb in ("STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG.DELETE", "STREAM.SNAPSHOT", "STREAM.LEADER.STEPDOWN")
    for stream in subjects.STREAMS
]

ERASING = "$JS.API.STREAM.MSG.DELETE.CHAT"
"""The request of a gateway for a message that a moderator deletes, which nobody else may send."""

MAY_NOT_PUBLISH = {
    "documents": [f"chat.0.{ROOM}", "gateways.g.uplink", "presence.0.join", "documents.0.manage"],
    "gateway": [
        PRESENCE_KEY, subjects.PRESENCE_INCARNATION,  # only presence writes memberships
        CHAT_EVENT, CHANGE_EVENT,  # clients see only committed events
        "_INBOX.gateway.anyone", "_INBOX.presence.anyone",  # answers are not gateways' to give
        "presence.recall", PROOF,
        "$JS.API.STREAM.MSG.GET.KV_presence",
        "$JS.API.CONSUMER.CREATE.CHAT.spy", "$JS.API.CONSUMER.CREATE.KV_presence.spy",
        "$JS.API.CONSUMER.CREATE.KV_moderation.spy",  # it could deliver messages that were never committed
        f"moderation.ban.{USER}",
        *CONFIGURING,
        *(subject for subject in DESTROYING if subject != ERASING),
    ],
    "presence": [
        audit_subjects.audit("erase_user", "forged"),
        BAN, f"moderation.ban.{USER}", "$JS.API.STREAM.MSG.GET.KV_moderation",
        CHAT, CHAT_EVENT, CHANGE_EVENT, LEASE, subjects.room_cursor(ROOM), "gateways.load",
        "presence.7.join", "_INBOX.presence.anyone", "_INBOX.provisioner.anyone",
        "_INBOX.gateway.anyone", "_INBOX.doctor.anyone", "_INBOX.operator.anyone",  # answers without a request
        "$JS.API.STREAM.MSG.GET.CHAT", "$JS.API.CONSUMER.CREATE.CHAT.spy",
        *CONFIGURING, *DESTROYING,
    ],
    "hooks": [
        BAN, CHAT, PRESENCE_KEY, LEASE, CHAT_EVENT, "presence.7.join", f"document.7.{ROOM}.notes",
        f"member.7.{ROOM}.{USER}",  # NATS alone writes the log of members
        "$JS.API.CONSUMER.CREATE.CHAT.spy", "$JS.API.CONSUMER.CREATE.HOOKS.spy", *CONFIGURING, *DESTROYING,
    ],
    "provisioner": [
        BAN, CHAT, PRESENCE_KEY, subjects.PRESENCE_INCARNATION, LEASE, CHAT_EVENT, "presence.7.join",
        "$JS.API.STREAM.CREATE.OTHER", *DESTROYING,
    ],
    "doctor": [
        BAN, CHAT, PRESENCE_KEY, subjects.PRESENCE_INCARNATION, LEASE, CHAT_EVENT, "presence.7.join",
        "presence.7.leave", *CONFIGURING, *DESTROYING,
    ],
    "inspector": [
        BAN, CHAT, PRESENCE_KEY, subjects.PRESENCE_INCARNATION, LEASE, CHAT_EVENT, "presence.7.join",
        "inspect.answers.one", "$JS.API.STREAM.MSG.GET.DOCUMENTS", *CONFIGURING, *DESTROYING,
    ],
    "backup": [
        BAN, CHAT, PRESENCE_KEY, LEASE, CHAT_EVENT, "presence.7.join", *CONFIGURING,
        *(subject for subject in DESTROYING if "SNAPSHOT" not in subject), "$JS.API.STREAM.RESTORE.CHAT",
    ],
}  # fmt: skip
MAY_NOT_SUBSCRIBE = {
    "documents": ["chat.>", "presence.>", "gateways.>"],
    "gateway": ["presence.*.join", "$KV.>", "chat.>", "$JS.API.>", "_INBOX.>", "_INBOX.presence.>", ">"],
    "presence": ["room.>", "moderation.>", "chat.>", "$KV.>", "presence.*.join", "_INBOX.>", "_INBOX.gateway.>", ">"],
    "hooks": ["room.>", "moderation.>", "chat.>", "hook.>", "$KV.>", "presence.>", "_INBOX.>", ">"],
    "provisioner": ["room.>", "moderation.>", "chat.>", "$KV.>", "presence.>", "_INBOX.>", "_INBOX.gateway.>", ">"],
    "doctor": ["room.>", "moderation.>", "chat.>", "$KV.>", "presence.>", "_INBOX.>", "_INBOX.gateway.>", ">"],
    "inspector": [
        "chat.>",
        "$KV.>",
        "presence.>",
        "documents.>",
        "inspect.gateways",
        "_INBOX.>",
        "_INBOX.backup.>",
        ">",
    ],
    "backup": ["room.>", "moderation.>", "chat.>", "$KV.>", "presence.>", "_INBOX.>", "_INBOX.gateway.>", ">"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with running(deployed_nats_server(tmp_path_factory.mktemp("accounts"))) as ready:
        yield ready


@pytest.fixture(scope="module")
def system(server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ServiceProcess]]:
    """Every service as its own user: provisioner, presence, and two gateways."""
    directory = tmp_path_factory.mktemp("services")
    names = ("provisioner", "presence", "gateway", "gateway")
    processes = [service(name, directory, server.url, **user_of(name), **SETTINGS) for name in names]
    with all_running(*processes):
        yield processes


class Person:
    """A connection as some user, and its requests that NATS refused."""

    def __init__(self) -> None:
        self.refusals: list[str] = []
        self.nats: Nats

    async def connect(self, url: str, user: str) -> None:
        async def refused(error: Exception) -> None:
            self.refusals.append(str(error).lower())

        self.nats = await nats.connect(url, error_cb=refused, **options_of(user))


@pytest.fixture
async def people(server: NatsServer, system: list[ServiceProcess]) -> AsyncIterator[dict[str, Person]]:
    async with AsyncExitStack() as opened:
        found = {}
        for user in (*SERVICES, "operator"):
            person = found[user] = Person()
            await person.connect(server.url, user)
            opened.push_async_callback(person.nats.close)
        yield found


async def state(people: dict[str, Person]) -> list[tuple[int, int]]:
    """The size and the last sequence of each stream, without leases, which are renewed all the time."""
    found = []
    for stream in (subjects.CHAT_STREAM, subjects.PRESENCE_STREAM):
        answer = await people["operator"].nats.request(f"$JS.API.STREAM.INFO.{stream}", timeout=5)
        info = json.loads(answer.data)
        found.append((info["state"]["messages"], info["state"]["last_seq"]))
    return found


@pytest.mark.parametrize("user", SERVICES)
async def test_a_service_may_not_publish_messages_of_other_services(people: dict[str, Person], user: str):
    before, person = await state(people), people[user]
    for subject in MAY_NOT_PUBLISH[user]:
        await person.nats.publish(subject, b"{}")
    await person.nats.flush()

    expected = [f'for publish to "{subject}"'.lower() for subject in MAY_NOT_PUBLISH[user]]
    await eventually(lambda: len(person.refusals) == len(expected), "each is refused")
    assert [words in refusal for words, refusal in zip(expected, person.refusals, strict=True)] == [True] * len(
        expected
    )
    assert await state(people) == before


@pytest.mark.parametrize("user", SERVICES)
async def test_a_service_may_not_receive_messages_that_are_not_meant_for_it(people: dict[str, Person], user: str):
    person = people[user]
    for subject in MAY_NOT_SUBSCRIBE[user]:
        await person.nats.subscribe(subject)
    await person.nats.flush()

    expected = [f'for subscription to "{subject}"'.lower() for subject in MAY_NOT_SUBSCRIBE[user]]
    await eventually(lambda: len(person.refusals) == len(expected), "each is refused")
    assert [words in refusal for words, refusal in zip(expected, person.refusals, strict=True)] == [True] * len(
        expected
    )


async def test_the_permissions_are_enough_for_all_that_services_do(system: list[ServiceProcess], room: str):
    gateways = [process for process in system if process.name == "gateway"]
    async with clients(*(gateway.url for gateway in gateways), username="Ada") as (ada, ben):
        await ada.join(room)
        await ben.join(room)
        await ada.chat("hello")
        await ada.send("CursorMove", {"x": 1.0, "y": 2.0})
        await ada.send("Typing", {"is_typing": True})
        await ada.send("Broadcast", {"event": "reaction", "data": "wave"})
        await ada.send("UpdatePresence", {"fields": {"hand": True}})
        sent = {"Chat", "CursorUpdate", "TypingStatus", "Broadcast", "PresenceChanged"}
        await eventually(lambda: sent <= set(ben.types()), "Ben receives all of it")  # in no particular order
        here, there = (gateway.url for gateway in gateways)
        (chat,) = [line["payload"] for line in ben.log if line["type"] == "Chat"]
        answers = [
            await ask(here, "DELETE", f"/rooms/{room}/messages/{chat['seq']}"),
            await ask(here, "PUT", f"/bans/{OTHER}", {"seconds": 60}),
            await ask(there, "DELETE", f"/bans/{OTHER}"),
        ]
        assert [answer.status for answer in answers] == [204, 200, 204]
        await ben.expect("ChatDeleted")
        await ada.leave()
        assert (await ben.expect("UserLeft"))["user_id"] == ada.user
    for process in system:
        assert "NATS does not allow this" not in process.output()


EMPTIED_BY = {
    "gateway": {LEASE: subjects.GATEWAYS_STREAM, BAN: subjects.MODERATION_STREAM, CHAT: subjects.CHAT_STREAM},
    "presence": {PROOF: subjects.GATEWAYS_STREAM},
}
"""Subjects that a user may write into streams that it may not empty. In the bucket of members presence may."""


@pytest.mark.parametrize("rollup", ["all", "sub"])
@pytest.mark.parametrize(
    ("user", "subject"), [(user, subject) for user, written in EMPTIED_BY.items() for subject in written]
)
async def test_no_service_can_empty_a_stream_of_others_with_one_message(
    people: dict[str, Person], user: str, subject: str, rollup: str
):
    stream = EMPTIED_BY[user][subject]
    others = {subjects.GATEWAYS_STREAM: "$KV.gateways.kept", subjects.MODERATION_STREAM: "$KV.moderation.ban.kept"}
    kept = others.get(stream, "chat.1.kept")
    await people["operator"].nats.request(kept, b'{"by": "somebody"}', timeout=5)

    answer = await people[user].nats.request(subject, b"{}", headers={"Nats-Rollup": rollup}, timeout=5)
    assert json.loads(answer.data)["error"]["description"] == "rollup not permitted"
    found = await people["operator"].nats.request(
        f"$JS.API.STREAM.INFO.{stream}", json.dumps({"subjects_filter": kept}).encode(), timeout=5
    )
    assert list(json.loads(found.data)["state"]["subjects"]) == [kept]


@pytest.mark.parametrize(
    "options", [{}, {"user": "gateway", "pass": "wrong"}, {"user": "presence", "pass": "secret-of-gateway"}]
)
async def test_without_the_right_password_nobody_gets_in(server: NatsServer, options: dict[str, str]):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    assert json.loads((await reader.readline()).removeprefix(b"INFO "))["auth_required"] is True
    writer.write(b"CONNECT %b\r\nPING\r\n" % json.dumps({"verbose": False, **options}).encode())
    assert await reader.readline() == b"-ERR 'Authorization Violation'\r\n"
    writer.close()


async def test_a_gateway_can_end_the_lease_of_another_which_only_identities_of_their_own_could_prevent(
    people: dict[str, Person],
):
    """A known limit (docs/decisions/0011): all gateways are one user, and their names are new at every start."""
    answer = await people["gateway"].nats.request(LEASE, b"{}", timeout=5)
    assert "error" not in json.loads(answer.data)
    await people["gateway"].nats.flush()
    assert people["gateway"].refusals == []
