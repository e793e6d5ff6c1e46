"""Editors with the providers that applications use, in one process of Node (`web/client/tests/support/editors.mjs`)."""

import asyncio
import json
import shutil
from base64 import b64decode
from pathlib import Path
from typing import Any

from tests.faults.document_rules import Contents, Edit, shown
from tests.faults.editors import Writer

_WEB = Path(__file__).parents[2] / "web"
_SCRIPT = _WEB / "client" / "tests" / "support" / "editors.mjs"
_ANSWER_SECONDS = 10.0
_LINE_MAX_BYTES = 64 * 1024 * 1024
PROVIDERS = ("y-websocket", "hocuspocus")


def why_not() -> str:
    """Why there are none on this machine; empty where there are."""
    return (
        "" if shutil.which("node") and (_WEB / "node_modules" / "yjs").exists() else "without Node and web/node_modules"
    )


class NodeCrowd:
    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._editors: dict[int, NodeEditor] = {}
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._questions = 0

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            "node", str(_SCRIPT), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE_MAX_BYTES
        )
        self._reading = asyncio.create_task(self._read())

    def add(self, editor: "NodeEditor", provider: str) -> None:
        editor.node, editor.number, editor.provider = self, len(self._editors), provider
        self._editors[editor.number] = editor

    async def stop(self) -> None:
        if self._process is not None and self._reading is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()
            await self._reading

    def tell(self, editor: int, **command: Any) -> None:
        """Raises AssertionError when the process has ended, as after an exception that nothing has handled."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.returncode is None, "the process of editors has ended"
        self._process.stdin.write(json.dumps({"editor": editor, **command}).encode() + b"\n")

    async def ask(self, editor: int) -> dict[str, Any]:
        """The state of an editor."""
        self._questions += 1
        question = self._questions
        answer = self._answers[question] = asyncio.get_running_loop().create_future()
        self.tell(editor, do="tell", question=question)
        async with asyncio.timeout(_ANSWER_SECONDS):
            found: dict[str, Any] = await answer
        return found

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            event = json.loads(line)
            if "question" in event:
                self._answers.pop(event["question"]).set_result(event)
            elif event["editor"] in self._editors:
                self._editors[event["editor"]].take(event)


def contents_of(answer: dict[str, Any]) -> Contents:
    """The contents of the copy of an editor, as Yjs shows them, and not as pycrdt would."""
    contents = Contents.of(b64decode(answer["state"]))
    return Contents(contents.vector, contents.edits, shown(answer["shown"]))


class NodeEditor(Writer):
    """An editor of `editors.mjs`, with a provider that applications use."""

    def prepare(self) -> None:
        self.node = NodeCrowd()
        self.number = 0
        self.provider = ""
        self._is_open = self._synced = False

    @property
    def connected(self) -> bool:
        return self._is_open

    @property
    def synced(self) -> bool:
        return self._is_open and self._synced

    async def open(self, gateway: int) -> None:
        """Providers connect again by themselves."""
        self.gateway = gateway
        base = self.system.gateways[gateway].url.removesuffix("/ws")
        url = f"{base}/documents/{self.document.room}"
        self.node.tell(self.number, do="open", provider=self.provider, url=url, name=self.document.name)
        self._is_open = True

    async def close(self) -> None:
        self.node.tell(self.number, do="close")
        self._is_open = self._synced = False

    async def forget_copy(self) -> None:
        self.node.tell(self.number, do="forget")
        self._is_open = self._synced = False

    async def change(self, edit: Edit) -> None:
        self.node.tell(self.number, do="edit", id=edit.id, seed=self.dice.getrandbits(32))

    async def catch_up(self) -> None:
        if self._is_open:
            answer = await self.node.ask(self.number)
            self._synced = answer["synced"]

    async def withhold(self) -> None:
        """Providers send in order."""

    async def state(self) -> bytes:
        return b64decode((await self.node.ask(self.number))["state"])

    async def contents(self) -> Contents:
        return contents_of(await self.node.ask(self.number))

    def take(self, event: dict[str, Any]) -> None:
        if "acknowledged" in event:
            self.acknowledge(event["acknowledged"])
        elif "refused" in event:
            self.refused(event["refused"])
        elif "closed" in event:
            self.closed(event["closed"])
