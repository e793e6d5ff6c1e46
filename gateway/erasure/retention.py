"""The retention of rooms: stores it, and erases what has become too old.

Every gateway can do so. A claim in the bucket, which NATS removes after a while, lets one of them begin at a time. A
gateway that dies leaves the rest to the next pass, because each pass finds by itself what is too old.
"""

import asyncio
import random
import time
from base64 import b64decode
from datetime import UTC, datetime

from studyroom.gateway.chat.stream import ChatStream
from studyroom.gateway.erasure.documents import DocumentErasure
from studyroom.gateway.erasure.erasures import Erasures, TooManyErasures
from studyroom.gateway.http.audit import Trail
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.batches import read_all
from studyroom.shared.chassis.nats.bus import API_TIMEOUT_SECONDS, Bus, BusError, Conflict
from studyroom.shared.contract.audit import Action, AuditRecord, Outcome
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.headers import EXPECTED_SEQUENCE, TTL, removal
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.retention import Retention
from studyroom.shared.contract.retention_subjects import (
    RETENTION_CLAIM,
    RETENTION_ROOMS,
    RETENTION_STREAM,
    parse_retention_key,
    retention_key,
)

log = logs.get(__name__)

BY = "retention"
"""The caller in records of erasures that follow from the retention of a room."""
_LOOK_SECONDS = 60.0
"""The longest time between two attempts to claim a pass."""
_MARKER_SECONDS = 60
_AT_ONCE = 50
"""Rooms at once in a pass. An erasure waits some seconds for gateways to read the chat again."""
_PART = 1000
"""Rooms for which a pass has tasks at a time."""


class Policies:
    """The bucket. Methods raise BusError."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def put(self, room: RoomId, retention: Retention) -> None:
        """Returns when it is stored. Raises StorageFull if there is no room for it."""
        await self._bus.store(retention_key(room), retention.encode(), {}, timeout_seconds=API_TIMEOUT_SECONDS)

    async def remove(self, room: RoomId) -> None:
        """Succeeds also if there is none."""
        headers = removal(_MARKER_SECONDS)
        await self._bus.store(retention_key(room), b"", headers, timeout_seconds=API_TIMEOUT_SECONDS)

    async def get(self, room: RoomId) -> Retention | None:
        """The retention of a room, from the leader; None if it has none of its own."""
        found = await self._bus.stored(RETENTION_STREAM, {"last_by_subj": retention_key(room)})
        data = b64decode(found.get("data", "")) if found is not None else b""
        return Retention.decode(data) if data else None

    async def all(self) -> dict[RoomId, Retention]:
        """The retention of all rooms that have one, from any replica."""
        found = {}
        for read in await read_all(self._bus, RETENTION_STREAM, RETENTION_ROOMS):
            if not read.data:
                continue  # it was removed
            try:
                found[parse_retention_key(read.subject)] = Retention.decode(read.data)
            except ValueError as error:
                log.error("cannot decode the retention of a room", key=read.subject, error=str(error))
        return found

    async def claim(self, seconds: int) -> bool:
        """Whether this gateway may begin a pass. If so, no other one begins one for so many seconds."""
        headers = {TTL: str(seconds), EXPECTED_SEQUENCE: "0"}
        try:
            await self._bus.store(RETENTION_CLAIM, b"", headers, timeout_seconds=API_TIMEOUT_SECONDS)
        except Conflict:
            return False
        return True


class Expiry:
    """Applies the retention of rooms."""

    def __init__(
        self,
        policies: Policies,
        streams: ByGroup[ChatStream],
        erasures: Erasures,
        documents: DocumentErasure | None,
        trail: Trail,
    ) -> None:
        """`documents`: None where there are no shared documents."""
        self._policies = policies
        self._streams = streams
        self._erasures = erasures
        self._documents = documents
        self._trail = trail

    async def run(self, every_seconds: int) -> None:
        """Apply the retention of all rooms that often, on one gateway. Never returns."""
        while True:
            await asyncio.sleep(min(every_seconds / 4, _LOOK_SECONDS) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            try:
                if await self._policies.claim(every_seconds):
                    await self._apply_all()
            except BusError as error:
                log.info("cannot look at the retention of rooms, trying again", error=str(error))

    async def _apply_all(self) -> None:
        """Raises BusError."""
        policies = list((await self._policies.all()).items())
        slots = asyncio.Semaphore(_AT_ONCE)

        async def apply(room: RoomId, retention: Retention) -> None:
            async with slots:
                await self.apply(room, retention)

        for start in range(0, len(policies), _PART):
            await asyncio.gather(*(apply(room, retention) for room, retention in policies[start : start + _PART]))

    async def apply(self, room: RoomId, retention: Retention) -> None:
        """Erase what is too old in a room. After a failure, the next pass does it."""
        try:
            if retention.messages_seconds is not None:
                await self._expire_messages(room, retention, retention.messages_seconds)
            if retention.versions_seconds is not None and self._documents is not None:
                await self._expire_versions(self._documents, room, retention, retention.versions_seconds)
        except (BusError, TimeoutError, TooManyErasures) as error:
            log.warning("could not apply the retention of a room", room=room, error=str(error) or "no answer in time")

    async def _holds(self, room: RoomId, retention: Retention) -> bool:
        """Whether the retention of the room is still this one. A pass with many rooms takes long. Raises BusError."""
        return await self._policies.get(room) == retention

    async def _expire_messages(self, room: RoomId, retention: Retention, seconds: int) -> None:
        """Raises BusError, TimeoutError or TooManyErasures."""
        before = int(time.time()) - seconds
        has_some = await self._streams.of(room).has_until(room, datetime.fromtimestamp(before, UTC))
        if has_some and await self._holds(room, retention):
            await self._erasures.expire_messages(room, before, BY)

    async def _expire_versions(
        self, documents: DocumentErasure, room: RoomId, retention: Retention, seconds: int
    ) -> None:
        """Raises BusError."""
        before = int(time.time()) - seconds
        if not await self._holds(room, retention):
            return
        expired = await documents.expire_versions(room, datetime.fromtimestamp(before, UTC))
        if expired:
            record = AuditRecord(
                action=Action.ERASE_OLD_VERSIONS, target=room, by=BY, outcome=Outcome.DONE, versions=expired,
                before=before,
            )  # fmt: skip
            await self._trail.write(record)
            log.info("deleted old versions of documents", room=room, count=expired)
