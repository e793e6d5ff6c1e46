"""The bucket of the hooks service, from which another replica can go on.

For each group of shards: the lease of the replica that works on it, the positions in the sources up to which events are
in the log, the position in the log up to which they are delivered, the rooms that are behind this position, and the
members about whom the newest event is that they joined.
"""

import asyncio
import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from studyroom.services.hooks.events import SourceName
from studyroom.services.hooks.keys import KeyReader
from studyroom.services.hooks.positions import Position
from studyroom.shared.chassis.nats.bus import API_TIMEOUT_SECONDS, Bus
from studyroom.shared.contract import hook_subjects, subjects
from studyroom.shared.contract.groups import Group
from studyroom.shared.contract.headers import EXPECTED_SEQUENCE, TTL, removal
from studyroom.shared.contract.ids import RoomId, UserId

_MARKER_SECONDS = 60
_AT_ONCE = 256
_STREAM = hook_subjects.HOOKS_BUCKET_STREAM


class Bucket:
    """The keys of one group of shards. All methods raise BusError, and writes Conflict if another replica writes."""

    def __init__(self, bus: Bus, group: Group) -> None:
        self._bus = bus
        self._group = group
        self._token = f"{group.number}-{group.count}"
        self._reader = KeyReader(bus, _STREAM)
        self._revisions: dict[str, int] = {}
        """The sequence of the newest value of each key that only one replica at a time writes."""

    async def open(self) -> None:
        await self._reader.open()

    # --- positions ----------------------------------------------------------------------------------------

    async def collected(self) -> dict[SourceName, Position] | None:
        """Return the position in each source up to which its events are in the log; None if there never was one."""
        value = await self._load("collected")
        return {SourceName(name): Position(**at) for name, at in value.items()} if value is not None else None

    async def save_collected(self, positions: Mapping[SourceName, Position]) -> None:
        await self._save("collected", {name.value: asdict(position) for name, position in positions.items()})

    async def delivered(self) -> Position | None:
        """Return the position in the log up to which everything is delivered, except for late rooms."""
        value = await self._load("delivered")
        return Position(**value) if value is not None else None

    async def save_delivered(self, position: Position) -> None:
        await self._save("delivered", asdict(position))

    async def late_rooms(self) -> dict[RoomId, int]:
        """Return the position in the log of each room that is behind the others."""
        found = {}
        for key, value in (await self._reader.all(hook_subjects.HOOKS_ROOMS)).items():
            token, room = hook_subjects.parse_hooks_room(key)
            if token == self._token:
                found[room] = int(value)
        return found

    async def save_late_rooms(self, positions: Mapping[RoomId, int | None]) -> None:
        """Save the position of each room; None for a room that is not late any more."""
        await self._write_all({hook_subjects.hooks_room(self._token, room): at for room, at in positions.items()})

    # --- members ------------------------------------------------------------------------------------------

    async def members(self) -> dict[tuple[RoomId, UserId], str]:
        """Return the names of the members about whom the newest event is that they joined."""
        found = {}
        for key, value in (await self._reader.all(hook_subjects.HOOKS_MEMBERS)).items():
            room, user = hook_subjects.parse_hooks_member(key)
            if subjects.shard_of(room) in self._group.shards:
                found[room, user] = str(json.loads(value))
        return found

    async def save_members(self, members: Mapping[tuple[RoomId, UserId], str | None]) -> None:
        """Save the name of each member; None for one that is gone."""
        await self._write_all({hook_subjects.hooks_member(*member): name for member, name in members.items()})

    # --- the lease ----------------------------------------------------------------------------------------

    async def lease(self) -> tuple[str, int]:
        """Return who holds the lease, empty for nobody, and the sequence that the next write must expect."""
        message = await self._bus.stored(_STREAM, {"last_by_subj": self._key("lease")})
        if message is None:
            return "", 0
        return b64decode(message.get("data", "")).decode(), message["seq"]

    async def write_lease(self, holder: str, *, expected: int, seconds: int, timeout_seconds: float) -> int:
        """Write the lease, which ends after so many seconds. `holder`: empty to give it up. Return the sequence."""
        headers = {TTL: str(seconds), EXPECTED_SEQUENCE: str(expected)}
        stored = await self._bus.store(self._key("lease"), holder.encode(), headers, timeout_seconds=timeout_seconds)
        return stored.sequence

    # --- keys ---------------------------------------------------------------------------------------------

    def _key(self, kind: str) -> str:
        return hook_subjects.hooks_key(kind, self._token)

    async def _load(self, kind: str) -> dict[str, Any] | None:
        message = await self._bus.stored(_STREAM, {"last_by_subj": self._key(kind)})
        self._revisions[kind] = message["seq"] if message is not None else 0
        value: dict[str, Any] | None = json.loads(b64decode(message["data"])) if message is not None else None
        return value

    async def _save(self, kind: str, value: Mapping[str, object]) -> None:
        stored = await self._bus.store(
            self._key(kind),
            json.dumps(value).encode(),
            {EXPECTED_SEQUENCE: str(self._revisions[kind])},
            timeout_seconds=API_TIMEOUT_SECONDS,
        )
        self._revisions[kind] = stored.sequence

    async def _write_all(self, values: Mapping[str, object]) -> None:
        """Write keys, or remove those whose value is None."""
        waiting = list(values.items())
        while waiting:
            some, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
            await asyncio.gather(*(self._write(key, value) for key, value in some))

    async def _write(self, key: str, value: object) -> None:
        data, headers = (b"", removal(_MARKER_SECONDS)) if value is None else (json.dumps(value).encode(), {})
        await self._bus.store(key, data, headers, timeout_seconds=API_TIMEOUT_SECONDS)
