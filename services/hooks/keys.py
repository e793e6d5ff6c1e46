"""Reads all keys of a bucket, for a process that begins."""

import asyncio

from studyroom.shared.chassis.nats.batches import BatchReader
from studyroom.shared.chassis.nats.bus import Bus

_BATCH_MAX = 1024
_BATCH_MAX_BYTES = 1_048_576
_LAGGING_SECONDS = 0.05
"""The pause before the next request when a replica of the bucket lags."""


class KeyReader:
    """Reads the bucket in this stream. Call `open` first. Methods raise BusError."""

    def __init__(self, bus: Bus, stream: str) -> None:
        self._bus = bus
        self._stream = stream
        self._reader = BatchReader(bus, stream)

    async def open(self) -> None:
        await self._reader.open()

    async def all(self, keys: str) -> dict[str, bytes]:
        """Return the value of each key that has one, with everything that the leader has. `keys`: a subject."""
        found: dict[str, bytes] = {}
        position = 0
        while True:
            batch = await self._reader.get(
                {"seq": position + 1, "next_by_subj": keys, "batch": _BATCH_MAX, "max_bytes": _BATCH_MAX_BYTES}
            )
            found.update({read.subject: read.data for read in batch.messages})
            position = max(position, batch.last)
            if not batch.messages:
                if await self._bus.stored(self._stream, {"seq": position + 1, "next_by_subj": keys}) is None:
                    return {key: value for key, value in found.items() if value}
                await asyncio.sleep(_LAGGING_SECONDS)
