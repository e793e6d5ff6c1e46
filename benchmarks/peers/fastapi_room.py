"""A room server on FastAPI and uvicorn, as in FastAPI's tutorial on WebSockets: a dict of rooms, and
`await websocket.send_text()` for each member in turn.
"""

import argparse
import json
import time
import uuid
from contextlib import suppress
from typing import Any

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


class Member:
    def __init__(self, websocket: WebSocket, username: str) -> None:
        self.websocket = websocket
        self.room_id: str | None = None
        self.user = {"user_id": str(uuid.uuid4()), "username": username, "avatar_url": None, "cursor": None}


class Rooms:
    """The connection manager of the tutorial, one list of connections for each room."""

    def __init__(self) -> None:
        self.members: dict[str, set[Member]] = {}
        self.announce_joins = True

    async def join(self, member: Member, room_id: str) -> None:
        await self.leave(member)
        members = self.members.setdefault(room_id, set())
        members.add(member)
        member.room_id = room_id
        await send(member, "JoinedRoom", {"room_id": room_id, "users": [other.user for other in members]})
        if self.announce_joins:
            await self.broadcast(member, "UserJoined", {"user": member.user}, to_sender=False)

    async def leave(self, member: Member) -> None:
        if member.room_id is None:
            return
        members = self.members[member.room_id]
        members.discard(member)
        if not members:
            del self.members[member.room_id]
        elif self.announce_joins:
            await self.broadcast(member, "UserLeft", {"user_id": member.user["user_id"]}, to_sender=False)
        member.room_id = None

    async def broadcast(self, sender: Member, kind: str, payload: dict[str, Any], *, to_sender: bool) -> None:
        if sender.room_id is None:
            return
        text = encode(kind, payload)
        for member in list(self.members.get(sender.room_id, ())):
            if to_sender or member is not sender:
                # The task of a lost member removes it.
                with suppress(WebSocketDisconnect, RuntimeError):
                    await member.websocket.send_text(text)


rooms = Rooms()


def encode(kind: str, payload: dict[str, Any]) -> str:
    return json.dumps({"type": kind, "payload": payload}, separators=(",", ":"))


async def send(member: Member, kind: str, payload: dict[str, Any]) -> None:
    await member.websocket.send_text(encode(kind, payload))


@app.websocket("/ws")
async def serve(websocket: WebSocket, username: str = "User") -> None:
    await websocket.accept()
    member = Member(websocket, username)
    welcome = {
        "connection_id": str(uuid.uuid4()),
        "user_id": member.user["user_id"],
        "server_time": time.time_ns() // 1_000_000,
    }
    try:
        await send(member, "Welcome", welcome)
        while True:
            message = json.loads(await websocket.receive_text())
            await handle(member, message["type"], message.get("payload", {}))
    except WebSocketDisconnect:
        pass
    finally:
        await rooms.leave(member)


async def handle(member: Member, kind: str, payload: dict[str, Any]) -> None:
    user = member.user
    if kind == "CursorMove":
        update = {
            "user_id": user["user_id"],
            "x": payload["x"],
            "y": payload["y"],
            "element_id": payload.get("element_id"),
        }
        await rooms.broadcast(member, "CursorUpdate", update, to_sender=False)
    elif kind == "Chat":
        chat = {
            "user_id": user["user_id"],
            "username": user["username"],
            "content": payload["content"],
            "timestamp": int(time.time()),
        }
        await rooms.broadcast(member, "Chat", chat, to_sender=True)
    elif kind == "JoinRoom":
        await rooms.join(member, payload["room_id"])
    elif kind == "Ping":
        await member.websocket.send_text('{"type":"Pong"}')


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--quiet-joins", action="store_true")
    options = parser.parse_args()
    rooms.announce_joins = not options.quiet_joins
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=options.port,
        access_log=False,
        log_level="warning",
        ws_per_message_deflate=False,
    )


if __name__ == "__main__":
    main()
