"""The current values of a gateway's gauges, for its metrics."""

from collections.abc import Iterable, Mapping

from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.registry import Registry
from studyroom.gateway.lifecycle.drain import Drain
from studyroom.gateway.membership.presence_client import PresenceClient
from studyroom.gateway.rooms.flush_scheduler import FlushScheduler
from studyroom.gateway.rooms.rooms import Rooms


class GatewayGauges:
    def __init__(
        self,
        connections: Registry[Connection],
        rooms: Rooms,
        scheduler: FlushScheduler,
        drain: Drain,
        presence: PresenceClient,
    ) -> None:
        self._connections = connections
        self._rooms = rooms
        self._scheduler = scheduler
        self._drain = drain
        self._presence = presence

    def connections(self) -> int:
        return len(self._connections)

    def rooms(self) -> int:
        return len(self._rooms)

    def members(self) -> int:
        return sum(len(room) for room in self._rooms)

    def collection_seconds(self) -> float:
        return self._scheduler.collection_seconds

    def drain_remaining(self) -> int:
        return self._drain.remaining

    def most_of_an_address(self) -> int:
        return self._connections.counts.most_of_an_address()

    def most_of_a_user(self) -> int:
        return self._connections.counts.most_of_a_user()

    def waiting_requests(self) -> Mapping[str, Mapping[int, int]]:
        return {kind: lane.waiting_in() for kind, lane in self._presence.lanes.items()}

    def silent_shards(self) -> Iterable[int]:
        return self._presence.silent_shards()
