"""A round of everything that a system does, so that every metric of it has moved."""

from dataclasses import dataclass
from uuid import uuid4

import pytest
import websockets

from tests.support.client import Client, clients
from tests.support.processes import EmbeddedStack
from tests.support.waiting import eventually, http_get


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
    return Visit(room, [ada.user, ben.user], [client.welcome["connection_id"] for client in (ada, ben)])


async def received(client: Client, message_type: str) -> None:
    """Returns when a message of this type has arrived, with any others before and after it."""
    await eventually(lambda: message_type in client.types(), f"{message_type} arrives")
