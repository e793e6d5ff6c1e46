"""How many connections an overloaded gateway should shed. Pure.

Connections last for hours, so a new gateway stays empty unless the others shed some. They shed a few at a
time, and only if they are far above the mean: a move costs a client more than a small imbalance does.

A room goes as a whole, and small ones go first. A load balancer that follows the room in the address may send a client
back. So a gateway asks a user once, and again only when there are other gateways.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Protocol, TypeVar

from studyroom.shared.contract.ids import GatewayId, RoomId, UserId
from studyroom.shared.contract.parts import JsonMessage

TOLERANCE = 0.2
"""A gateway may exceed the mean by this share of it."""
AT_LEAST = 10
"""A gateway may always exceed the mean by this many connections."""
_ASKED_MAX = 10_000
"""So many users that were asked to go are remembered, which takes about 1 MB."""


class Load(JsonMessage):
    """The message that gateways send each other every few seconds."""

    gateway: GatewayId
    connections: int
    leaving: bool = False
    """The gateway is draining, so its clients are about to connect to the others."""
    homes: tuple[RoomId, ...] = ()
    """Hints of rooms that have other members elsewhere, and for which members have come here (see `homes`)."""


def surplus(own: int, others: Collection[int], moving: int = 0) -> int:
    """How many connections a gateway has above the tolerated number.

    `own`, `others`: the connections of this and of each other gateway. `moving`: connections that were shed and that no
    gateway counts yet.
    """
    if not others:
        return 0
    mean = (own + sum(others) + moving) / (1 + len(others))
    return max(0, own - ceil(max(mean * (1 + TOLERANCE), mean + AT_LEAST)))


class Placed(Protocol):
    @property
    def room(self) -> Hashable | None:
        """The room that the connection is in, if any."""


Connection = TypeVar("Connection", bound=Placed)


def small_rooms_first(connections: Iterable[Connection]) -> list[list[Connection]]:
    """Group connections by their rooms. Connections outside rooms come first, one by one."""
    outside: list[list[Connection]] = []
    by_room: dict[Hashable, list[Connection]] = defaultdict(list)
    for connection in connections:
        if connection.room is None:
            outside.append([connection])
        else:
            by_room[connection.room].append(connection)
    return outside + sorted(by_room.values(), key=len)


def choose_to_shed(groups: list[list[Connection]], surplus: int, at_once: int) -> list[Connection]:
    """Choose connections of whole groups, from the first on, that are no more than the surplus.

    Stops with the group that reaches `at_once`. If every group is too large, returns members of the last one.
    """
    chosen: list[Connection] = []
    for group in groups:
        if len(chosen) >= at_once or len(chosen) + len(group) > surplus:
            break
        chosen += group
    if not chosen and groups and at_once > 0:
        return groups[-1][: min(surplus, at_once)]
    return chosen


@dataclass(slots=True)
class Loads:
    """The loads of the other gateways. Times are monotonic seconds."""

    kept_seconds: float
    """A gateway that has sent nothing for so long is gone."""
    moving_seconds: float
    """For so long after a connection was shed, the gateway that it moves to may not count it yet."""
    changed_at: float = -inf
    """When the set of gateways that take clients has changed."""
    _shed: list[tuple[int, float]] = field(default_factory=list)
    _asked: set[UserId] = field(default_factory=set)
    """Users that were asked to go since then. At most `_ASKED_MAX`, or as many as there are connections."""
    _gateways: frozenset[GatewayId] = frozenset()
    """The other gateways that take clients."""
    _received: dict[GatewayId, tuple[Load, float]] = field(default_factory=dict)

    def receive(self, load: Load, now: float) -> None:
        self._received[load.gateway] = (load, now)

    def may_ask(self, user: UserId) -> bool:
        return user not in self._asked

    def record_shed(self, users: Collection[UserId], now: float) -> None:
        self._shed.append((len(users), now))
        self._asked.update(users)

    @property
    def alone(self) -> bool:
        return not self._gateways

    @property
    def arriving(self) -> bool:
        """Another gateway drains, and its clients have not arrived at the others yet."""
        return any(load.leaving and load.connections for load, _ in self._received.values())

    def surplus(self, own: int, now: float) -> int:
        """How many connections to shed; 0 while another gateway drains."""
        self._received = {
            gateway: (load, at) for gateway, (load, at) in self._received.items() if now - at <= self.kept_seconds
        }
        gateways = frozenset(gateway for gateway, (load, _) in self._received.items() if not load.leaving)
        if gateways != self._gateways:
            self._gateways, self.changed_at = gateways, now
            self._asked.clear()
        elif len(self._asked) > max(own, _ASKED_MAX):
            self._asked.clear()
        self._shed = [(count, at) for count, at in self._shed if now - at <= self.moving_seconds]
        loads = [load for load, _ in self._received.values()]
        if self.arriving:
            return 0
        moving = sum(count for count, _ in self._shed)
        return surplus(own, [load.connections for load in loads if not load.leaving], moving)
