"""The session of the original description, as it is written there."""

import json

import websockets

from tests.support.processes import EmbeddedStack

ROOM = "550e8400-e29b-41d4-a716-446655440000"


async def test_the_session_of_the_description_gives_welcome_joined_room_and_the_chat_back(stack: EmbeddedStack):
    async with websockets.connect(stack.gateways[0]) as socket:
        await socket.send(f'{{"type":"JoinRoom","payload":{{"room_id":"{ROOM}"}}}}')
        await socket.send('{"type":"Chat","payload":{"content":"Hello, room!"}}')
        welcome, joined, chat = [json.loads(await socket.recv()) for _ in range(3)]

    assert welcome["type"] == "Welcome"
    assert joined["type"] == "JoinedRoom"
    assert joined["payload"]["room_id"] == ROOM
    assert [user["username"] for user in joined["payload"]["users"]] == ["User"]
    assert chat["type"] == "Chat"
    assert chat["payload"]["content"] == "Hello, room!"
    assert chat["payload"]["username"] == "User"
