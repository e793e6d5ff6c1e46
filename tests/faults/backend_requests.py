"""Requests of a trusted backend to a gateway while faults happen. It waits only for its own deadline."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from tests.support.backend import KEY

_DEADLINE_SECONDS = 6.0


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any] = field(default_factory=dict)


async def ask(gateway: str, method: str, path: str, body: dict[str, Any] | None = None) -> Answer | None:
    """`gateway`: its WebSocket address. `path`: the path below `/api/v1`. None when no answer came."""
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            return await _ask(gateway, method, path, body)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
        return None


async def _ask(gateway: str, method: str, path: str, body: dict[str, Any] | None) -> Answer:
    host, port = gateway.removeprefix("ws://").removesuffix("/ws").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        sent = json.dumps(body).encode() if body is not None else b""
        head = (
            f"{method} /api/v1{path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {KEY}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + sent)
        await writer.drain()
        status = int((await reader.readline()).split()[1])
        length = 0
        while line := (await reader.readline()).strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return Answer(status, json.loads(await reader.readexactly(length) or b"{}"))
    except IndexError as error:
        raise ValueError("no answer") from error
    finally:
        writer.close()
