"""The identity of a stream as its leader knows it, and the record with which a new epoch begins
(docs/decisions/0017)."""

import asyncio
from base64 import b64decode
from contextlib import suppress
from typing import Any, NamedTuple

from studyroom.shared.chassis.nats.bus import API_TIMEOUT_SECONDS, Bus, Conflict
from studyroom.shared.contract.headers import EXPECTED_SEQUENCE
from studyroom.shared.contract.incarnation import Identity, Record, encode_record


class Found(NamedTuple):
    info: dict[str, Any]
    """The reply to `STREAM.INFO`."""
    identity: Identity
    committed: str | None
    """When the message with the known sequence was committed (RFC 3339); None if there is none."""


class Incarnations:
    def __init__(self, bus: Bus, stream: str, *, record: str, records: str) -> None:
        """`record`: the subject of the record about the stream. `records`: the stream that has it."""
        self._bus = bus
        self._stream = stream
        self._record_subject = record
        self._records = records

    async def find(self, known_sequence: int) -> Found:
        """`known_sequence`: of the newest known message; 0 if none is known. Raises BusError."""
        info, record, committed = await asyncio.gather(
            self._bus.stream_info(self._stream), self._record(), self._committed(known_sequence)
        )
        return Found(info, Identity(info["created"], record), committed)

    async def begin_epoch(self, found: Identity, *, timeout_seconds: float = API_TIMEOUT_SECONDS) -> None:
        """Write a record, unless another process has noticed too and was faster. Raises BusError."""
        with suppress(Conflict):
            await self._bus.store(
                self._record_subject,
                encode_record(found.created),
                {EXPECTED_SEQUENCE: str(found.expected)},
                timeout_seconds=timeout_seconds,
            )

    async def _record(self) -> Record | None:
        message = await self._bus.stored(self._records, {"last_by_subj": self._record_subject})
        if message is None:
            return None
        return Record.decode(b64decode(message.get("data", "")), message["seq"], message["time"])

    async def _committed(self, sequence: int) -> str | None:
        message = await self._bus.stored(self._stream, {"seq": sequence}) if sequence else None
        return message["time"] if message is not None else None
