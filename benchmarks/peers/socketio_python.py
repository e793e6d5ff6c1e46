"""A room server on python-socketio's `AsyncServer` with its rooms, WebSocket transport only, served by uvicorn."""

import argparse
import time
import uuid
from typing import Any
from urllib.parse import parse_qs

import socketio
import uvicorn

server = socketio.AsyncServer(
    async_mode="asgi",
    transports=["websocket"],
    cors_allowed_origins="*",
    http_compression=False,
    logger=False,
    engineio_logger=False,
)
users: dict[str, dict[str, Any]] = {}
room_of: dict[str, str] = {}
members: dict[str, set[str]] = {}


class Settings:
    announce_joins = True


async def connect(sid: str, environ: dict[str, Any], _auth: object = None) -> None:
    query = parse_qs(environ.get("QUERY_STRING", ""))
    users[sid] = {
        "user_id": str(uuid.uuid4()),
        "username": query.get("username", ["User"])[0],
        "avatar_url": None,
        "cursor": None,
    }


async def join_room(sid: str, payload: dict[str, Any]) -> None:
    room_id = payload["room_id"]
    await leave(sid)
    await server.enter_room(sid, room_id)
    room_of[sid] = room_id
    room = members.setdefault(room_id, set())
    room.add(sid)
    await server.emit("JoinedRoom", {"room_id": room_id, "users": [users[member] for member in room]}, to=sid)
    if Settings.announce_joins:
        await server.emit("UserJoined", {"user": users[sid]}, room=room_id, skip_sid=sid)


async def chat(sid: str, payload: dict[str, Any]) -> None:
    if sid in room_of:
        user = users[sid]
        message = {
            "user_id": user["user_id"],
            "username": user["username"],
            "content": payload["content"],
            "timestamp": int(time.time()),
        }
        await server.emit("Chat", message, room=room_of[sid])


async def cursor_move(sid: str, payload: dict[str, Any]) -> None:
    if sid in room_of:
        update = {
            "user_id": users[sid]["user_id"],
            "x": payload["x"],
            "y": payload["y"],
            "element_id": payload.get("element_id"),
        }
        await server.emit("CursorUpdate", update, room=room_of[sid], skip_sid=sid)


async def disconnect(sid: str, _reason: str) -> None:
    await leave(sid)
    users.pop(sid, None)


async def leave(sid: str) -> None:
    room_id = room_of.pop(sid, None)
    if room_id is None:
        return
    await server.leave_room(sid, room_id)
    members[room_id].discard(sid)
    if not members[room_id]:
        del members[room_id]
    elif Settings.announce_joins:
        await server.emit("UserLeft", {"user_id": users[sid]["user_id"]}, room=room_id, skip_sid=sid)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--quiet-joins", action="store_true")
    options = parser.parse_args()
    Settings.announce_joins = not options.quiet_joins
    for event, handler in {
        "connect": connect,
        "JoinRoom": join_room,
        "Chat": chat,
        "CursorMove": cursor_move,
        "disconnect": disconnect,
    }.items():
        server.on(event, handler)
    uvicorn.run(
        socketio.ASGIApp(server),
        host="127.0.0.1",
        port=options.port,
        access_log=False,
        log_level="warning",
        ws_per_message_deflate=False,
    )


if __name__ == "__main__":
    main()
