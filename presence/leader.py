"""Questions to the leader of a presence stream. Other servers of the cluster may lag behind the leader."""

from collections.abc import Collection
from typing import Any

from studyroom.shared.chassis.nats.bus import Bus

_ANSWER_SECONDS = 2.0


class Leader:
    """The current state of a presence stream. All methods raise BusError."""

    def __init__(self, bus: Bus, stream: str) -> None:
        self._bus = bus
        self._stream = stream

    async def info(self) -> dict[str, Any]:
        return await self._bus.stream_info(self._stream)

    async def last(self) -> int:
        """Return the stream's last sequence."""
        last: int = (await self.info())["state"]["last_seq"]
        return last

    async def last_sequence(self, key: str) -> int:
        """Return the sequence of the last message of `key`, a subject that may have wildcards; 0 if there is none."""
        message = await self._message({"last_by_subj": key})
        return message["seq"] if message is not None else 0

    async def has_newer(self, keys: Collection[str], sequence: int) -> bool:
        """Return whether any of these keys has a change after `sequence`."""
        return any([await self.last_sequence(key) > sequence for key in keys])

    async def committed(self, sequence: int) -> str | None:
        """Return the commit time (RFC 3339) of the message with this sequence; None if there is no such message."""
        message = await self._message({"seq": sequence})
        return message["time"] if message is not None else None

    async def _message(self, which: dict[str, Any]) -> dict[str, Any] | None:
        return await self._bus.stored(self._stream, which, timeout_seconds=_ANSWER_SECONDS)
