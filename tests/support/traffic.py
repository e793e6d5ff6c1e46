"""A round of everything that a system does, so that every metric of it has moved."""

from dataclasses import dataclass
from uuid import uuid4

import pytest
import websockets

from studyroom.services.documents.log import DocumentKey
from studyroom.shared.contract import document_subjects, subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.documents import SyncRequest
from studyroom.shared.contract.ids import RoomId
from tests.support.client import Client, clients
from tests.support.documents import Author
from tests.support.editor import editors
from tests.support.presence import connected
from tests.support.processes import EmbeddedStack
from tests.support.waiting import eventually, http_get

OK = 200


def metrics_of(stack: EmbeddedStack, *services: str) -> dict[str, str]:
    rows = [row for row in stack.table() if row["service"] in services]
    return {row["name"]: http_get(f"{row['admin_url']}/metrics")[1] for row in rows}


@dataclass
class Visit:
    """The participants of a round of traffic."""

    room: str
    users: list[str]
    connections: list[str]


async def traffic(stack: EmbeddedStack) -> Visit:
    """Two users on two gateways do everything once, and some things that are refused."""
    with pytest.raises(websockets.InvalidStatus):
        await Client.connect(stack.gateways[0], token="not-a-token")
    room = str(uuid4())
    async with clients(*stack.gateways, username="Ada") as (ada, ben):
        await ada.chat("in no room")
        assert (await ada.next())["payload"]["code"] == "not_in_room"
        await ada.join(room)
        await ben.join(room)
        await ada.chat("hello")
        await ada.send("CursorMove", {"x": 1.0, "y": 2.0})
        await ada.send("Typing", {"is_typing": True})
        await ada.send("Broadcast", {"event": "reaction", "data": "wave"})
        await ada.send("UpdatePresence", {"fields": {"hand": True}})
        for message_type in ("Chat", "CursorUpdate", "TypingStatus", "Broadcast", "PresenceChanged"):
            await received(ben, message_type)
        await ada.leave()
        await received(ben, "UserLeft")
    if stack.of("documents"):
        await edited(stack, DocumentKey(RoomId(room), DocumentName("notes")))
    return Visit(room, [ada.user, ben.user], [client.welcome["connection_id"] for client in (ada, ben)])


async def edited(stack: EmbeddedStack, key: DocumentKey) -> None:
    """Store two edits of a document and ask for it. Then an editor writes in it, and somebody reads it over HTTP."""
    author = Author()
    async with connected(stack.nats_url) as connection:
        for letter in "ab":
            await connection.jetstream().publish(document_subjects.document(*key), author.write(letter))
        request = SyncRequest(room=key.room, name=key.name).encode()
        await connection.request(document_subjects.documents_sync(subjects.shard_of(key.room)), request, timeout=10)
    async with editors(key.room, stack.gateways[0], name=key.name) as (editor,):
        await editor.edit("c")
        await editor.sync()
    address = stack.gateways[0].replace("ws://", "http://").removesuffix("/ws")
    assert http_get(f"{address}/api/v1/rooms/{key.room}/documents/{key.name}?format=text")[0] == OK


async def received(client: Client, message_type: str) -> None:
    """Returns when a message of this type has arrived, with any others before and after it."""
    await eventually(lambda: message_type in client.types(), f"{message_type} arrives")
