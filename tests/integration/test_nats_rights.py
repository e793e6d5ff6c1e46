"""Each user of NATS may publish and subscribe in the account of Studyroom as listed here, and nothing else."""

import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import nats
import pytest
from nats.aio.client import Client as Nats

from studyroom.shared.contract import audit_subjects, document_subjects, hook_subjects, retention_subjects, subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.ids import GatewayId, RoomId, UserId
from studyroom.shared.contract.inspection_subjects import INSPECT_GATEWAYS, INSPECT_PRESENCE, inspect_answers
from studyroom.shared.contract.moderation import Kind, Target
from tests.support.accounts import SERVICES, options_of
from tests.support.processes import NatsServer, deployed_nats_server, running
from tests.support.waiting import eventually

Attempt = Callable[[Nats, str], Awaitable[None]]

ROOM = RoomId("550e8400-e29b-41d4-a716-446655440000")
USER = UserId("6fa459ea-ee8a-3ca4-894e-db77e160355e")
GATEWAY = GatewayId("16fd2706-8baf-433b-82eb-8c7fada847da")

CHAT, MEMBERS, LEASES, MODERATION, DOCUMENTS = (
    subjects.CHAT_STREAM, subjects.PRESENCE_STREAM, subjects.GATEWAYS_STREAM, subjects.MODERATION_STREAM,
    subjects.DOCUMENTS_STREAM,
)  # fmt: skip
CHATS, BUCKETS = sorted(subjects.CHAT_STREAMS), sorted(subjects.PRESENCE_STREAMS)
DOCUMENT_STREAMS = sorted(subjects.DOCUMENTS_STREAMS)
AUDIT, RETENTION = audit_subjects.AUDIT_STREAM, retention_subjects.RETENTION_STREAM
"""With those of groups of shards."""
HOOKS = sorted({*hook_subjects.streams_of_hooks(1), *hook_subjects.streams_of_hooks(subjects.GROUPS_MAX)})
STREAMS = (*CHATS, *BUCKETS, *DOCUMENT_STREAMS, LEASES, MODERATION, AUDIT, RETENTION, *HOOKS)
PEOPLE = (*SERVICES, "operator")
REQUESTS = [f"presence.7.{kind}" for kind in ("join", "leave", "update", "roster", "complete", "compare", "rooms")]
INSPECTED = inspect_answers("one")
SYNC = document_subjects.documents_sync(7)
NOTES = DocumentName("notes")
MANAGE = document_subjects.documents_manage(7)
HOOKS_ERASE = hook_subjects.hooks_erase(3)
HOOK_LOGS = [stream for stream in HOOKS if not stream.startswith("KV_")]
VERSION = "16fd2706-8baf-433b-82eb-8c7fada847da"
SNAPSHOTS = [
    document_subjects.document_snapshot(ROOM, NOTES), document_subjects.document_snapshot_part(ROOM, NOTES),
    document_subjects.document_version(ROOM, NOTES, VERSION),
    document_subjects.document_version_part(ROOM, NOTES, VERSION),
    document_subjects.document_deletion(ROOM, NOTES),
]  # fmt: skip
EDIT = document_subjects.document_edit(ROOM, NOTES, VERSION)
RECORDS = [document_subjects.DOCUMENTS_INCARNATION, document_subjects.documents_incarnation(3, 4)]
WRITTEN = {
    CHAT: [subjects.chat(ROOM)],
    DOCUMENTS: [document_subjects.document(ROOM, NOTES), EDIT, *SNAPSHOTS, *RECORDS],
    MEMBERS: [subjects.presence_key(ROOM, USER), subjects.PRESENCE_INCARNATION, subjects.presence_incarnation(3, 4)],
    LEASES: [subjects.gateway_key(GATEWAY), subjects.lease_proof_key(GATEWAY)],
    MODERATION: [
        Target(Kind.BAN, USER).key, Target(Kind.REMOVE, USER, ROOM).key, Target(Kind.DISCONNECT, USER).key,
        subjects.CHAT_INCARNATION, subjects.chat_incarnation(3, 4),
    ],
    hook_subjects.HOOKS_STREAM: [hook_subjects.hook_event(ROOM)],
    hook_subjects.HOOKS_BUCKET_STREAM: [
        hook_subjects.hooks_key("lease", "0-1"), hook_subjects.hooks_room("0-1", ROOM),
        hook_subjects.hooks_member(ROOM, USER),
    ],
    hook_subjects.MEMBER_LOG_STREAM: [f"member.7.{ROOM}.{USER}"],
    RETENTION: [retention_subjects.retention_key(ROOM), retention_subjects.RETENTION_CLAIM],
    AUDIT: [audit_subjects.audit("erase_user", "fingerprint")],
}  # fmt: skip
EVENTS = [
    *(f"room.7.{ROOM}.{kind}" for kind in ("chat", "cursor", "typing", "broadcast", "newest", f"presence.{USER}")),
    "moderation.ban.somebody", subjects.CURSOR_RECALL, subjects.GATEWAY_LOADS, subjects.presence_cursors(7),
    subjects.gateway_uplink(GATEWAY), subjects.gateway_uplinked(GATEWAY),
    document_subjects.document_update(ROOM, NOTES), document_subjects.document_awareness(ROOM, NOTES),
    document_subjects.document_status(ROOM, NOTES),
]  # fmt: skip
OF_STREAMS = [
    f"$JS.API.{verb}.{stream}"
    for verb in (
        "STREAM.CREATE", "STREAM.UPDATE", "STREAM.INFO", "STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG.GET",
        "STREAM.MSG.DELETE", "STREAM.SNAPSHOT", "STREAM.RESTORE", "STREAM.LEADER.STEPDOWN", "STREAM.PEER.REMOVE",
        "DIRECT.GET", "CONSUMER.CREATE", "CONSUMER.LIST", "CONSUMER.NAMES",
    )
    for stream in STREAMS
]  # fmt: skip
OF_CONSUMERS = [
    f"$JS.{verb}.{stream}.one"
    for verb in (
        "API.CONSUMER.CREATE", "API.CONSUMER.DURABLE.CREATE", "API.CONSUMER.INFO", "API.CONSUMER.DELETE",
        "API.CONSUMER.MSG.NEXT", "API.CONSUMER.PAUSE", "API.CONSUMER.RESET", "API.CONSUMER.LEADER.STEPDOWN",
        "API.DIRECT.GET", "ACK", "FC",
    )
    for stream in STREAMS
]  # fmt: skip
OTHERS = [
    "$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.CREATE.OTHER",
    "$JS.API.ACCOUNT.PURGE.STUDYROOM", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.SERVER.REMOVE",
    "$SYS.REQ.SERVER.PING.JSZ", "$SYS.REQ.ACCOUNT.PING.STATZ", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.USER.INFO",
    "$SYS.REQ.SERVER.PING.KICK", "$SYS.REQ.SERVER.PING.VARZ", "anything", "presence", "$KV.presence", "$KV.other.key",
    "$JS.SNAPSHOT.ACK.CHAT.one",
]  # fmt: skip
PUBLISHED = [
    *REQUESTS, SYNC, MANAGE, HOOKS_ERASE, INSPECT_GATEWAYS, INSPECT_PRESENCE, INSPECTED,
    *(key for keys in WRITTEN.values() for key in keys), *EVENTS,
    *OF_STREAMS, *OF_CONSUMERS, *OTHERS,
    *(f"_INBOX.{person}.one" for person in PEOPLE), "_INBOX.one",
]  # fmt: skip
"""One of every kind."""

