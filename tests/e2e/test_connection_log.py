"""The log has two lines for each connection, and the second says why it has ended."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.channels import shared
from tests.support.client import Client, clients
from tests.support.editor import Editor
from tests.support.fallback import connect
from tests.support.processes import EmbeddedStack
from tests.support.waiting import eventually

Line = dict[str, Any]


def lines_about(stack: EmbeddedStack, key: str, value: str) -> list[Line]:
    texts = [line for log in Path(stack.data_dir).glob("gateway*.log") for line in log.read_text().splitlines()]
    lines: list[Line] = [json.loads(text) for text in texts if value in text]
    return [line for line in lines if line.get(key) == value and line["event"] in {"connected", "disconnected"}]


async def both_lines(stack: EmbeddedStack, key: str, value: str) -> tuple[Line, Line]:
    def both() -> list[Line] | None:
        return found if len(found := lines_about(stack, key, value)) == 2 else None

    connected, disconnected = await eventually(both, f"two lines about the {key} {value}")
    assert (connected["event"], disconnected["event"]) == ("connected", "disconnected")
    assert connected["user"] == disconnected["user"]
    assert 0 <= disconnected["seconds"] < 60
    return connected, disconnected


async def lines_of(stack: EmbeddedStack, client: Client) -> tuple[Line, Line]:
    connected, disconnected = await both_lines(stack, "connection", client.welcome["connection_id"])
    assert connected["user"] == client.user
    return connected, disconnected


async def test_a_client_that_closes_its_connection_has_ended_it(stack: EmbeddedStack, room: str):
    async with clients(f"{stack.gateways[0]}?room={room}") as (ann,):
        await ann.join(room)
        await ann.close()
    connected, disconnected = await lines_of(stack, ann)
    assert (connected["kind"], connected["room"], connected["level"]) == ("connection", room, "info")
    assert (disconnected["room"], disconnected["code"], disconnected["by"]) == (room, 1000, "client")
    assert disconnected["reason"] is None


async def test_a_connection_that_is_lost_was_ended_by_the_network(stack: EmbeddedStack):
    async with clients(stack.gateways[0]) as (ann,):
        await ann.drop()
    connected, disconnected = await lines_of(stack, ann)
    assert (disconnected["code"], disconnected["by"], disconnected["reason"]) == (1006, "network", None)
    assert connected["room"] is None


async def test_a_connection_that_the_gateway_closes_has_its_reason(stack: EmbeddedStack):
    async with clients(stack.gateways[0]) as (ann,):
        await ann.socket.send("x" * 70_000)
        await ann.ended()
    _, disconnected = await lines_of(stack, ann)
    assert (disconnected["code"], disconnected["by"]) == (1009, "gateway")
    assert "65536 bytes" in disconnected["reason"]


async def test_the_reason_of_a_client_is_not_logged(stack: EmbeddedStack):
    async with clients(stack.gateways[0]) as (ann,):
        await ann.socket.close(4242, "my password is hunter2")
        await ann.ended()
    _, disconnected = await lines_of(stack, ann)
    assert (disconnected["code"], disconnected["by"], disconnected["reason"]) == (4242, "client", None)


@pytest.mark.parametrize("closes", ["the channel", "the connection"])
async def test_a_channel_has_lines_of_its_own(stack: EmbeddedStack, closes: str):
    async with shared(stack.gateways[0]) as connection:
        channel = await connection.open(1)
        if closes == "the channel":
            await channel.close()
    connected, disconnected = await lines_of(stack, channel)
    assert (connected["kind"], disconnected["by"]) == ("channel", "client")
    _, lead = await lines_of(stack, connection.lead)
    assert (lead["kind"], lead["by"]) == ("connection", "client")


async def test_a_client_without_websockets_has_the_same_lines(stack: EmbeddedStack):
    client = await connect(stack.gateways[0])
    await client.close()
    _, disconnected = await lines_of(stack, client)
    assert (disconnected["code"], disconnected["by"]) == (1000, "client")


async def test_an_editor_has_lines_with_its_room(stack: EmbeddedStack, room: str):
    editor = await Editor.connect(stack.gateways[0], room)
    await editor.sync()
    await editor.close()
    connected, disconnected = await both_lines(stack, "room", room)
    assert (connected["kind"], disconnected["by"], disconnected["code"]) == ("editor", "client", 1000)
