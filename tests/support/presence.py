"""Asking presence and the streams directly, as a gateway would."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats.aio.client import Client as Nats
from nats.js.api import ConsumerConfig, DeliverPolicy

from shared import subjects
from shared.chat import deleted_by
from shared.ids import RoomId
from shared.presence import RosterReply, RosterRequest

ATTEMPTS = 30
ATTEMPT_SECONDS = 0.5


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Nats]:
    connection = await nats.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def roster(connection: Nats, room: str) -> RosterReply:
    room_id = RoomId(room)
    request = RosterRequest(room=room_id).encode()
    subject = subjects.presence_roster(subjects.shard_of(room_id))
    message = await connection.request(subject, request, timeout=ATTEMPT_SECONDS)
    return RosterReply.decode(message.data)


async def users_in(connection: Nats, room: str) -> set[str]:
    """As the first replica to answer says; one that is frozen is passed over."""
    for _ in range(ATTEMPTS):
        try:
            return {member.user for member in (await roster(connection, room)).members or []}
        except nats.errors.TimeoutError:
            continue
    raise AssertionError("no replica of presence answers")


async def chat_history(connection: Nats, room: str) -> list[int]:
    """`seq` of every stored message of the room."""
    subscription = await connection.jetstream().subscribe(
        subjects.chat(RoomId(room)),
        stream=subjects.CHAT_STREAM,
        ordered_consumer=True,
        config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL),
    )
    state = json.loads((await connection.request(f"$JS.API.STREAM.INFO.{subjects.CHAT_STREAM}", timeout=5)).data)
    if state["state"]["messages"] == 0:
        return []
    history = []
    while True:
        try:
            message = await subscription.next_msg(timeout=1)
        except nats.errors.TimeoutError:
            break
        history.append(message.metadata.sequence.stream)
        if message.metadata.num_pending == 0:
            break
    await subscription.unsubscribe()
    return history


async def stored_chat(connection: Nats) -> dict[str, dict[int, str]]:
    """By room, the id of each stored message; without the tombstones of others."""
    subscription = await connection.jetstream().subscribe(
        subjects.CHAT_SUBJECTS,
        stream=subjects.CHAT_STREAM,
        ordered_consumer=True,
        config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL),
    )
    found: dict[str, dict[int, str]] = {}
    info = json.loads((await connection.request(f"$JS.API.STREAM.INFO.{subjects.CHAT_STREAM}", timeout=5)).data)
    pending = info["state"]["messages"]
    while pending:
        message = await subscription.next_msg(timeout=5)
        pending = message.metadata.num_pending
        room = message.subject.rsplit(".", 1)[1]
        if deleted_by(message.data):
            continue
        line = json.loads(message.data + b"}}")
        found.setdefault(room, {})[message.metadata.sequence.stream] = line["payload"]["id"]
    await subscription.unsubscribe()
    return found
