"""The shared documents of a round: their editors, and the comparison of all copies at rest."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from studyroom.services.documents.log import DocumentKey
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.ids import RoomId
from tests.faults import document_copies, node_editors
from tests.faults.copies import NotRead
from tests.faults.document_rules import Contents, Edit, copies_differ, incomplete_opens, lost_edits
from tests.faults.editors import PythonEditor, Writer
from tests.faults.node_editors import NodeCrowd, NodeEditor
from tests.faults.system import System

DOCUMENTS, EDITORS = 2, 4


class Desk:
    """Documents and their editors."""

    def __init__(self, system: System, seed: int, *, documents: int = DOCUMENTS, editors: int = EDITORS) -> None:
        self._system = system
        dice = random.Random(f"documents {seed}")
        self._keys = [
            DocumentKey(RoomId(str(UUID(int=dice.getrandbits(128)))), DocumentName(f"notes-{number}"))
            for number in range(documents)
        ]
        self.edits: dict[str, Edit] = {}
        self._newcomers = 0
        self._has_ended = False
        self._node = NodeCrowd()
        self.editors: list[Writer] = [self._editor(number, dice) for number in range(editors)]

    def _editor(self, number: int, dice: random.Random) -> Writer:
        """Every document has one of pycrdt and one of Yjs, in turn with one provider and the other."""
        key, turn = self._keys[number % len(self._keys)], number // len(self._keys)
        own = random.Random(dice.getrandbits(64))
        if turn % 2 == 0 or node_editors.why_not():
            return PythonEditor(self._system, key, f"pycrdt-{number}", own, self.edits)
        provider = node_editors.PROVIDERS[number % len(node_editors.PROVIDERS)]
        editor = NodeEditor(self._system, key, f"{provider}-{number}", own, self.edits)
        self._node.add(editor, provider)
        return editor

    @classmethod
    @asynccontextmanager
    async def open(cls, system: System, seed: int, **size: int) -> AsyncIterator["Desk"]:
        desk = cls(system, seed, **size)
        await desk._node.start()
        try:
            yield desk
        finally:
            await desk.end()

    async def end(self) -> None:
        """Close all documents. Calling it again changes nothing."""
        if self._has_ended:
            return
        self._has_ended = True
        await asyncio.gather(*(editor.close() for editor in self.editors))
        await self._node.stop()

    async def settle(self) -> None:
        await asyncio.gather(*(editor.settle() for editor in self.editors))

    def work(self, resting: asyncio.Event) -> list["asyncio.Task[None]"]:
        return [asyncio.create_task(editor.work(resting)) for editor in self.editors]

    async def save(self, directory: Path, name: str) -> None:
        """Write all copies and edits into files, to look at later."""
        for editor in self.editors:
            (directory / f"{name}-{editor.name}.yjs").write_bytes(await editor.state())
        edits = [str(edit) for edit in self.edits.values()]
        (directory / f"{name}-edits.txt").write_text("\n".join(edits))

    # --- judgement ----------------------------------------------------------------------------------------

    async def differences(self) -> list[str]:
        """How copies differ. Those that take longer to read are read when the others agree."""
        try:
            stored = await asyncio.gather(*(document_copies.stored_on(node, self._keys) for node in self._system.nodes))
            first = stored[0]
            found = self._differ(
                first,
                {
                    key: {
                        **{node.name: one[key] for node, one in zip(self._system.nodes, stored, strict=True)},
                        **{editor.name: await editor.contents() for editor in self.editors if editor.document == key},
                    }
                    for key in self._keys
                },
            )
            found += lost_edits(self.edits.values(), first, self._voids, self._forgot)
            for read in (document_copies.answered, document_copies.opened):
                if not found:
                    found += self._differ(first, await read(self._system, self._keys))
        except (NotRead, TimeoutError) as error:
            return [f"documents cannot be read: {error!r}"]
        return found

    def _differ(self, stored: dict[DocumentKey, Contents], copies: document_copies.Copies) -> list[str]:
        now = time.monotonic()
        return [
            difference
            for key, some in copies.items()
            for difference in copies_differ(key, {"the store": stored[key], **some}, self.edits, now)
        ]

    @property
    def _voids(self) -> list[float]:
        return [*self._system.losses, *self._system.setbacks]

    @property
    def _forgot(self) -> dict[str, float]:
        return {editor.name: editor.forgot for editor in self.editors if editor.forgot is not None}

    def judge(self, excused: Collection[tuple[float, float]]) -> list[str]:
        """The violations before all was at rest. `excused`: the times at which NATS was broken."""
        found = []
        for editor in self.editors:
            found += [*editor.complaints, *incomplete_opens(editor.opened, self.edits, excused)]
            self._newcomers += len(editor.opened)
            editor.complaints.clear()
            editor.opened.clear()
        return found

    def judged(self, began: float) -> Counter[str]:
        """How often there was something to judge since then, and since the last call."""
        edits = [edit for edit in self.edits.values() if edit.made >= began]
        newcomers, self._newcomers = self._newcomers, 0
        return Counter(
            {
                "edits of documents": len(edits),
                "edits of documents that were acknowledged": sum(edit.acknowledged is not None for edit in edits),
                "documents that newcomers opened": newcomers,
            }
        )
