"""Load shedding: gateways send each other their number of connections, and one far above the mean sheds a few.

Where the load balancer chooses by the room, they also bring the members of each room together at its home.
"""

import asyncio
import math
import random
from collections.abc import Collection
from typing import Protocol

from pydantic import ValidationError

from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.registry import Registry
from studyroom.gateway.lifecycle.balance import Load, Loads, choose_to_shed, small_rooms_first
from studyroom.gateway.lifecycle.drain import Drain
from studyroom.gateway.lifecycle.homes import Ask, Homes, Visit
from studyroom.gateway.lifecycle.moving import Moves
from studyroom.gateway.lifecycle.settings import LifecycleSettings
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.rooms.rooms import Rooms
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, Message
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import GatewayId, RoomId

log = logs.get(__name__)

_STEP_SECONDS = 1.0
_ANNOUNCE_EVERY_STEPS = 2
_KEPT_SECONDS = 7.0
_COUNTED_SECONDS = 5.0
"""From a client's reconnect to the announcement that counts it, with a margin."""
_NOTICED_SECONDS = 5.0
"""So long after a change of the set of gateways, load balancers have noticed it."""
_SETTLED_SECONDS = 10.0
"""So long after it, all gateways know that as well, so they recognise members that others ask to come."""
_ROUND_STEPS = 5
"""Rooms are visited at most so often."""
_VISITED_MAX = 2000
"""About how many members to visit in a step, which takes a few milliseconds."""
_CLAIMS_MAX = 1000
"""Hints in one announcement, which has 39 KB then."""
_PROBE_MARGIN_BEATS = 30
"""From a client's reconnect to the claim of the other gateway, which visits its rooms one after another."""


class Clock(Protocol):
    @property
    def beat(self) -> int: ...


