"""The chat of a room on a terminal, each line exactly once, even when the connection is lost.

pip install websockets && python client.py ws://127.0.0.1:8080/ws 550e8400-e29b-41d4-a716-446655440000
"""

import asyncio
import contextlib
import json
import random
import re
import sys
import time
from uuid import uuid4

import websockets

STAY_AWAY = {1000, 1002, 1003, 1007, 1009, *range(4500, 5000)}
SEND_AGAIN = {"chat_unavailable", "rate_limited", "busy", "presence_unavailable"}
PATIENCE = 30  # seconds to wait for unstored messages after the end of the input


def tell(text):
    print(f"({text})", file=sys.stderr, flush=True)


class Client:
    def __init__(self, url, room):
        self.url, self.room = url, room
        self.hint = room  # for the load balancer
        self.guest_token = ""
        self.epoch = ""
        self.position = {}  # `since` and `epoch`: all chat up to there has been shown
        self.unstored = {}  # by id, your messages that have not come back, and when you wrote them
        self.shown = set()
        self.retry_seconds = 0
        self.failures = 0
        self.socket = None

    async def run(self):
        """Connect, and connect again after every loss. Returns when another attempt makes no sense."""
        while True:
            code, reason = 1006, ""
            try:
                url = f"{self.url}?username=Ann&guest_token={self.guest_token}&room={self.hint}"
                async with websockets.connect(url) as self.socket:
                    with contextlib.suppress(websockets.ConnectionClosedError):
                        async for text in self.socket:
                            await self.receive(json.loads(text))
                code, reason = self.socket.close_code, self.socket.close_reason
            except websockets.InvalidStatus as refused:
                if refused.response.status_code < 500:  # the server would refuse it again
                    return tell(f"refused: {refused.response.status_code} {refused.response.body.decode()}")
            except OSError as error:
                if not self.failures:
                    tell(f"cannot connect, trying again: {error}")
            if code in STAY_AWAY:
                return tell(f"closed: {code} {reason}")
            hint = re.search(r"reconnect_after_ms=(\d+)(?: room_hint=(\S+))?", reason)
            self.hint = (hint and hint[2]) or self.hint
            self.failures += 1
            await asyncio.sleep(int(hint[1]) / 1000 if hint else random.uniform(0, min(20, 2**self.failures / 4)))

    async def receive(self, message):
        payload = message.get("payload", {})
        match message["type"]:
            case "Welcome":
                self.guest_token = payload.get("guest_token", "")
                self.retry_seconds = payload.get("chat_retry_seconds", 0) - 5
                await self.send("JoinRoom", room_id=self.room, **self.position)
            case "JoinedRoom":
                self.failures = 0
                if self.position and not payload.get("recovered"):
                    self.position = {}
                    tell("messages may be missing here")
                self.epoch = payload["epoch"]
                self.hint = payload.get("room_hint", self.room)
                # With a history, the messages that follow move the position.
                if not payload["history"] and payload["last_seq"] is not None:
                    self.move_to(payload["last_seq"])
                for id in self.unstored:
                    await self.send_chat(id)
            case "ChatReset":
                self.epoch, self.position = payload["epoch"], {}
                tell("messages may be missing here")
            case "Chat":
                self.move_to(payload["seq"])
                self.unstored.pop(payload["id"], None)
                if payload["id"] not in self.shown:  # your own messages can come twice
                    self.shown.add(payload["id"])
                    print(f"{payload['username']}: {payload['content']}", flush=True)
            case "ChatDeleted":
                self.move_to(payload["seq"])
                self.unstored.pop(payload["id"], None)
                tell("a message was deleted")
            case "Error":
                tell(f"{payload['code']}: {payload['message']}")
                if payload["code"] in SEND_AGAIN:
                    await asyncio.sleep(random.uniform(0.5, 1.5))
                    if payload.get("id") in self.unstored:
                        await self.send_chat(payload["id"])
                    elif "id" not in payload:
                        await self.send("JoinRoom", room_id=self.room, **self.position)
                else:
                    self.unstored.pop(payload.get("id"), None)  # for example chat_too_long: it will never be stored

    def move_to(self, position):
        """Everything up to this position has been shown."""
        self.position = {"since": max(self.position.get("since", 0), position), "epoch": self.epoch}

    async def write(self, content):
        id = str(uuid4())
        self.unstored[id] = content, time.monotonic()
        await self.send_chat(id)

    async def send_chat(self, id):
        content, written_at = self.unstored[id]
        if time.monotonic() < written_at + self.retry_seconds:  # after that it could be stored twice
            await self.send("Chat", content=content, id=id)

    async def send(self, type, **payload):
        if self.socket is not None:
            with contextlib.suppress(websockets.ConnectionClosed):  # it is sent after the next JoinedRoom
                await self.socket.send(json.dumps({"type": type, "payload": payload}))


async def main(url, room):
    client = Client(url, room)
    running = asyncio.create_task(client.run())
    while line := await asyncio.to_thread(sys.stdin.readline):
        await client.write(line.rstrip("\n"))
    ended = time.monotonic()
    while client.unstored and not running.done() and time.monotonic() < ended + PATIENCE:
        await asyncio.sleep(0.1)
    if client.socket is not None:
        await client.socket.close()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    for content, _ in client.unstored.values():
        tell(f"not known to be stored: {content}")
    return 1 if client.unstored else 0


sys.exit(asyncio.run(main(*sys.argv[1:])))
