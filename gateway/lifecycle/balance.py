"""How many connections a gateway may have more than the others, and how many it should let go. Pure.

Connections last for hours, so a gateway that is added stays empty unless the others ask some of theirs to go. They do
so a few at a time, and only with what is far above the mean: a move costs a client more than a little imbalance does.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from math import ceil
from typing import Self

from pydantic import BaseModel, ConfigDict

from studyroom.shared.contract.ids import GatewayId

TOLERANCE = 0.2
"""Share of the mean that a gateway may be above it."""
AT_LEAST = 10
"""Connections above the mean that are never worth a move."""


class Load(BaseModel):
    """What gateways tell each other, every few seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    gateway: GatewayId
    connections: int
    leaving: bool = False
    """It drains: its clients are about to come to the others."""

    def encode(self) -> bytes:
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises pydantic's ValidationError."""
        return cls.model_validate_json(data)


def surplus(own: int, others: Collection[int], moving: int = 0) -> int:
    """Connections above what is tolerated, given those of all other gateways, and those that are between two."""
    if not others:
        return 0
    mean = (own + sum(others) + moving) / (1 + len(others))
    return max(0, own - ceil(max(mean * (1 + TOLERANCE), mean + AT_LEAST)))


@dataclass(slots=True)
class Loads:
    """What was heard of the other gateways. Times are monotonic seconds."""

    kept_seconds: float
    """Who was not heard of for so long is gone."""
    moving_seconds: float
    """For so long who was asked to go may not have been counted by another gateway yet."""
    _asked: list[tuple[int, float]] = field(default_factory=list)
    _received: dict[GatewayId, tuple[Load, float]] = field(default_factory=dict)

    def receive(self, load: Load, now: float) -> None:
        self._received[load.gateway] = (load, now)

    def asked(self, count: int, now: float) -> None:
        self._asked.append((count, now))

    def surplus(self, own: int, now: float) -> int:
        """None is let go while somebody leaves: those who come from there have not arrived yet."""
        self._received = {
            gateway: (load, at) for gateway, (load, at) in self._received.items() if now - at <= self.kept_seconds
        }
        self._asked = [(count, at) for count, at in self._asked if now - at <= self.moving_seconds]
        loads = [load for load, _ in self._received.values()]
        if any(load.leaving and load.connections for load in loads):
            return 0
        moving = sum(count for count, _ in self._asked)
        return surplus(own, [load.connections for load in loads if not load.leaving], moving)
