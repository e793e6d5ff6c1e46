"""The session of the original description, as it is written there, in a room of its own."""

import json

import websockets

from tests.support.processes import EmbeddedStack


async def test_the_session_of_the_description_gives_welcome_joined_room_and_the_chat_back(
    stack: EmbeddedStack, room: str
):
    async with websockets.connect(stack.gateways[0]) as socket:
        await socket.send(f'{{"type":"JoinRoom","payload":{{"room_id":"{room}"}}}}')
        await socket.send('{"type":"Chat","payload":{"content":"Hello, room!"}}')
        welcome, joined, chat = [json.loads(await socket.recv()) for _ in range(3)]

    assert welcome["type"] == "Welcome"
    assert joined["type"] == "JoinedRoom"
    assert joined["payload"]["room_id"] == room
    assert [user["username"] for user in joined["payload"]["users"]] == ["User"]
    assert chat["type"] == "Chat"
    assert chat["payload"]["content"] == "Hello, room!"
    assert chat["payload"]["username"] == "User"
