"""A client with several channels on one connection. Each channel is an ordinary client for the tests."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection

from tests.support.client import DEADLINE_SECONDS, Client, Json


class ChannelClient(Client):
    """One channel. `close_code` is that of `ChannelClosed`, or of the socket."""

    def __init__(self, connection: "SharedClient", number: int) -> None:
        self.connection, self.number = connection, number
        self.ended_soon: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        super().__init__(connection.socket, {})

    async def send(self, message_type: str, payload: Any = None) -> None:
        message = {"type": message_type} if payload is None else {"type": message_type, "payload": payload}
        await self.connection.send(self.number, json.dumps(message))

    async def close(self) -> None:
        await self.connection.order("CloseChannel", channel=self.number)
        await self.ended()

    def take(self, message: Json) -> None:
        self.log.append(message)
        self.times.append(asyncio.get_running_loop().time())
        self._arrived.set()

    def end(self, code: int, reason: str) -> None:
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
            self._arrived.set()
            self.ended_soon.set_result(None)

    async def _read(self) -> None:
        await self.ended_soon


class SharedClient:
    """Reads in the background. Channel 0 is the connection itself."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.channels: dict[int, ChannelClient] = {}
        self.lead = self.channels[0] = ChannelClient(self, 0)
        self.frames: list[Json] = []
        """Everything, as it came."""
        self._writes_in = 0
        self._reads_in = 0
        self._reader = asyncio.create_task(self._read())

    async def send(self, channel: int, text: str) -> None:
        if channel != self._writes_in:
            self._writes_in = channel
            await self.order("Channel", channel=channel)
        await self.socket.send(text)

    async def order(self, message_type: str, **payload: Any) -> None:
        await self.socket.send(json.dumps({"type": message_type, "payload": payload}, separators=(",", ":")))

    async def open(self, number: int, **more: Any) -> ChannelClient:
        """A channel, after its `Welcome`."""
        channel = await self.ask(number, **more)
        channel.welcome = await channel.expect("Welcome")
        return channel

    async def ask(self, number: int, **more: Any) -> ChannelClient:
        """A channel that the gateway may refuse."""
        channel = self.channels[number] = ChannelClient(self, number)
        await self.order("OpenChannel", channel=number, **more)
        return channel

    async def _read(self) -> None:
        with suppress(websockets.ConnectionClosed):
            async for text in self.socket:
                message = json.loads(text)
                self.frames.append(message)
                payload = message.get("payload", {})
                if message["type"] == "Channel":
                    self._reads_in = payload["channel"]
                elif message["type"] == "ChannelClosed":
                    self.channels[payload["channel"]].end(payload["close_code"], payload["reason"])
                else:
                    self.channels[self._reads_in].take(message)
        for channel in self.channels.values():
            channel.end(self.socket.close_code or 1006, self.socket.close_reason or "")


@asynccontextmanager
async def shared(url: str, **options: Any) -> AsyncIterator[SharedClient]:
    """A connection with channels, after its `Welcome`. Closed at the end."""
    address = f"{url}{'&' if '?' in url else '?'}channels=true"
    socket = await websockets.connect(address, open_timeout=DEADLINE_SECONDS, close_timeout=3, **options)
    client = SharedClient(socket)
    try:
        client.lead.welcome = await client.lead.expect("Welcome")
        yield client
    finally:
        await socket.close()
        client._reader.cancel()
        for channel in client.channels.values():
            channel._reader.cancel()
