"""The messages of a stream as each NATS server has them: each is asked only for its own copy."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import nats
import nats.errors
from nats.aio.client import Client as Nats

from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import deleted_by
from tests.faults.folding import Entries, Entry
from tests.support.accounts import options_of
from tests.support.chat import Stored
from tests.support.processes import NatsServer

_BATCH = 1000
_DEADLINE_SECONDS = 3.0


class NotRead(Exception):
    """A server does not answer, or not now."""


@dataclass(frozen=True)
class Copy:
    stored: Stored
    """Messages, edits and reactions: no tombstones, and nothing that they deleted."""
    last: int
    """The newest position."""
    entries: Entries
    """The messages, edits and reactions in `stored`, with their contents."""


async def copy_of(node: NatsServer) -> Copy:
    """Raises NotRead. A server answers direct reads of its clients from its own copy, when that is up to date."""
    try:
        connection = await nats.connect(node.url, connect_timeout=2, allow_reconnect=False, **options_of("operator"))
    except (OSError, nats.errors.Error, TimeoutError) as error:
        raise NotRead(f"{node.name}: {error!r}") from error
    try:
        return await _read(connection)
    except (nats.errors.Error, TimeoutError) as error:
        raise NotRead(f"{node.name}: {error!r}") from error
    finally:
        await connection.close()


async def _read(connection: Nats) -> Copy:
    """Raises NotRead or an error of NATS."""
    messages, last = await messages_of(connection, subjects.CHAT_STREAM, subjects.CHAT_SUBJECTS)
    entries: dict[str, dict[int, Entry]] = {}
    for message in messages:
        if not deleted_by(message.data):
            line = json.loads(message.data + b"}}")
            room = message.subject.rsplit(".", 1)[1]
            entries.setdefault(room, {})[message.sequence] = Entry(line["type"], line["payload"])
    stored = {room: {seq: one.payload["id"] for seq, one in its.items()} for room, its in entries.items()}
    return Copy(stored, last, entries)


class Message(NamedTuple):
    sequence: int
    subject: str
    headers: Mapping[str, str]
    data: bytes


async def messages_of(connection: Nats, stream: str, subject: str) -> tuple[list[Message], int]:
    """The messages of a subject on the server of this connection, and the last sequence of the stream.

    Raises NotRead or an error of NATS.
    """
    inbox = connection.new_inbox()
    answers = await connection.subscribe(inbox)
    found: list[Message] = []
    last, position = 0, 0
    while True:
        question: dict[str, Any] = {"seq": position + 1, "batch": _BATCH, "next_by_subj": subject}
        await connection.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(question).encode(), reply=inbox)
        count = 0
        while True:
            message = await answers.next_msg(timeout=_DEADLINE_SECONDS)
            headers = message.headers or {}
            if "Nats-Sequence" not in headers:
                break
            count += 1
            position = int(headers["Nats-Sequence"])
            found.append(Message(position, headers["Nats-Subject"], headers, message.data))
        status = headers.get("Status", "503")
        if status not in {"204", "404"}:
            raise NotRead(f"direct reads are answered with {dict(headers)}")
        last = max(last, int(headers.get("Nats-Last-Sequence", 0)), position)
        if not count or headers.get("Nats-Num-Pending") == "0":
            await answers.unsubscribe()
            return found, last
