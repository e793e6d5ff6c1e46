"""How many connections an overloaded gateway should shed. Pure.

Connections last for hours, so a new gateway stays empty unless the others shed some. They shed a few at a
time, and only if they are far above the mean: a move costs a client more than a small imbalance does.

A load balancer that follows the room in the address sends a client back if its room belongs here. So a gateway asks a
user once, and again only when there are other gateways.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from math import ceil
from typing import Self

from pydantic import BaseModel, ConfigDict

from studyroom.shared.contract.ids import GatewayId, UserId

TOLERANCE = 0.2
"""A gateway may exceed the mean by this share of it."""
AT_LEAST = 10
"""A gateway may always exceed the mean by this many connections."""


class Load(BaseModel):
    """The message that gateways send each other every few seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    gateway: GatewayId
    connections: int
    leaving: bool = False
    """The gateway is draining, so its clients are about to connect to the others."""

    def encode(self) -> bytes:
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises pydantic's ValidationError."""
        return cls.model_validate_json(data)


def surplus(own: int, others: Collection[int], moving: int = 0) -> int:
    """How many connections a gateway has above the tolerated number.

    `own`, `others`: the connections of this and of each other gateway. `moving`: connections that were shed and that no
    gateway counts yet.
    """
    if not others:
        return 0
    mean = (own + sum(others) + moving) / (1 + len(others))
    return max(0, own - ceil(max(mean * (1 + TOLERANCE), mean + AT_LEAST)))


@dataclass(slots=True)
class Loads:
    """The loads of the other gateways. Times are monotonic seconds."""

    kept_seconds: float
    """A gateway that has sent nothing for so long is gone."""
    moving_seconds: float
    """For so long after a connection was shed, the gateway that it moves to may not count it yet."""
    _shed: list[tuple[int, float]] = field(default_factory=list)
    _asked: set[UserId] = field(default_factory=set)
    """Users that were asked to go since `_gateways` changed. Never more than there are connections."""
    _gateways: frozenset[GatewayId] = frozenset()
    _received: dict[GatewayId, tuple[Load, float]] = field(default_factory=dict)

    def receive(self, load: Load, now: float) -> None:
        self._received[load.gateway] = (load, now)

    def may_ask(self, user: UserId) -> bool:
        return user not in self._asked

    def record_shed(self, users: Collection[UserId], now: float) -> None:
        self._shed.append((len(users), now))
        self._asked.update(users)

    def surplus(self, own: int, now: float) -> int:
        """How many connections to shed; 0 while another gateway drains, because its clients have not arrived yet."""
        self._received = {
            gateway: (load, at) for gateway, (load, at) in self._received.items() if now - at <= self.kept_seconds
        }
        if self._received.keys() != self._gateways or len(self._asked) > own:
            self._gateways = frozenset(self._received)
            self._asked.clear()
        self._shed = [(count, at) for count, at in self._shed if now - at <= self.moving_seconds]
        loads = [load for load, _ in self._received.values()]
        if any(load.leaving and load.connections for load in loads):
            return 0
        moving = sum(count for count, _ in self._shed)
        return surplus(own, [load.connections for load in loads if not load.leaving], moving)
