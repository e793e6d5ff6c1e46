"""Channels: several rooms over one connection, each as if it were the only one."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from studyroom.shared.contract.close_codes import parse_reconnect_hint
from tests.support.backend import SETTINGS, ask
from tests.support.channels import SharedClient, shared
from tests.support.client import Client, clients
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service
from tests.support.tokens import token_of
from tests.support.waiting import eventually

CHANNELS = "studyroom_gateway_channels"
CONNECTIONS = "studyroom_gateway_connections"


@pytest.fixture
def rooms() -> list[str]:
    return [str(uuid4()) for _ in range(3)]


@pytest.fixture(scope="module")
def small(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A gateway with low limits, which knows users by their tokens too."""
    settings = {
        "CHANNELS_MAX": "2", "USER_CONNECTIONS_MAX": "4", "MESSAGES_PER_SECOND": "30", "JOINS_PER_MINUTE": "4",
        "BROADCASTS_PER_SECOND": "5",
    }  # fmt: skip
    directory = tmp_path_factory.mktemp("small")
    named = {f"STUDYROOM_GATEWAY_{name}": value for name, value in settings.items()}
    with running(service("gateway", directory, stack.nats_url, **named, **SETTINGS)) as process:
        yield process


async def in_rooms(client: SharedClient, rooms: list[str]) -> list[Client]:
    """A channel in each of these rooms."""
    channels: list[Client] = [await client.open(number) for number in range(1, len(rooms) + 1)]
    for channel, room in zip(channels, rooms, strict=True):
        await channel.join(room)
    return channels


async def test_each_room_of_a_connection_gets_its_own_messages_in_order(stack: EmbeddedStack, rooms: list[str]):
    async with clients(stack.gateways[1], stack.gateways[1]) as others, shared(stack.gateways[0]) as client:
        for other, room in zip(others, rooms[:2], strict=True):
            await other.join(room)
        channels = await in_rooms(client, rooms[:2])
        assert {channel.user for channel in channels} == {client.lead.user}
        written: list[list[str]] = [[], []]
        for number in range(12):
            index = number % 2
            written[index] += [f"own {number}", f"other {number}"]
            await channels[index].chat(f"own {number}")
            await others[index].expect("Chat", content=f"own {number}")
            await others[index].chat(f"other {number}")
            await channels[index].expect("Chat", content=f"other {number}")
        for index in range(2):
            assert [chat["content"] for chat in channels[index].payloads("Chat")] == written[index]
            assert [user["user_id"] for user in others[index].payloads("UserJoined")[0].values()] == [client.lead.user]
        assert client.lead.types() == ["Welcome"]


async def test_a_channel_that_closes_leaves_its_room_and_no_other(stack: EmbeddedStack, rooms: list[str]):
    async with clients(stack.gateways[1], stack.gateways[1]) as others, shared(stack.gateways[0]) as client:
        for other, room in zip(others, rooms[:2], strict=True):
            await other.join(room)
        first, second = await in_rooms(client, rooms[:2])
        await first.close()
        assert first.close_code == 1000
        await others[0].expect("UserLeft", user_id=client.lead.user)
        await second.chat("still here")
        await others[1].expect("Chat", content="still here")
        assert others[1].payloads("UserLeft") == []
        await client.open(1)  # the number is free again


async def test_messages_to_a_channel_that_is_not_open_have_no_effect(stack: EmbeddedStack, rooms: list[str]):
    async with shared(stack.gateways[0]) as client:
        (first,) = await in_rooms(client, rooms[:1])
        await client.send(7, json.dumps({"type": "Chat", "payload": {"content": "to nobody"}}))
        await first.chat("to the room")
        assert (await first.expect("Chat"))["content"] == "to the room"
        await client.lead.settle()
        assert client.lead.types() == ["Welcome", "Pong"]


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"Channel"}',
        '{"type":"Channel","payload":{"channel":-1}}',
        '{"type":"Channel","payload":{"channel":"1"}}',
        '{"type":"OpenChannel","payload":{"channel":0}}',
        '{"type":"OpenChannel","payload":{"channel":1}}',
        '{"type":"CloseChannel","payload":{"channel":1,"close_code":1006}}',
    ],
)
async def test_a_wrong_message_about_channels_is_refused_and_the_room_gets_nothing_wrong(
    stack: EmbeddedStack, room: str, text: str
):
    async with shared(stack.gateways[0]) as client:
        (first,) = await in_rooms(client, [room])
        await client.send(1, text)
        assert await client.lead.error() == "invalid_message"
        await client.order("Channel", channel=1)
        await first.chat("after it")
        assert (await first.expect("Chat"))["content"] == "after it"


