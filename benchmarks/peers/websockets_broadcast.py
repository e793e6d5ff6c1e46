"""A room server on `websockets` with its `broadcast()`, on uvloop and without compression, as its documentation advises
for many connections.
"""

import argparse
import asyncio
import json
import time
import uuid
from typing import Any
from urllib.parse import parse_qs, urlsplit

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

LISTEN_BACKLOG = 1024

members: dict[str, set[ServerConnection]] = {}
users: dict[ServerConnection, dict[str, Any]] = {}
room_of: dict[ServerConnection, str] = {}
announce_joins = True


def encode(kind: str, payload: dict[str, Any]) -> str:
    return json.dumps({"type": kind, "payload": payload}, separators=(",", ":"))


def tell_others(connection: ServerConnection, kind: str, payload: dict[str, Any]) -> None:
    room = members.get(room_of.get(connection, ""), set())
    broadcast(room - {connection}, encode(kind, payload))


async def join(connection: ServerConnection, room_id: str) -> None:
    leave(connection)
    room = members.setdefault(room_id, set())
    room.add(connection)
    room_of[connection] = room_id
    await connection.send(encode("JoinedRoom", {"room_id": room_id, "users": [users[member] for member in room]}))
    if announce_joins:
        tell_others(connection, "UserJoined", {"user": users[connection]})


def leave(connection: ServerConnection) -> None:
    room_id = room_of.get(connection)
    if room_id is None:
        return
    if announce_joins:
        tell_others(connection, "UserLeft", {"user_id": users[connection]["user_id"]})
    del room_of[connection]
    members[room_id].discard(connection)
    if not members[room_id]:
        del members[room_id]


async def handle(connection: ServerConnection, kind: str, payload: dict[str, Any]) -> None:
    user = users[connection]
    if kind == "CursorMove":
        update = {
            "user_id": user["user_id"],
            "x": payload["x"],
            "y": payload["y"],
            "element_id": payload.get("element_id"),
        }
        tell_others(connection, "CursorUpdate", update)
    elif kind == "Chat":
        chat = {
            "user_id": user["user_id"],
            "username": user["username"],
            "content": payload["content"],
            "timestamp": int(time.time()),
        }
        broadcast(members.get(room_of.get(connection, ""), set()), encode("Chat", chat))
    elif kind == "JoinRoom":
        await join(connection, payload["room_id"])
    elif kind == "Ping":
        await connection.send('{"type":"Pong"}')


async def handler(connection: ServerConnection) -> None:
    query = parse_qs(urlsplit(connection.request.path if connection.request else "").query)
    user_id = str(uuid.uuid4())
    users[connection] = {
        "user_id": user_id,
        "username": query.get("username", ["User"])[0],
        "avatar_url": None,
        "cursor": None,
    }
    welcome = {"connection_id": str(connection.id), "user_id": user_id, "server_time": time.time_ns() // 1_000_000}
    try:
        await connection.send(encode("Welcome", welcome))
        async for text in connection:
            message = json.loads(text)
            await handle(connection, message["type"], message.get("payload", {}))
    except ConnectionClosed:
        pass
    finally:
        leave(connection)
        del users[connection]


async def run(port: int) -> None:
    async with serve(handler, "127.0.0.1", port, compression=None, backlog=LISTEN_BACKLOG):
        await asyncio.get_running_loop().create_future()


def main() -> None:
    global announce_joins  # noqa: PLW0603 - a setting of the whole program
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--quiet-joins", action="store_true")
    options = parser.parse_args()
    announce_joins = not options.quiet_joins
    uvloop.run(run(options.port))


if __name__ == "__main__":
    main()