MAY_PUBLISH = {
    "gateway": {
        *REQUESTS, *WRITTEN[CHAT], SYNC, MANAGE, HOOKS_ERASE,
        document_subjects.document(ROOM, NOTES), EDIT, document_subjects.document_awareness(ROOM, NOTES),
        *WRITTEN[MODERATION], *WRITTEN[AUDIT], *WRITTEN[RETENTION], subjects.gateway_key(GATEWAY),
        *(f"room.7.{ROOM}.{kind}" for kind in ("cursor", "typing", "broadcast", "newest")),
        subjects.GATEWAY_LOADS, subjects.presence_cursors(7),
        subjects.gateway_uplink(GATEWAY), subjects.gateway_uplinked(GATEWAY), INSPECTED,
        *(f"$JS.API.{verb}.{chat}" for verb in ("STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET") for chat in CHATS),
        *(f"$JS.API.STREAM.MSG.DELETE.{chat}" for chat in CHATS),
        f"$JS.API.STREAM.INFO.{MODERATION}", f"$JS.API.STREAM.MSG.GET.{MODERATION}",
        *(f"$JS.API.{verb}.{of}" for verb in ("STREAM.MSG.GET", "DIRECT.GET") for of in (AUDIT, RETENTION)),
    },
    "presence": {
        *WRITTEN[MEMBERS], subjects.lease_proof_key(GATEWAY), subjects.CURSOR_RECALL, INSPECTED,
        *(f"$JS.API.STREAM.{verb}.{bucket}" for verb in ("INFO", "MSG.GET") for bucket in BUCKETS),
        f"$JS.API.STREAM.INFO.{LEASES}",
        *(f"$JS.{verb}.{of}.one" for verb in ("API.CONSUMER.CREATE", "ACK", "FC") for of in (*BUCKETS, LEASES)),
    },
    "documents": {
        *SNAPSHOTS, *RECORDS, document_subjects.document_status(ROOM, NOTES), f"$JS.API.STREAM.INFO.{LEASES}",
        *(
            f"$JS.API.{verb}.{of}"
            for verb in ("STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET", "STREAM.PURGE", "STREAM.MSG.DELETE")
            for of in DOCUMENT_STREAMS
        ),
    },
    "hooks": {
        *WRITTEN[hook_subjects.HOOKS_STREAM], *WRITTEN[hook_subjects.HOOKS_BUCKET_STREAM],
        *(f"$JS.API.{verb}.{of}" for verb in ("STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET") for of in STREAMS),
        *(f"$JS.API.STREAM.MSG.DELETE.{of}" for of in HOOK_LOGS),
    },
    "provisioner": {
        *(f"$JS.API.STREAM.{verb}.{of}" for verb in ("INFO", "CREATE", "UPDATE") for of in STREAMS),
        "$JS.API.INFO", "$JS.API.STREAM.NAMES", "$SYS.REQ.SERVER.PING.JSZ", "$SYS.REQ.ACCOUNT.PING.STATZ",
        "$SYS.REQ.USER.INFO",
    },
    "doctor": {
        "$JS.API.INFO", "$JS.API.STREAM.NAMES", *(f"$JS.API.STREAM.INFO.{of}" for of in STREAMS),
        *(f"$JS.API.CONSUMER.LIST.{of}" for of in STREAMS), f"$JS.API.DIRECT.GET.{LEASES}",
        "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.SERVER.PING.JSZ", "presence.7.rooms",
    },
    "inspector": {
        INSPECT_GATEWAYS, INSPECT_PRESENCE, "$SYS.REQ.ACCOUNT.PING.CONNZ",
        *(f"$JS.API.{verb}.{of}" for verb in ("STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET") for of in BUCKETS),
        *(f"$JS.API.STREAM.MSG.GET.{chat}" for chat in CHATS),
        *(f"$JS.API.DIRECT.GET.{of}" for of in (LEASES, MODERATION, RETENTION)),
    },
    "backup": {*(f"$JS.API.STREAM.SNAPSHOT.{of}" for of in STREAMS), "$JS.SNAPSHOT.ACK.CHAT.one"},
}  # fmt: skip