async def test_after_a_switch_that_is_not_valid_messages_reach_no_room_until_the_next_one(
    stack: EmbeddedStack, rooms: list[str]
):
    async with shared(stack.gateways[0]) as client:
        first, second = await in_rooms(client, rooms[:2])
        await first.settle()
        await client.socket.send('{"type":"Channel","payload":{"channel":2.5}}')
        await client.socket.send('{"type":"Chat","payload":{"content":"for whom?"}}')
        assert await client.lead.error() == "invalid_message"
        await client.order("Channel", channel=1)
        await first.chat("for the first")
        assert (await first.expect("Chat"))["content"] == "for the first"
        await second.settle()
        assert second.payloads("Chat") == []


async def test_chat_may_look_like_a_message_about_channels(stack: EmbeddedStack, room: str):
    async with shared(stack.gateways[0]) as client:
        (first,) = await in_rooms(client, [room])
        await first.chat('{"type":"Channel","payload":{"channel":0}}')
        assert (await first.expect("Chat"))["content"] == '{"type":"Channel","payload":{"channel":0}}'


async def test_other_connections_have_no_channels(stack: EmbeddedStack):
    async with clients(stack.gateways[0]) as (client,):
        assert "channels" not in client.welcome
        await client.send("OpenChannel", {"channel": 1})
        assert await client.error() == "unknown_type"


async def test_channels_count_as_connections_and_their_number_is_limited(small: ServiceProcess):
    token = token_of("channels")
    async with shared(f"{small.url}?access_token={token}") as client:
        assert client.lead.welcome["channels"] == 2
        first, _ = await client.open(1), await client.open(2)
        assert await asyncio.to_thread(small.metric, CHANNELS) == 2
        assert await asyncio.to_thread(small.metric, CONNECTIONS) == 3
        third = await client.ask(3)
        assert await third.ended() == 4004
        await first.close()
        await client.open(4)
        async with shared(f"{small.url}?access_token={token}") as another:
            refused = await another.ask(1)
            assert await refused.ended() == 4004
            assert refused.close_reason == "too many connections of this user"
    await eventually(lambda: small.metric(CHANNELS) == small.metric(CONNECTIONS) == 0, "all have gone")


async def test_the_allowance_for_messages_is_that_of_the_connection(small: ServiceProcess, rooms: list[str]):
    async with shared(small.url) as client:
        channels = await in_rooms(client, rooms[:2])
        for number in range(110):
            await channels[number % 2].send("Typing", {"is_typing": True})
        refused = sum([
            await channel.error() == "rate_limited" for channel in channels for _ in range(4)
        ])  # fmt: skip
        assert refused == 8


async def test_the_allowances_for_events_and_joins_are_those_of_the_connection(small: ServiceProcess, rooms: list[str]):
    async with shared(small.url) as client:
        first, second = await in_rooms(client, rooms[:2])
        for channel in (first, second) * 12:
            await channel.send("Broadcast", {"event": "wave", "data": None})
        for channel in (first, second):
            await channel.send("Ping")
        # Ten may go at once. Allowances of their own would let twenty pass.
        await eventually(lambda: "Pong" in first.types() and "Pong" in second.types(), "all were handled")
        assert len(first.payloads("Error") + second.payloads("Error")) > 4
    async with shared(small.url) as client:
        first, second = await in_rooms(client, rooms[:2])
        for channel in (first, second):
            await channel.join(rooms[2])
        await first.send("JoinRoom", {"room_id": rooms[0]})
        assert await first.error() == "rate_limited"


async def test_the_newest_cursor_beyond_the_rate_comes_later_in_its_room(small: ServiceProcess, rooms: list[str]):
    async with clients(small.url) as (other,), shared(small.url) as client:
        await other.join(rooms[0])
        first, _ = await in_rooms(client, rooms[:2])
        for x in range(110):
            await first.send("CursorMove", {"x": x, "y": 0})
        await other.expect("CursorUpdate", x=109.0)


async def test_a_newer_token_holds_for_all_channels_and_closes_those_whose_room_it_does_not_grant(
    small: ServiceProcess, rooms: list[str]
):
    async with shared(f"{small.url}?access_token={token_of('renewing')}") as client:
        first, second = await in_rooms(client, rooms[:2])
        await first.send("Authenticate", {"token": token_of("renewing", rooms=rooms[:1])})
        await first.expect("Authenticated")
        assert await second.ended() == 4002
        await first.chat("still allowed")
        await first.expect("Chat", content="still allowed")
        third = await client.open(3)
        await third.send("JoinRoom", {"room_id": rooms[2]})
        assert await third.error() == "room_not_allowed"


