"""Faults of the storage of NATS: older stores, torn ends, full disks, purged rooms. Each returns how to heal it."""

import asyncio
import json
import random
import shutil
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import nats

from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import RoomId
from tests.faults.checker import Purge
from tests.faults.system import NODES, System
from tests.support.processes import NatsServer

Heal = Callable[[], Awaitable[None]]
_KEPT_WHEN_TRIMMED = 5
_TORN_BYTES = 2048
_STORES = threading.Lock()
"""Two faults of one round may replace the store of the same server."""


# --- older stores ------------------------------------------------------------------------------------------


async def restore_one(system: System, target: int) -> Heal:
    """A server comes back with the disk of some time ago. The others know better."""
    return await _older_stores(system, [system.nodes[target]])


async def restore_all(system: System, _target: int) -> Heal:
    """All servers come back with the disks of one moment ago: later messages are gone."""
    return await _older_stores(system, system.nodes)


async def _older_stores(system: System, nodes: list[NatsServer]) -> Heal:
    copies = await asyncio.to_thread(_snapshot, system, nodes)

    async def heal() -> None:
        for node in nodes:
            await system.hold(node)
        if len(nodes) == NODES:
            system.setbacks.append(time.monotonic())
        await asyncio.to_thread(_restore, system, nodes, copies)
        for node in nodes:
            system.release(node)

    return heal


def _snapshot(system: System, nodes: list[NatsServer]) -> list[Path]:
    """Copies of one moment: nobody writes meanwhile."""
    copies = [node.log.parent / "older" for node in nodes]
    standing = [node for node in nodes if node.running]
    try:
        for node in standing:
            node.signal(signal.SIGSTOP)
        with _STORES:
            for node, copy in zip(nodes, copies, strict=True):
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(system.store_of(node), copy)
    finally:
        for node in standing:
            node.signal(signal.SIGCONT)
    return copies


def _restore(system: System, nodes: list[NatsServer], copies: list[Path]) -> None:
    for node, copy in zip(nodes, copies, strict=True):
        with _STORES:
            system.clear_store(node)
            shutil.copytree(copy, system.store_of(node), dirs_exist_ok=True)


# --- torn and full -----------------------------------------------------------------------------------------


async def tear_one(system: System, target: int) -> Heal:
    """A server loses its power: the ends of its newest files were not written."""
    node = system.nodes[target]
    await system.hold(node)
    await asyncio.to_thread(_tear, system.store_of(node))

    async def heal() -> None:
        system.release(node)

    return heal


def _tear(store: Path) -> None:
    newest: dict[Path, Path] = {}
    for block in store.rglob("*.blk"):
        other = newest.get(block.parent)
        if other is None or int(block.stem) > int(other.stem):
            newest[block.parent] = block
    for block in newest.values():
        size = block.stat().st_size
        with block.open("r+b") as file:
            file.truncate(max(0, size - random.randrange(_TORN_BYTES)))
    for state in store.rglob("index.db"):
        state.unlink()  # it describes data that is gone


async def fill_one(system: System, target: int) -> Heal:
    return await _fill(system, [system.nodes[target]])


async def fill_all(system: System, _target: int) -> Heal:
    return await _fill(system, system.nodes)


async def _fill(system: System, nodes: list[NatsServer]) -> Heal:
    for node in nodes:
        await asyncio.to_thread(system.disks.fill, system.store_of(node))

    async def heal() -> None:
        """Somebody makes room, and starts the server again: it does not go on by itself."""
        for node in nodes:
            system.disks.empty(system.store_of(node))
            await system.end(node)
            system.begin(node)

    return heal


# --- acts of operators -------------------------------------------------------------------------------------


async def purge_room(system: System, _target: int) -> Heal:
    return await _purge(system, keep=0)


async def trim_room(system: System, _target: int) -> Heal:
    return await _purge(system, keep=_KEPT_WHEN_TRIMMED)


async def _purge(system: System, *, keep: int) -> Heal:
    """The room that has most. Tried until it is done, since other faults may be at work."""

    async def once() -> bool:
        connection = await system.connect()
        try:
            answer = await connection.request(
                f"$JS.API.STREAM.INFO.{subjects.CHAT_STREAM}",
                json.dumps({"subjects_filter": subjects.CHAT_SUBJECTS}).encode(),
            )
            counts = json.loads(answer.data).get("state", {}).get("subjects") or {}
            if not counts:
                return True
            subject = max(counts, key=lambda one: (counts[one], one))
            last = json.dumps({"last_by_subj": subject}).encode()
            answer = await connection.request(f"$JS.API.STREAM.MSG.GET.{subjects.CHAT_STREAM}", last)
            up_to = json.loads(answer.data)["message"]["seq"]
            room = RoomId(subject.rsplit(".", 1)[1])
            # The purge is noted first: clients may learn of it before the answer is here.
            system.purges.append(Purge(room, up_to, time.monotonic(), all_of_it=not keep))
            request = {"filter": subject, "seq": up_to + 1} if not keep else {"filter": subject, "keep": keep}
            await connection.request(f"$JS.API.STREAM.PURGE.{subjects.CHAT_STREAM}", json.dumps(request).encode())
        finally:
            await connection.close()
        return True

    async def heal() -> None:
        try:
            await once()
        except (OSError, TimeoutError, KeyError, nats.errors.Error):
            """Nobody answers: then nothing is purged."""

    return heal
