"""Answers the WebSocket adapter: which requests may reach the app, and which handshakes become connections."""

import socket

from studyroom.gateway.channels.shared_connection import ChannelLimits, SharedConnection
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.hub import Hub
from studyroom.gateway.edge.admission import Admission, Admitted
from studyroom.gateway.edge.documents import DocumentAdmission
from studyroom.gateway.edge.handover import Handover
from studyroom.gateway.http.app import DOCUMENTS_PATH, HEALTH_PATH, WEBSOCKET_PATH
from studyroom.gateway.transport.native import SEPARATE_MEMORY
from studyroom.gateway.wire.handshake import Handshake, Refused, RequestHead
from studyroom.gateway.wire.websocket import Client
from studyroom.shared.contract.channels import knows_channels
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.moving import knows_moving
from studyroom.shared.contract.room_hints import parse_room_hint


class GatewayEdge:
    def __init__(
        self,
        admission: Admission,
        hub: Hub[Connection],
        documents: DocumentAdmission | None,
        handover: Handover | None,
        *,
        chat_max_chars: int,
        channels_max: int,
    ) -> None:
        """`documents`: None for a gateway without shared documents. `handover`: None for one with one worker.

        `channels_max`: of a connection; 0 for no channels.
        """
        self._documents = documents
        self._admission = admission
        self._hub = hub
        self._handover = handover
        self._chat_max_chars = chat_max_chars
        self._channels = ChannelLimits(channels_max, admission.problem_of_channel)

    def has_websocket(self, path: str) -> bool:
        return path == WEBSOCKET_PATH or (self._documents is not None and path.startswith(DOCUMENTS_PATH))

    def check(self, head: RequestHead) -> Refused | None:
        """Why a plain HTTP request is refused; None if it may reach the app."""
        if head.path == HEALTH_PATH:  # health checks come by address, with no host name
            return None
        return self._admission.check_request(head)

    def request_refused(self, code: ErrorCode) -> None:
        """Count a plain HTTP request that was refused before it reached the app."""
        self._hub.metrics.requests_refused.labels(code=code).inc()

    def hand_over(self, handshake: Handshake, connected: socket.socket, rest: bytes) -> bool:
        return self._handover is not None and self._handover.give(handshake, connected, rest)

    def admit(self, handshake: Handshake) -> Client | Refused:
        if self._documents is not None and handshake.path.startswith(DOCUMENTS_PATH):
            return self._documents.admit(handshake)
        return self.admit_member(handshake)

    def admit_member(self, handshake: Handshake) -> Connection | Refused:
        """Admit a client of rooms."""
        decision = self._admission.decide(handshake)
        if isinstance(decision, Refused):
            return decision
        with SEPARATE_MEMORY:
            connection = self._connection(handshake, decision)
        connection.moves = knows_moving(handshake.query.get("moving"))
        return connection

    def _connection(self, handshake: Handshake, admitted: Admitted) -> Connection:
        identity, address = admitted.identity, admitted.address
        hint, chat_max_chars = parse_room_hint(handshake.query.get("room")), self._chat_max_chars
        if self._channels.channels and knows_channels(handshake.query.get("channels")):
            return SharedConnection(
                self._hub,
                identity,
                address=address,
                hint=hint,
                chat_max_chars=chat_max_chars,
                channel_limits=self._channels,
            )
        return Connection(self._hub, identity, address=address, hint=hint, chat_max_chars=chat_max_chars)