async def test_a_lost_connection_keeps_its_place_in_every_room(stack: EmbeddedStack, rooms: list[str]):
    async with clients(stack.gateways[1], stack.gateways[1]) as others:
        for other, room in zip(others, rooms[:2], strict=True):
            await other.join(room)
        async with shared(stack.gateways[0]) as client:
            await in_rooms(client, rooms[:2])
            token = client.lead.welcome["guest_token"]
            for other in others:
                await other.expect("UserJoined")
            client.socket.transport.abort()
        async with shared(f"{stack.gateways[1]}?guest_token={token}") as client:
            first, second = await in_rooms(client, rooms[:2])
            await first.chat("back")
            await others[0].expect("Chat", content="back")
            await second.chat("back")
            await others[1].expect("Chat", content="back")
            assert [other.payloads("UserLeft") for other in others] == [[], []]


async def test_a_client_that_reads_nothing_is_closed_with_all_its_channels(
    stack: EmbeddedStack, tmp_path: Path, rooms: list[str]
):
    settings = {"STUDYROOM_GATEWAY_WRITE_BUFFER_MAX_BYTES": "65536", "STUDYROOM_GATEWAY_MESSAGES_PER_SECOND": "1000"}
    settings["STUDYROOM_GATEWAY_BYTES_PER_SECOND"] = "100000000"
    with running(service("gateway", tmp_path, stack.nats_url, **settings)) as gateway:
        small = socket.create_connection(("127.0.0.1", urlsplit(gateway.url).port or 0))
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # the kernel's buffers do not count
        async with clients(gateway.url, gateway.url) as others, shared(gateway.url, sock=small) as client:
            for other, room in zip(others, rooms[:2], strict=True):
                await other.join(room)
            await in_rooms(client, rooms[:2])
            for other in others:
                await other.expect("UserJoined")
            client._reader.cancel()
            client.socket.transport.pause_reading()
            text = "x" * 3900

            def slow() -> float:
                return gateway.metric('studyroom_gateway_disconnects_total{code="4000"}')

            async with asyncio.timeout(60):
                while not await asyncio.to_thread(slow):
                    for other in others:
                        for _ in range(40):
                            await other.chat(text)
                        await other.settle()
            for other in others:
                await other.settle()
            await eventually(lambda: gateway.metric(CHANNELS) == 0, "the channels have gone")


async def test_a_connection_whose_channels_are_in_rooms_is_not_idle_and_a_channel_outside_is(
    stack: EmbeddedStack, tmp_path: Path, rooms: list[str]
):
    idle = {"STUDYROOM_GATEWAY_IDLE_SECONDS": "2", "STUDYROOM_GATEWAY_PING_INTERVAL_SECONDS": "1"}
    with running(service("gateway", tmp_path, stack.nats_url, **idle)) as gateway:
        async with shared(gateway.url) as client:
            (member,) = await in_rooms(client, rooms[:1])
            outside = await client.open(2)
            async with clients(gateway.url) as (other,):
                assert await other.ended() == 4003
            assert await outside.ended() == 4003
            await member.chat("still here")
            await member.expect("Chat", content="still here")
            await member.close()
            assert await client.lead.ended() == 4003


async def test_a_stopping_gateway_asks_every_channel_to_move_and_closes_those_that_stay(
    stack: EmbeddedStack, tmp_path: Path, rooms: list[str]
):
    within = {"STUDYROOM_GATEWAY_MOVE_WITHIN_MS": "1000"}
    with running(service("gateway", tmp_path, stack.nats_url, **within)) as gateway:
        async with shared(f"{gateway.url}?moving=true") as client:
            channels = [client.lead, *await in_rooms(client, rooms)]
            stopping = asyncio.ensure_future(asyncio.to_thread(gateway.stop))
            for channel in channels:
                await channel.expect("Moving")
            assert client.socket.close_code is None
            refused = await client.ask(9)
            assert await refused.ended() == 1012
            for channel in channels:
                assert await channel.ended() == 1012
                assert parse_reconnect_hint(channel.close_reason) is not None
            await stopping


async def test_a_moderator_removes_from_one_room_and_bans_from_the_whole_connection(
    small: ServiceProcess, rooms: list[str]
):
    user = str(uuid4())
    async with shared(f"{small.url}?access_token={token_of(user)}") as client:
        first, second = await in_rooms(client, rooms[:2])
        assert (await ask(small.url, "DELETE", f"/rooms/{rooms[0]}/members/{user}")).status == 204
        assert await first.error() == "removed"
        await second.chat("still here")
        await second.expect("Chat", content="still here")
        assert (await ask(small.url, "PUT", f"/bans/{user}", {"seconds": 60})).status == 200
        assert {await channel.ended() for channel in (client.lead, first, second)} == {4502}
