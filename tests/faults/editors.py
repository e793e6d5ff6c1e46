"""Editors who change shared documents while faults happen, and remember which edits the server has acknowledged."""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pycrdt
from websockets.exceptions import InvalidHandshake, InvalidMessage, WebSocketException

from studyroom.services.documents.log import DocumentKey
from tests.faults.document_rules import Contents, Edit, Opened
from tests.faults.system import System
from tests.support.editor import AUTH, STEP_2, SYNC, UPDATE, Editor, Recent

_RETRY_SECONDS = (0.1, 1.0)
_PAUSE_SECONDS = (0.05, 0.4)
_SETTLE_SECONDS = 45.0
"""Providers notice a silent socket after 30 s."""
_CONNECT_SECONDS = 4.0
_BURST = 4
_NAMED = 3
_ACTS = {"edit": 20, "move": 1, "offline": 1, "forget": 1, "withhold": 1}
_TEXT_MAX, _LIST_MAX = 1500, 100
_LETTERS = "ab é漢\n"
_USUAL_CODES = frozenset({1000, 1001, 1005, 1006, 1012})
"""The codes with which a gateway ends connections that it should not have ended otherwise: it stops, or has died."""


@dataclass
class Writer(ABC):
    """One person with a document open. Copies are kept over connections, so what was lost can be sent again."""

    system: System
    document: DocumentKey
    name: str
    dice: random.Random
    edits: dict[str, Edit]
    """The edits of all editors by id."""
    waiting: dict[str, Edit] = field(default_factory=dict)
    """Own edits that were not acknowledged."""
    made: int = 0
    forgot: float | None = None
    """When it forgot its copy the last time."""
    complaints: list[str] = field(default_factory=list)
    """Refused edits, and connections that were ended for no reason that there was."""
    opened: list[Opened] = field(default_factory=list)
    gateway: int = 0
    _fresh: tuple[float, frozenset[str]] | None = None
    """When it opened an empty copy, and the edits that were acknowledged by then."""

    def __post_init__(self) -> None:
        self.prepare()

    # --- what a kind of editor can do ---

    @abstractmethod
    def prepare(self) -> None:
        """Come before everything else."""

    @property
    @abstractmethod
    def connected(self) -> bool: ...

    @property
    @abstractmethod
    def synced(self) -> bool:
        """Whether its user sees that everything is saved."""

    @abstractmethod
    async def open(self, gateway: int) -> None:
        """Connect with the copy that it has. It may fail."""

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def forget_copy(self) -> None: ...

    @abstractmethod
    async def change(self, edit: Edit) -> None: ...

    @abstractmethod
    async def state(self) -> bytes:
        """The copy as one update."""

    async def contents(self) -> Contents:
        return Contents.of(await self.state())

    @abstractmethod
    async def catch_up(self) -> None:
        """Take in what came since the last call."""

    @abstractmethod
    async def withhold(self) -> None:
        """Send an edit later than the next one, if it can."""

    async def end(self) -> None:
        await self.close()

    # --- work ---

    async def work(self, resting: asyncio.Event) -> None:
        while not resting.is_set():
            await self._keep_open()
            await self._act()
            await asyncio.sleep(self.dice.uniform(*_PAUSE_SECONDS))

    async def _act(self) -> None:
        match self.dice.choices(list(_ACTS), list(_ACTS.values()))[0]:
            case "edit":
                await self.make(self.dice.randint(1, _BURST))
            case "move":
                await self.close()
            case "offline":
                await self.close()
                await self.make(self.dice.randint(1, _BURST))
                await asyncio.sleep(self.dice.uniform(0.2, 1.5))
            case "forget":
                await self.catch_up()
                if self.synced and not self.waiting:
                    await self._forget()
            case "withhold":
                await self.withhold()

    async def make(self, count: int) -> None:
        for _ in range(count):
            self.made += 1
            edit = Edit(self.document, f"{self.name}-{self.made}", self.name, time.monotonic())
            self.edits[edit.id] = self.waiting[edit.id] = edit
            await self.change(edit)

    def acknowledge(self, ids: list[str]) -> None:
        for one in ids:
            if edit := self.waiting.pop(one, None):
                edit.acknowledged = time.monotonic()

    async def _forget(self) -> None:
        """Lose the copy, like a page that is loaded again."""
        await self.forget_copy()
        self.forgot = time.monotonic()
        known = frozenset(
            edit.id for edit in self.edits.values() if edit.document == self.document and edit.acknowledged is not None
        )
        self._fresh = self.forgot, known

    async def _keep_open(self) -> None:
        await self.catch_up()
        if not self.connected:
            await self.open(self.dice.randrange(len(self.system.gateways)))
        elif self.synced and self._fresh is not None:
            (asked, known), self._fresh = self._fresh, None
            got = (await self.contents()).edits
            self.opened.append(Opened(self.document, self.name, asked, time.monotonic(), known - got))

    def closed(self, code: int | None) -> None:
        if code is not None and code not in _USUAL_CODES:
            self.complaints.append(f"gateway {self.gateway} closed {self.name} with {code}")

    def refused(self, reason: str) -> None:
        self.complaints.append(f"gateway {self.gateway} refused an edit of {self.name}: {reason}")

    async def settle(self) -> None:
        """Returns when everything that it has written is acknowledged."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            await self._keep_open()
            if self.synced and not self.waiting and self._fresh is None:
                return
            lacking = f"{len(self.waiting)} edits: {', '.join(map(str, list(self.waiting.values())[:_NAMED]))}"
            assert time.monotonic() < deadline, (
                f"{self.name} on gateway {self.gateway} could not settle in {self.document}: "
                f"connected {self.connected}, synced {self.synced}, "
                f"{len(self.waiting)} edits not acknowledged: {lacking}"
            )
            await asyncio.sleep(0.1)


# --- pycrdt ------------------------------------------------------------------------------------------------


class _Connection(Editor):
    """Remembers what it answered to step 1."""

    answered: tuple[list[str], bytes] | None = None
    """Its edits and its whole document when it answered for the first time."""
    waiting: dict[str, Edit]
    confirmed: Any
    stored: Recent
    """Applies updates to `confirmed`."""
    read: int = 0
    is_synced: bool = False

    async def send(self, kind: int, step: int, contents: bytes) -> None:
        if (kind, step) == (SYNC, STEP_2) and self.answered is None:
            self.answered = list(self.waiting), self.doc.get_update()
        await super().send(kind, step, contents)


class PythonEditor(Writer):
    """Speaks the protocol of y-websocket itself. Its messages may overtake each other, as on two connections."""

    def prepare(self) -> None:
        self._connection: _Connection | None = None
        self._withheld: deque[bytes] = deque()
        self._awaited = ""
        """The edit that was withheld last, for which others wait. Only when it is stored they are in the document."""
        self._doc = self._new_doc()

    def _new_doc(self) -> "pycrdt.Doc[Any]":
        doc: pycrdt.Doc[Any] = pycrdt.Doc()
        self._updates: list[bytes] = []
        self._subscription = doc.observe(lambda event: self._updates.append(event.update))
        return doc

    @property
    def connected(self) -> bool:
        return self._connection is not None and not self._connection.has_ended

    @property
    def synced(self) -> bool:
        return self._connection is not None and self.connected and self._connection.is_synced

    async def open(self, gateway: int) -> None:
        await self.close()
        self.gateway = gateway
        self._withheld.clear()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                url = self.system.gateways[gateway].url
                connection = await _Connection.connect(url, self.document.room, self.document.name, doc=self._doc)
        except (OSError, EOFError, TimeoutError, InvalidHandshake, InvalidMessage, WebSocketException):
            await asyncio.sleep(self.dice.uniform(*_RETRY_SECONDS))
            return
        connection.waiting, connection.confirmed = self.waiting, pycrdt.Doc()
        connection.stored = Recent(connection.confirmed)
        self._connection = connection
        await self._send(connection.begin_sync())

    async def _send(self, sending: Any) -> None:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await sending
        except (OSError, TimeoutError, WebSocketException):
            await self.close()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._take(connection)
            connection.socket.transport.abort()
            await connection.ended()

    async def forget_copy(self) -> None:
        await self.close()
        self._doc = self._new_doc()

    async def change(self, edit: Edit) -> None:
        update = self._change(edit)
        if self._connection is not None and self.connected:
            await self._send(self._connection.send(SYNC, UPDATE, update))

    def _change(self, edit: Edit) -> bytes:
        self._updates.clear()
        change(self._doc, edit.id, self.dice)
        return self._updates[-1]

    async def withhold(self) -> None:
        """The edits that follow wait for this one, in every copy."""
        if not self.synced or self._withheld:
            return
        self.made += 1
        edit = Edit(self.document, f"{self.name}-{self.made}", self.name, time.monotonic())
        self.edits[edit.id] = self.waiting[edit.id] = edit
        self._withheld.append(self._change(edit))
        self._awaited = edit.id
        await self.make(2)
        await asyncio.sleep(self.dice.uniform(0.5, 2.0))
        while self._withheld:
            update = self._withheld.popleft()
            if self._connection is not None and self.connected:
                await self._send(self._connection.send(SYNC, UPDATE, update))

    async def catch_up(self) -> None:
        if self._connection is not None:
            self._take(self._connection)
            if not self.connected:
                self.closed(self._connection.close_code)
                await self.close()

    def _take(self, connection: _Connection) -> None:
        received = connection.received[connection.read :]
        connection.read += len(received)
        for kind, step, contents in received:
            if (kind, step) in {(SYNC, STEP_2), (SYNC, UPDATE)}:
                connection.is_synced = connection.is_synced or step == STEP_2
                if step == STEP_2 and connection.answered is not None:
                    ids, state = connection.answered
                    connection.stored.apply(state)
                    self.acknowledge(ids)
                connection.stored.apply(contents)
            elif kind == AUTH:
                self.refused(contents.decode())
        if received and self.waiting:
            stored = connection.confirmed.get("edits", type=pycrdt.Map)
            if self._awaited not in self.waiting or self._awaited in stored:
                self.acknowledge([one for one in self.waiting if one in stored])

    async def state(self) -> bytes:
        return self._doc.get_update()


def change(doc: "pycrdt.Doc[Any]", edit: str, dice: random.Random) -> None:
    """Change a random part of the document, with the id of the edit beside it in the same transaction."""
    text = doc.get("text", type=pycrdt.Text)
    edits, nested = doc.get("edits", type=pycrdt.Map), doc.get("nested", type=pycrdt.Map)
    list_ = doc.get("list", type=pycrdt.Array)
    shown, name = str(text), f"k{dice.randrange(5)}"

    def place() -> int:
        """Between two characters. pycrdt counts in bytes."""
        return len(shown[: dice.randint(0, len(shown))].encode())

    start, end = sorted((place(), place()))
    with doc.transaction():
        edits[edit] = "made"
        kind = dice.randrange(8)
        if kind == 0 or len(shown) > _TEXT_MAX:
            del text[start:end]
        elif kind == 1:
            text.format(start, end, {"bold": True if dice.random() < 0.5 else None})
        elif kind <= 3:
            text.insert(start, "".join(dice.choices(_LETTERS, k=dice.randint(1, 6))))
        elif kind == 4:
            list_.insert(dice.randint(0, len(list_)), edit)
        elif kind == 5 and len(list_):
            del list_[dice.randrange(len(list_))]
        elif kind == 6:
            nested[name] = pycrdt.Map({"by": edit})
        elif name in nested and isinstance(nested[name], pycrdt.Map):
            nested[name]["list"] = pycrdt.Array([edit, "x"])
        elif name in nested:
            del nested[name]
        if len(list_) > _LIST_MAX:
            del list_[: _LIST_MAX // 2]
