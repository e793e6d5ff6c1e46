"""Carries out the commands of moderators on the connections of this gateway."""

from collections.abc import Iterable

from studyroom.gateway.connections.connection import Connection
from studyroom.shared.chassis import logs
from studyroom.shared.contract.close_codes import CloseCode
from studyroom.shared.contract.moderation import Kind, Target

log = logs.get(__name__)


class Enforcement:
    def __init__(self, connections: Iterable[Connection]) -> None:
        self._connections = connections

    def carry_out(self, target: Target) -> None:
        own = [connection for connection in self._connections if connection.user == target.user]
        if target.room is not None:
            affected = sum(connection.remove_from(target.room) for connection in own)
        elif target.kind is Kind.BAN:
            affected = self._close(own, CloseCode.BANNED, "banned")
        else:
            affected = self._close(own, CloseCode.DISCONNECTED, "disconnected by a moderator")
        if affected:
            # Without the user, who may be erased. The log of the request names users that a moderator has named.
            log.info("carried out", action=target.kind, room=target.room, connections=affected)

    @staticmethod
    def _close(connections: list[Connection], code: CloseCode, reason: str) -> int:
        for connection in connections:
            connection.expel(code, reason)
        return len(connections)