WIDE = [">", "*", "$KV.>", "$JS.>", "$JS.API.>", "$SYS.>", "_INBOX.>", "presence.>", "room.>", "chat.>", "gateways.>",
        "document.>", "documents.>", "snapshot.>", "inspect.>", "inspect.answers.*", "hook.>", "member.>",
        "audit.>"]  # fmt: skip
SUBSCRIBED = [
    *PUBLISHED, *WIDE, *(f"_INBOX.{person}.>" for person in PEOPLE),
    *(f"{request.replace('7', '*')} presence" for request in REQUESTS),
    *(f"{request} presence" for request in REQUESTS),
    "documents.*.sync documents", f"{SYNC} documents", "documents.*.sync", f"{SYNC} others", "documents.*.*.*.*",
    "documents.*.manage documents", f"{MANAGE} documents", "documents.*.manage", f"{MANAGE} others",
    "hooks.*.erase", "hooks.>",
    "presence.7.join others", "presence.*.cursors", "moderation.>", "room.*.*.>",
]  # fmt: skip
"""Some have the name of a queue group after them."""

MAY_SUBSCRIBE = {
    "gateway": {
        *(event for event in EVENTS if event.startswith(("room.", "moderation.", "documents."))),
        "room.*.*.>", "moderation.>", "documents.*.*.*.*",
        subjects.CURSOR_RECALL, subjects.GATEWAY_LOADS, "_INBOX.gateway.one", "_INBOX.gateway.>",
        subjects.gateway_uplink(GATEWAY), subjects.gateway_uplinked(GATEWAY), INSPECT_GATEWAYS,
    },
    "presence": {
        *(f"{request} presence" for request in REQUESTS),
        *(f"{request.replace('7', '*')} presence" for request in REQUESTS),
        subjects.presence_cursors(7), "presence.*.cursors", INSPECT_PRESENCE,
        "_INBOX.presence.one", "_INBOX.presence.>",
    },
    "documents": {
        "documents.*.sync documents", f"{SYNC} documents", "documents.*.manage documents", f"{MANAGE} documents",
        "_INBOX.documents.one", "_INBOX.documents.>",
    },
    "hooks": {HOOKS_ERASE, "hooks.*.erase", "_INBOX.hooks.one", "_INBOX.hooks.>"},
    "provisioner": {"_INBOX.provisioner.one", "_INBOX.provisioner.>"},
    "doctor": {"_INBOX.doctor.one", "_INBOX.doctor.>"},
    "inspector": {
        *(event for event in EVENTS if event.startswith(("room.", "moderation."))), "room.*.*.>", "moderation.>",
        INSPECTED, "inspect.answers.*", "_INBOX.inspector.one", "_INBOX.inspector.>",
    },
    "backup": {"_INBOX.backup.one", "_INBOX.backup.>"},
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """There is no stream and no service, so allowed requests have no effect."""
    with running(deployed_nats_server(tmp_path_factory.mktemp("rights"))) as ready:
        yield ready


_REFUSAL = re.compile(r'for (?:publish|subscription) to "([^"]*)"(?: using queue "([^"]*)")?')


async def refused(server: NatsServer, user: str, tried: list[str], attempt: Attempt, *, count: int) -> set[str]:
    """Those of them that NATS refuses a user; `count` is how many that should be."""
    found: list[str] = []

    async def refusal(error: Exception) -> None:
        named = _REFUSAL.search(str(error).lower())
        assert named is not None, error
        found.append(" ".join(part for part in named.groups() if part))

    person = await nats.connect(server.url, error_cb=refusal, **options_of(user))
    for one in tried:
        await attempt(person, one)
    await person.flush()
    with suppress(AssertionError):  # the refusals show better what is wrong
        await eventually(lambda: len(found) >= count, "the refusals come", 5)
    await person.close()
    return {one for one in tried if one.lower() in found}


async def publish(person: Nats, subject: str) -> None:
    await person.publish(subject, b"")


async def subscribe(person: Nats, subscription: str) -> None:
    subject, _, queue = subscription.partition(" ")
    await person.subscribe(subject, queue=queue)


@pytest.mark.parametrize("user", SERVICES)
async def test_a_user_may_publish_the_listed_subjects_and_nothing_else(server: NatsServer, user: str):
    others = set(PUBLISHED) - MAY_PUBLISH[user]
    assert await refused(server, user, PUBLISHED, publish, count=len(others)) == others


@pytest.mark.parametrize("user", SERVICES)
async def test_a_user_may_subscribe_to_the_listed_subjects_and_nothing_else(server: NatsServer, user: str):
    others = set(SUBSCRIBED) - MAY_SUBSCRIBE[user]
    assert await refused(server, user, SUBSCRIBED, subscribe, count=len(others)) == others


def test_all_listed_subjects_are_tried():
    for user in SERVICES:
        assert MAY_PUBLISH[user] <= set(PUBLISHED)
        assert MAY_SUBSCRIBE[user] <= set(SUBSCRIBED)
