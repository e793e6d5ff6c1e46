"""An editor of a shared document that speaks the protocol of y-websocket itself, to see each message of the gateway.

The tests of `web/client` use the providers that applications use.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import pycrdt
import websockets
from websockets.asyncio.client import ClientConnection

from studyroom.shared.contract.lib0 import Reader, data
from tests.support.waiting import eventually

DEADLINE_SECONDS = 15.0
SYNC, AWARENESS, AUTH = 0, 1, 2
STEP_1, STEP_2, UPDATE = 0, 1, 2
PERMISSION_DENIED = 0
_APPLIED_AGAIN = 32


class Recent:
    """Applies updates to a document, and the last ones again with each.

    When an update comes that others have waited for, pycrdt leaves some of their changes behind until they come again.
    """

    def __init__(self, doc: "pycrdt.Doc[Any]") -> None:
        self._doc = doc
        self._updates: deque[bytes] = deque(maxlen=_APPLIED_AGAIN)

    def apply(self, update: bytes) -> None:
        self._updates.append(update)
        for one in self._updates:
            self._doc.apply_update(one)


class Editor:
    """Reads in the background, and applies what comes."""

    def __init__(self, socket: ClientConnection, doc: "pycrdt.Doc[Any] | None" = None) -> None:
        """`doc`: a copy to go on with. By default it has an empty one."""
        self.socket = socket
        self.doc: pycrdt.Doc[Any] = pycrdt.Doc() if doc is None else doc
        self._recent = Recent(self.doc)
        self._text = self.doc.get("text", type=pycrdt.Text)
        self._updates: list[bytes] = []
        self._subscription = self.doc.observe(lambda event: self._updates.append(event.update))
        self.answers = True
        """Whether it answers step 1 of the gateway."""
        self.received: list[tuple[int, int, bytes]] = []
        """Each message that came: its kind, its step if it is one of sync, and its contents."""
        self.close_code: int | None = None
        self.received_bytes = 0
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def connect(
        cls,
        url: str,
        room: str,
        name: str = "notes",
        query: str = "",
        doc: "pycrdt.Doc[Any] | None" = None,
        **options: Any,
    ) -> Self:
        """`url`: of the rooms of the gateway."""
        address = f"{url.removesuffix('/ws')}/documents/{room}/{name}{query}"
        return cls(await websockets.connect(address, open_timeout=DEADLINE_SECONDS, max_size=None, **options), doc)

    @property
    def text(self) -> str:
        return str(self._text)

    # --- sending ------------------------------------------------------------------------------------------

    async def send(self, kind: int, step: int, contents: bytes) -> None:
        await self.socket.send(bytes((kind, step)) + data(contents))

    async def begin_sync(self) -> None:
        await self.send(SYNC, STEP_1, self.doc.get_state())

    async def sync(self) -> None:
        """Returns when the gateway says that everything is stored."""
        before = self.count(SYNC, STEP_2)
        await self.begin_sync()
        await eventually(lambda: self.count(SYNC, STEP_2) > before, "the editor is synced")

    def write(self, text: str, at: int | None = None) -> bytes:
        """Change the own copy. Returns the update, which was not sent."""
        self._updates.clear()
        self._text.insert(len(self._text) if at is None else at, text)
        return self._updates[-1]

    def erase(self) -> bytes:
        """Delete everything in the own copy. Returns the update, which was not sent."""
        self._updates.clear()
        self._text.clear()
        return self._updates[-1]

    async def edit(self, text: str) -> None:
        await self.send(SYNC, UPDATE, self.write(text))

    async def close(self) -> None:
        await self.socket.close()
        await self.ended()

    @property
    def has_ended(self) -> bool:
        return self._reader.done()

    async def ended(self) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._reader

    # --- receiving ----------------------------------------------------------------------------------------

    def count(self, kind: int, step: int = 0) -> int:
        return sum(one[:2] == (kind, step) for one in self.received)

    async def has(self, *parts: str) -> None:
        await eventually(lambda: all(part in self.text for part in parts), f"{parts} are in the document")

    async def _read(self) -> None:
        with suppress(websockets.ConnectionClosed):
            async for message in self.socket:
                assert isinstance(message, bytes)
                self.received_bytes += len(message)
                await self._take(Reader(message))
        self.close_code = self.socket.close_code

    async def _take(self, reader: Reader) -> None:
        kind = reader.number()
        step = reader.number() if kind in {SYNC, AUTH} else 0
        contents = reader.data()
        self.received.append((kind, step, contents))
        if kind == SYNC and step in {STEP_2, UPDATE}:
            self._recent.apply(contents)
        elif kind == SYNC and self.answers:
            await self.send(SYNC, STEP_2, self.doc.get_update(contents))


@asynccontextmanager
async def editors(room: str, *urls: str, name: str = "notes") -> AsyncIterator[list[Editor]]:
    """An editor at each address, synced."""
    opened = [await Editor.connect(url, room, name) for url in urls]
    try:
        for editor in opened:
            await editor.sync()
        yield opened
    finally:
        for editor in opened:
            await editor.close()
