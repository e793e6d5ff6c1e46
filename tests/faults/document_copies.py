"""The copies of a document: on each NATS server, in each replica of the service, and behind each gateway."""

import asyncio
from collections.abc import Mapping

import nats
from nats.aio.client import Client as Nats
from websockets.exceptions import InvalidHandshake, WebSocketException

from studyroom.services.documents.log import DocumentKey
from studyroom.shared.contract import document_subjects, subjects
from studyroom.shared.contract.documents import Outcome, SyncParts, SyncRequest
from tests.faults.copies import Message, NotRead, messages_of
from tests.faults.document_rules import Contents
from tests.faults.system import System
from tests.support.accounts import options_of
from tests.support.editor import Editor
from tests.support.processes import NatsServer

_QUESTIONS = 6
"""Requests to a queue group of two: all go to the same replica in 3 % of documents."""
_ANSWER_SECONDS = 5.0
_PARTS = "Studyroom-Parts"
Copies = dict[DocumentKey, dict[str, Contents]]


async def stored_on(node: NatsServer, keys: list[DocumentKey]) -> dict[DocumentKey, Contents]:
    """Snapshots and logs as this server has them. Raises NotRead."""
    try:
        connection = await nats.connect(node.url, connect_timeout=2, allow_reconnect=False, **options_of("operator"))
    except (OSError, nats.errors.Error, TimeoutError) as error:
        raise NotRead(f"{node.name}: {error!r}") from error
    try:
        return {key: await _stored(connection, key) for key in keys}
    except (nats.errors.Error, TimeoutError) as error:
        raise NotRead(f"{node.name}: {error!r}") from error
    finally:
        await connection.close()


async def _stored(connection: Nats, key: DocumentKey) -> Contents:
    # The snapshot first: after that, the log may lose only what this snapshot or a newer one has.
    while True:
        snapshots = await _messages(connection, document_subjects.document_snapshot(*key))
        parts = await _messages(connection, document_subjects.document_snapshot_part(*key))
        log = await _messages(connection, document_subjects.document(*key))
        if [one.sequence for one in await _messages(connection, document_subjects.document_snapshot(*key))] == [
            one.sequence for one in snapshots
        ]:
            return Contents.of(*_snapshot(snapshots, parts), *(one.data for one in log))


def _snapshot(snapshots: list[Message], parts: list[Message]) -> list[bytes]:
    if not snapshots:
        return []
    newest, by_sequence = snapshots[-1], {part.sequence: part.data for part in parts}
    named = [int(one) for one in newest.headers.get(_PARTS, "").split(",") if one]
    if missing := [one for one in named if one not in by_sequence]:
        raise NotRead(f"the snapshot {newest.sequence} lacks its parts {missing}")
    return [b"".join(by_sequence[one] for one in named) + newest.data]


async def _messages(connection: Nats, subject: str) -> list[Message]:
    return (await messages_of(connection, subjects.DOCUMENTS_STREAM, subject))[0]


async def answered(system: System, keys: list[DocumentKey]) -> Copies:
    """The answers of the replicas of the service. Raises NotRead."""
    found: Copies = {key: {} for key in keys}
    connection = await system.connect()
    try:
        for key in keys:
            for question in range(_QUESTIONS):
                found[key][f"a documents replica ({question})"] = await _answer(connection, key)
    except (TimeoutError, OSError, nats.errors.Error) as error:
        raise NotRead(f"the documents service does not answer: {error!r}") from error
    finally:
        await connection.close()
    return found


async def _answer(connection: Nats, key: DocumentKey) -> Contents:
    inbox, parts = connection.new_inbox(), SyncParts()
    answers = await connection.subscribe(inbox)
    subject = document_subjects.documents_sync(subjects.shard_of(key.room))
    await connection.publish(subject, SyncRequest(room=key.room, name=key.name).encode(), reply=inbox)
    while True:
        reply = parts.add((await answers.next_msg(timeout=_ANSWER_SECONDS)).data)
        if reply is None:
            continue
        if reply.head.outcome is not Outcome.OK:
            raise NotRead(f"the documents service answers {reply.head.outcome}")
        return Contents.of(reply.difference)


async def opened(system: System, keys: list[DocumentKey]) -> Copies:
    """The documents that a newcomer gets from each gateway. Raises NotRead."""
    found: Copies = {key: {} for key in keys}
    for number, gateway in enumerate(system.gateways):
        for key in keys:
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    found[key][f"a newcomer on gateway {number}"] = await _open(gateway.url, key)
            except (OSError, TimeoutError, AssertionError, InvalidHandshake, WebSocketException) as error:
                raise NotRead(f"a newcomer on gateway {number} gets no {key}: {error!r}") from error
    return found


async def _open(url: str, key: DocumentKey) -> Contents:
    editor = await Editor.connect(url, key.room, key.name)
    try:
        await editor.sync()
        return Contents.of(editor.doc.get_update())
    finally:
        await editor.close()


def joined(*several: Mapping[DocumentKey, Mapping[str, Contents]]) -> Copies:
    keys = several[0].keys()
    return {key: {name: copy for one in several for name, copy in one[key].items()} for key in keys}
