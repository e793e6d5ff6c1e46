"""Asking presence and the streams directly, as a gateway would."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client as Nats
from nats.js.api import ConsumerConfig, DeliverPolicy

from studyroom.services.provisioner.streams import Claim, specifications
from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import deleted_by
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.presence import Outcome, RosterReply, RosterRequest
from tests.support.chat import Stored

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
    """The users in the first answer. A replica that is frozen, or must read the bucket first, is passed over."""
    for _ in range(ATTEMPTS):
        try:
            reply = await roster(connection, room)
        except nats.errors.TimeoutError:
            continue
        except nats.errors.NoRespondersError:
            await asyncio.sleep(ATTEMPT_SECONDS)
            continue
        if reply.outcome is Outcome.OK:
            return {member.user for member in reply.members or []}
        await asyncio.sleep(ATTEMPT_SECONDS)
    raise AssertionError("no replica of presence answers")


async def announce(connection: Nats, stream: str, *, on: bool) -> None:
    """Let a stream announce its changes, or not.

    It does so as a provisioner that started just now. A running provisioner would undo any difference within 5 s.
    """
    config = (await _info(connection, stream))["config"]
    config["metadata"].update(Claim(time.time_ns()).metadata)
    config.pop("republish", None)
    if on:
        (wanted,) = [spec.config for spec in specifications(StorageSettings()) if spec.name == stream]
        config["republish"] = wanted["republish"]
    update = json.dumps(config).encode()
    answer = await connection.request(f"$JS.API.STREAM.UPDATE.{stream}", update, timeout=5)
    assert "error" not in json.loads(answer.data), answer.data


async def chat_history(connection: Nats, room: str) -> list[int]:
    """`seq` of every stored message of the room."""
    return list((await stored_chat(connection, subjects.chat(RoomId(room)))).get(room, {}))


async def stored_chat(connection: Nats, subject: str = subjects.CHAT_SUBJECTS) -> Stored:
    """The id of each stored message by room, without the tombstones of others."""
    subscription = await connection.jetstream().subscribe(
        subject,
        stream=subjects.CHAT_STREAM,
        ordered_consumer=True,
        config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL),
    )
    found: Stored = {}
    info = await _info(connection, subjects.CHAT_STREAM, subjects_filter=subject)
    pending = sum((info["state"].get("subjects") or {}).values())
    while pending:
        try:
            message = await subscription.next_msg(timeout=1)
        except nats.errors.TimeoutError:
            # Messages erased meanwhile had been counted, and never come.
            pending = (await subscription.consumer_info()).num_pending or subscription.pending_msgs
            continue
        pending = message.metadata.num_pending
        room = message.subject.rsplit(".", 1)[1]
        if deleted_by(message.data):
            continue
        line = json.loads(message.data + b"}}")
        found.setdefault(room, {})[message.metadata.sequence.stream] = line["payload"]["id"]
    await subscription.unsubscribe()
    return found


async def _info(connection: Nats, stream: str, **request: str) -> dict[str, Any]:
    answer = await connection.request(f"$JS.API.STREAM.INFO.{stream}", json.dumps(request).encode(), timeout=5)
    info: dict[str, Any] = json.loads(answer.data)
    return info
