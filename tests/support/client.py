"""An ordinary WebSocket client that speaks the protocol and remembers everything it received."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import websockets
from websockets.asyncio.client import ClientConnection

from studyroom.shared.chassis.sharing import result_of

DEADLINE_SECONDS = 15.0

Json = dict[str, Any]


class Client:
    """Reads in the background; `log` keeps every message in order."""

    def __init__(self, socket: ClientConnection, welcome: Json) -> None:
        self.socket = socket
        self.welcome = welcome
        self.log: list[Json] = []
        self.times: list[float] = []
        """When each message of `log` came (monotonic seconds)."""
        self.close_code: int | None = None
        self.close_reason = ""
        self.closed_at: float | None = None
        """Monotonic seconds."""
        self._arrived = asyncio.Event()
        self._read_to = 0
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, url: str, *, username: str | None = None, token: str | None = None, **options: Any) -> Self:
        query = "&".join(
            f"{key}={value}" for key, value in (("username", username), ("access_token", token)) if value is not None
        )
        address = f"{url}{'&' if '?' in url else '?'}{query}" if query else url
        socket = await websockets.connect(address, open_timeout=DEADLINE_SECONDS, close_timeout=3, **options)
        first = json.loads(await asyncio.wait_for(socket.recv(), DEADLINE_SECONDS))
        assert first["type"] == "Welcome"
        return cls(socket, first["payload"])

    @property
    def user(self) -> str:
        user: str = self.welcome["user_id"]
        return user

    # --- sending ------------------------------------------------------------------------------------------

    async def send(self, message_type: str, payload: Any = None) -> None:
        message = {"type": message_type} if payload is None else {"type": message_type, "payload": payload}
        await self.socket.send(json.dumps(message))

    async def join(self, room: str) -> Json:
        """The payload of `JoinedRoom`."""
        await self.send("JoinRoom", {"room_id": room})
        return await self.expect("JoinedRoom")

    async def leave(self) -> None:
        await self.send("LeaveRoom")

    async def chat(self, content: str, **extra: str) -> None:
        await self.send("Chat", {"content": content, **extra})

    async def settle(self) -> None:
        """Returns when the gateway has handled everything sent before."""
        await self.send("Ping")
        await self.expect("Pong")

    async def close(self) -> None:
        await self.socket.close()
        await self.ended()

    async def drop(self) -> None:
        """Lose the connection without a close frame."""
        self.socket.transport.abort()
        await self.ended()

    # --- receiving ----------------------------------------------------------------------------------------

    async def next(self, deadline_seconds: float = DEADLINE_SECONDS) -> Json:
        """The next message that was not taken yet."""
        async with asyncio.timeout(deadline_seconds):
            while self._read_to >= len(self.log):
                assert self.close_code is None, f"closed with {self.close_code} {self.close_reason!r}"
                self._arrived.clear()
                await self._arrived.wait()
        self._read_to += 1
        return self.log[self._read_to - 1]

    async def expect(self, message_type: str, deadline_seconds: float = DEADLINE_SECONDS, **fields: Any) -> Json:
        """The payload of the next message of this type with these fields; others are passed over, errors are not."""
        async with asyncio.timeout(deadline_seconds):
            while True:
                message = await self.next(deadline_seconds)
                payload: Json = message.get("payload", {})
                if message["type"] == message_type and fields.items() <= payload.items():
                    return payload
                assert message["type"] != "Error", message

    async def error(self) -> str:
        """The code of the next error; other messages are passed over."""
        while (message := await self.next())["type"] != "Error":
            continue
        code: str = message["payload"]["code"]
        return code

    async def ended(self, deadline_seconds: float = DEADLINE_SECONDS) -> int:
        """The close code, once the connection is gone."""
        await asyncio.wait_for(result_of(self._reader), deadline_seconds)
        assert self.close_code is not None
        return self.close_code

    def payloads(self, message_type: str) -> list[Json]:
        """The payload of each message of this type."""
        return [message["payload"] for message in self.log if message["type"] == message_type]

    def types(self) -> list[str]:
        return [message["type"] for message in self.log]

    async def _read(self) -> None:
        with suppress(websockets.ConnectionClosed):
            async for text in self.socket:
                self.log.append(json.loads(text))
                self.times.append(time.monotonic())
                self._arrived.set()
        self.close_code = self.socket.close_code or 1006
        self.close_reason = self.socket.close_reason or ""
        self.closed_at = time.monotonic()
        self._arrived.set()


@asynccontextmanager
async def clients(*urls: str, **options: Any) -> AsyncIterator[list[Client]]:
    """One client per address, closed at the end."""
    connected = [await Client.connect(url, **options) for url in urls]
    try:
        yield connected
    finally:
        for client in connected:
            with suppress(Exception):
                await client.close()
            client._reader.cancel()
