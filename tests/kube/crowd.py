"""People with the client for browsers, in one process of Node, and the records of what they saw."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.kube.cluster import Failed
from tests.kube.history import Event, Span, Stored, Visit
from tests.support.tokens import token_of
from tests.support.waiting import http_get

_SCRIPT = Path(__file__).parents[2] / "web" / "client" / "tests" / "support" / "people.mjs"
_CLIENT = _SCRIPT.parents[2] / "dist" / "index.js"
_LINE_MAX_BYTES = 64 * 1024 * 1024
_ENTER_SECONDS = 90.0
_ANSWER_SECONDS = 30.0
_POLL_SECONDS = 0.2
_PAGE = 200
_OK = 200


def why_not() -> str:
    """Return the reason why there are no people on this machine; empty where there are."""
    built = shutil.which("node") and _CLIENT.exists()
    return "" if built else "the client for browsers is not built, which needs Node"


class Crowd:
    """People who are in their rooms and write until `end`. Methods raise Failed."""

    def __init__(self, url: str, rooms: int, size: int) -> None:
        """`url`: the base address of the gateways, over HTTP."""
        self._url = url
        ids = [str(uuid4()) for _ in range(rooms)]
        self.rooms = {str(uuid4()): ids[number % rooms] for number in range(size)}
        """The room of each person."""
        self.events: list[Event] = []
        self.forgiven: list[Span] = []
        """Chat of these times may be lost."""
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._began = 0.0

    async def start(self) -> None:
        """Return when everybody is in and has written."""
        self._process = await asyncio.create_subprocess_exec(
            "node", str(_SCRIPT), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE_MAX_BYTES
        )
        self._reading = asyncio.create_task(self._read(self._process))
        people = [{"user": user, "room": room, "token": token_of(user)} for user, room in self.rooms.items()]
        await self._send(url=f"{self._url}/ws", people=people)
        await self._until(lambda: self._count("stored") == len(self.rooms), "everybody is in", _ENTER_SECONDS)
        self._began = time.time()

    async def end(self) -> Visit:
        """Let everybody fall silent and read on, read the histories, and ask what everybody sees."""
        await self._send(do="fallSilent")
        await self._until_or_on(lambda: self._ids("wrote") <= self._ids("stored", "failed"), "all chat has an answer")
        stored = {room: await history(self._url, room) for room in set(self.rooms.values())}
        await self._until_or_on(lambda: self._have_last_of(stored), "everybody has seen all chat")
        await self._send(do="look")
        await self._until(lambda: self._count("looks") == len(self.rooms), "everybody looks", _ANSWER_SECONDS)
        return Visit(self.rooms, list(self.events), stored, self._began, time.time(), tuple(self.forgiven))

    async def leave(self) -> None:
        if self._process is None or self._reading is None:
            return
        try:
            await self._send(do="leave")
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._process.wait()
        except (Failed, TimeoutError, OSError):
            if self._process.returncode is None:
                self._process.kill()
        await self._reading

    async def _send(self, **message: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        if self._process.returncode is not None:
            raise Failed(f"the process of the people has ended with {self._process.returncode}")
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        await self._process.stdin.drain()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.events.append(Event.of(line.decode()))

    # --- waiting ------------------------------------------------------------------------------------------

    async def _until(self, condition: Callable[[], bool], goal: str, deadline_seconds: float) -> None:
        deadline = time.monotonic() + deadline_seconds
        while not condition():
            if time.monotonic() > deadline:
                raise Failed(f"{goal}: not within {deadline_seconds:g} s")
            await asyncio.sleep(_POLL_SECONDS)

    async def _until_or_on(self, condition: Callable[[], bool], goal: str) -> None:
        """If it does not come true, go on: the judgement shows the difference."""
        try:
            await self._until(condition, goal, _ANSWER_SECONDS)
        except Failed as failed:
            print(f"    {failed}", flush=True)

    def _ids(self, *names: str) -> set[str]:
        return {event.fields["id"] for event in self.events if event.name in names}

    def _count(self, name: str) -> int:
        """How many people have had such an event."""
        return len({event.person for event in self.events if event.name == name})

    def _have_last_of(self, stored: Stored) -> bool:
        seen = {(event.person, event.fields["id"]) for event in self.events if event.name == "saw"}
        return all((person, stored[room][-1][1]) in seen for person, room in self.rooms.items() if stored[room])


async def history(url: str, room: str) -> list[tuple[int, str]]:
    """The position and the id of each stored message of a room, in its order. Raises Failed."""
    token = token_of(str(uuid4()))
    found: list[tuple[int, str]] = []
    before = ""
    while True:
        query = f"limit={_PAGE}&access_token={token}" + (f"&before={before}" if before else "")
        page = await _page(f"{url}/api/v1/rooms/{room}/messages?{query}")
        found += [(message["seq"], message["id"]) for message in page["messages"]]
        if page["before"] is None:
            return sorted(found)
        before = page["before"]


async def _page(url: str) -> dict[str, Any]:
    """Patient, because a gateway may be about to stop. Raises Failed."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    while True:
        status, body = await asyncio.to_thread(http_get, url)
        if status == _OK:
            page: dict[str, Any] = json.loads(body)
            return page
        if time.monotonic() > deadline:
            raise Failed(f"the history cannot be read: {status} {body[:200]}")
        await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def crowd_of(url: str, rooms: int, size: int) -> AsyncIterator[Crowd]:
    """Everybody is in and writes, and leaves in the end."""
    crowd = Crowd(url, rooms, size)
    try:
        await crowd.start()
        yield crowd
    finally:
        await crowd.leave()
