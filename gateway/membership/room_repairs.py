"""Passes the problems that rooms report to the parts that repair them."""

from typing import Protocol

from studyroom.gateway.chat.backfill import Backfill
from studyroom.gateway.chat.deletions import Deletions
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.registry import Registry
from studyroom.gateway.membership.reannouncement import Reannouncement
from studyroom.gateway.membership.resync import Resync
from studyroom.gateway.rooms.fanout import Recipient
from studyroom.gateway.rooms.history import Stored
from studyroom.gateway.rooms.room import Room
from studyroom.shared.chassis import logs
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.presence import RoomConnection

log = logs.get(__name__)


class Farewell(Protocol):
    def ask_to_leave(self, connection: Connection) -> None:
        """Close the connection with a request to reconnect."""


class RoomRepairs:
    def __init__(
        self,
        connections: Registry[Connection],
        reannouncement: Reannouncement,
        resync: Resync,
        backfills: ByGroup[Backfill],
        deletions: Deletions,
        farewell: Farewell,
    ) -> None:
        self._connections = connections
        self._reannouncement = reannouncement
        self._resync = resync
        self._backfills = backfills
        self._deletions = deletions
        self._farewell = farewell

    def connection_is_missing(self, recipient: Recipient) -> None:
        """Presence took this gateway for dead, or it was disconnected for long. The connection has not left."""
        connection = self._connections.get(recipient.id)
        if connection is not None:
            self._reannouncement.restore(connection)

    def connection_is_present(self, membership: RoomConnection) -> None:
        self._reannouncement.is_present(membership)

    def roster_is_suspect(self, room: Room) -> None:
        self._resync.suspect(room.id)

    def cannot_be_hosted(self, room: Room, reason: str) -> None:
        connections = [connection for connection in self._connections if connection.room is room]
        log.error(
            "NATS sends no messages of a room any more, so its members must leave",
            error=reason,
            members=len(connections),
        )
        for connection in connections:
            self._farewell.ask_to_leave(connection)

    def chat_is_missing(self, room: Room, *, announced: int = 0) -> None:
        backfill = self._backfills.of(room.id)
        if announced:
            backfill.announced(room, announced)
        else:
            backfill.gap(room)

    def chat_is_rewritten(self, room: Room) -> None:
        self._backfills.of(room.id).suspect()

    def chat_is_deleted(self, room: Room, tombstone: Stored) -> None:
        self._deletions.erase_later(room.id, tombstone)

    def edits_may_be_late(self, room: Room, edits: list[Stored]) -> None:
        for edit in edits:
            self._deletions.check_edit(room.id, edit)

    def chat_must_begin_again(self, room: Room) -> None:
        self._backfills.of(room.id).reset(room)