class Shedding:
    def __init__(
        self,
        bus: Bus,
        gateway: GatewayId,
        settings: LifecycleSettings,
        connections: Registry[Connection],
        rooms: Rooms,
        clock: Clock,
        drain: Drain,
        moves: Moves,
        metrics: GatewayMetrics,
    ) -> None:
        """Call `start` and `run` only if `shed_per_second` is above 0. Otherwise the gateway neither announces its load
        nor sheds connections."""
        self._bus = bus
        self._gateway = gateway
        self._connections = connections
        self._rooms = rooms
        self._clock = clock
        self._drain = drain
        self._moves = moves
        self._metrics = metrics
        self._per_second = settings.shed_per_second
        self._left = 0
        """How many clients may be asked in this step. Below 0 after a whole room was asked."""
        away_seconds = max(settings.reconnect_spread_ms, settings.move_within_ms) / 1000
        self._loads = Loads(_KEPT_SECONDS, away_seconds + _COUNTED_SECONDS)
        self._by_room = settings.room_hints
        self._homes = Homes(settings.spread, math.ceil(away_seconds) + _PROBE_MARGIN_BEATS)
        self._homes_since = self._loads.changed_at
        """The change of the set of gateways that `_homes` knows of."""
        self._to_visit: list[Room] = []
        """The rooms of this round, the next one last."""
        self._next_round_step = 0
        self._hints: set[RoomId] = set()
        """The hints of the rooms that were visited in this round."""
        self._claims: list[RoomId] = []
        """For the next announcement."""

    async def start(self) -> None:
        await self._bus.subscribe(subjects.GATEWAY_LOADS, self._on_load)

    async def run(self) -> None:
        """Announce the load every two seconds and shed once a second. Never returns."""
        loop = asyncio.get_running_loop()
        step = 0
        while True:
            await asyncio.sleep(_STEP_SECONDS)
            connections = [connection for connection in self._connections if self._stays(connection)]
            if step % _ANNOUNCE_EVERY_STEPS == 0:
                self._announce(len(self._connections) if self._drain.active else len(connections))
            step += 1
            if not self._drain.active and self._bus.connected:
                self._left = min(self._per_second, self._left + self._per_second)
                self._shed(connections, loop.time())
                if self._by_room:
                    self._bring_home(step, loop.time())

    def _stays(self, connection: Connection) -> bool:
        """Connections that are about to go count as gone."""
        return connection.is_member and connection not in self._moves

    def _announce(self, connections: int) -> None:
        homes, self._claims = self._claims[:_CLAIMS_MAX], self._claims[_CLAIMS_MAX:]
        load = Load(gateway=self._gateway, connections=connections, leaving=self._drain.active, homes=tuple(homes))
        self._bus.publish(subjects.GATEWAY_LOADS, load.encode())

    def _on_load(self, message: Message) -> None:
        try:
            load = Load.decode(message.data)
        except ValidationError as error:
            log.error("malformed load announcement", error=str(error))
            return
        self._loads.receive(load, asyncio.get_running_loop().time())
        if load.gateway != self._gateway:
            self._homes.claimed(load.homes)

    def _ask(self, connections: Collection[Connection], now: float, hint: RoomId | None = None) -> None:
        self._left -= len(connections)
        self._loads.record_shed([connection.user for connection in connections], now)
        for connection in connections:
            self._moves.ask_to_move(connection, hint)

    def _shed(self, connections: list[Connection], now: float) -> None:
        surplus = self._loads.surplus(len(connections), now)
        if not surplus:
            return
        # Clients that came with a hint would come back. `_bring_home` moves them.
        candidates = [
            connection
            for connection in connections
            if self._loads.may_ask(connection.user) and not (self._by_room and connection.hint is not None)
        ]
        random.shuffle(candidates)
        shed = choose_to_shed(small_rooms_first(candidates), surplus, self._left)
        if shed:
            log.info("shedding connections", shed=len(shed), connections=len(connections))
            self._ask(shed, now)
            self._metrics.shed.inc(len(shed))

    # --- homes of rooms -----------------------------------------------------------------------------------

    def _bring_home(self, step: int, now: float) -> None:
        """Visit some rooms, small ones first, as far as clients may be asked in this step."""
        loads = self._loads
        if loads.alone or loads.arriving or now - loads.changed_at < _SETTLED_SECONDS:
            return
        if self._homes_since != loads.changed_at:
            self._homes_since = loads.changed_at
            self._homes.begin(self._clock.beat - int(now - loads.changed_at - _NOTICED_SECONDS))
        if not self._to_visit and step >= self._next_round_step:
            self._next_round_step = step + _ROUND_STEPS
            self._homes.keep(self._hints)
            self._hints = set()
            self._to_visit = sorted(self._rooms, key=len, reverse=True)
        visited = 0
        while self._to_visit and self._left > 0 and visited < _VISITED_MAX:
            room = self._to_visit.pop()
            visited += len(room)
            self._visit(room, now)

    def _visit(self, room: Room, now: float) -> None:
        here = [
            member
            for member in room.fanout
            if isinstance(member, Connection) and member.room is room and self._stays(member)
        ]
        neighbours = room.neighbours
        visit = Visit(room.id, len(room.members), here, elsewhere=neighbours, shared=len(neighbours) > 0)
        room.parts = self._homes.parts(visit, room.parts)
        for hint, ask, claim in self._homes.visit(visit, room.parts, self._clock.beat, self._loads.may_ask):
            self._hints.add(hint)
            if claim:
                self._claims.append(hint)
            if ask is not None:
                self._bring(ask, now)

    def _bring(self, ask: Ask[Connection], now: float) -> None:
        self._ask(ask.members, now, ask.hint)
        if ask.follow:
            log.info("a room moves to its home", hint=ask.hint, members=len(ask.members))
            self._metrics.rooms_moved.inc()
            self._metrics.members_moved.inc(len(ask.members))
        else:
            self._metrics.home_probes.inc()
