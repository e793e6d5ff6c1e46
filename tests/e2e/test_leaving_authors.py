"""An author that leaves at once still receives its message, and before anything of another room."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from tests.support.client import Client, clients
from tests.support.processes import EmbeddedStack
from tests.support.waiting import eventually

TRIES = 10
"""Each time the message is in another place when its author leaves."""
BURST = 5

Leave = Callable[[Client], Awaitable[None]]


async def join_another(client: Client) -> None:
    await client.send("JoinRoom", {"room_id": str(uuid4())})


async def leave(client: Client) -> None:
    await client.leave()
    await join_another(client)


async def received_before_joining(client: Client) -> list[str]:
    """Ids of the messages that the client got before it was in another room."""
    found = []
    while (message := await client.next())["type"] != "JoinedRoom":
        assert message["type"] != "Error", message
        if message["type"] == "Chat":
            found.append(message["payload"]["id"])
    await client.settle()
    return found


@pytest.mark.parametrize("go", [join_another, leave])
@pytest.mark.parametrize("alone", [True, False])
async def test_an_author_that_leaves_at_once_receives_its_chat_before_it_is_in_another_room(
    stack: EmbeddedStack, go: Leave, alone: bool
):
    async with clients(stack.gateways[0], stack.gateways[0]) as (author, other):
        for attempt in range(TRIES):
            room = str(uuid4())
            if not alone:
                await other.join(room)
            await author.join(room)
            sent = [str(uuid4()) for _ in range(BURST)]
            count = author.types().count("Chat")
            for message in sent:
                await author.chat("hello", id=message)
            if attempt % 2:
                await eventually(lambda: author.types().count("Chat") > count, "the first message is received")  # noqa: B023
            await go(author)
            assert await received_before_joining(author) == sent
            assert author.types()[-2:] == ["JoinedRoom", "Pong"], "nothing of the other room comes after it"


async def test_a_repeated_message_is_answered_although_its_author_leaves_at_once(stack: EmbeddedStack, room: str):
    async with clients(stack.gateways[0]) as (author,):
        await author.join(room)
        message = str(uuid4())
        await author.chat("hello", id=message)
        first = await author.expect("Chat")
        await author.chat("hello", id=message)
        await join_another(author)
        assert await received_before_joining(author) == [message]
        assert [line["seq"] for line in author.payloads("Chat")] == [first["seq"]] * 2
