"""The chat of a room on a terminal, each line exactly once whatever happens to the connection.

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


class Client:
    def __init__(self, url, room):
        self.url, self.room = url, room
        self.guest_token = ""
        self.position = {}  # `since` and `epoch`: what has been seen of the chat
        self.unstored = {}  # by id, what was said and has not come back, and when it was said
        self.shown = set()
        self.retry_seconds = 0
        self.failures = 0
        self.socket = None

    async def run(self):
        """Connect, and again after every loss. Returns when coming back makes no sense."""
        while True:
            code, reason = 1006, ""
            try:
                url = f"{self.url}?username=Ann&guest_token={self.guest_token}"
                async with websockets.connect(url) as self.socket:
                    with contextlib.suppress(websockets.ConnectionClosedError):
                        async for text in self.socket:
                            await self.hear(json.loads(text))
                code, reason = self.socket.close_code, self.socket.close_reason
            except websockets.InvalidStatus as refused:
                if refused.response.status_code < 500:
                    raise
            except OSError:
                pass  # nobody is there: a gateway that is gone, or a network
            if code in STAY_AWAY:
                return
            hint = re.search(r"reconnect_after_ms=(\d+)", reason)
            self.failures += 1
            await asyncio.sleep(int(hint[1]) / 1000 if hint else random.uniform(0, min(20, 2**self.failures / 4)))

    async def hear(self, message):
        payload = message.get("payload", {})
        match message["type"]:
            case "Welcome":
                self.guest_token = payload.get("guest_token", "")
                self.retry_seconds = payload.get("chat_retry_seconds", 0) - 5
                await self.send("JoinRoom", room_id=self.room, **self.position)
            case "JoinedRoom":
                self.failures = 0
                self.position = {"since": payload["last_seq"], "epoch": payload["epoch"]}
                for id in self.unstored:
                    await self.send_chat(id)
            case "ChatReset":
                self.position = {"since": payload["last_seq"], "epoch": payload["epoch"]}
                print("(messages may be missing here)")
            case "Chat":
                self.position["since"] = max(self.position["since"] or 0, payload["seq"])
                self.unstored.pop(payload["id"], None)
                if payload["id"] not in self.shown:  # one's own can come twice
                    self.shown.add(payload["id"])
                    print(f"{payload['username']}: {payload['content']}", flush=True)
            case "Error":
                print(f"({payload['code']}: {payload['message']})", file=sys.stderr)
                if payload["code"] in SEND_AGAIN:
                    await asyncio.sleep(random.uniform(0.5, 1.5))
                    if payload.get("id") in self.unstored:
                        await self.send_chat(payload["id"])
                    elif "id" not in payload:
                        await self.send("JoinRoom", room_id=self.room, **self.position)
                else:
                    self.unstored.pop(payload.get("id"), None)  # such as chat_storage_full: the author has been told

    async def say(self, content):
        id = str(uuid4())
        self.unstored[id] = content, time.monotonic()
        await self.send_chat(id)

    async def send_chat(self, id):
        content, said = self.unstored[id]
        if time.monotonic() < said + self.retry_seconds:  # later it could be stored twice
            await self.send("Chat", content=content, id=id)

    async def send(self, type, **payload):
        with contextlib.suppress(websockets.ConnectionClosed):  # then it is sent after the next JoinedRoom
            await self.socket.send(json.dumps({"type": type, "payload": payload}))


async def main(url, room):
    client = Client(url, room)
    running = asyncio.create_task(client.run())
    while line := await asyncio.to_thread(sys.stdin.readline):
        await client.say(line.rstrip("\n"))
    while client.unstored and not running.done():
        await asyncio.sleep(0.1)
    if client.socket is not None:
        await client.socket.close()
        await running


asyncio.run(main(*sys.argv[1:]))
