"""The routes of clients whose network blocks WebSockets."""

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from studyroom.gateway.edge.admission import Admission
from studyroom.gateway.edge.edge import GatewayEdge
from studyroom.gateway.edge.rates import FixedWindow
from studyroom.gateway.fallback.event_socket import EventSocket, Taken
from studyroom.gateway.fallback.events import opening
from studyroom.gateway.fallback.response import EventResponse
from studyroom.gateway.fallback.uplinks import Batch, TooManyUnknown, Unknown, Uplinks
from studyroom.gateway.http.access import (
    HTTP_BAD_REQUEST,
    HTTP_NOT_FOUND,
    HTTP_UNAVAILABLE,
    HttpRefusal,
    as_handshake,
    refusal_of,
)
from studyroom.gateway.http.app import STREAM_PATH, WEBSOCKET_PATH
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.wire.handshake import Refused
from studyroom.shared.chassis.nats.bus import BusError
from studyroom.shared.contract.close_codes import CloseCode
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import GatewayId, canonical_uuid

_HTTP_CONFLICT, _HTTP_TOO_MANY = 409, 429
_UNKNOWN_PER_SECOND = 20
"""How many batches one address may send a second for connections elsewhere that this gateway does not know."""
_CLOSE_CODES = {code.value for code in (CloseCode.NORMAL, CloseCode.GOING_AWAY)}


def fallback_router(
    edge: GatewayEdge, admission: Admission, uplinks: Uplinks, metrics: GatewayMetrics, *, message_max_bytes: int
) -> APIRouter:
    router = APIRouter(prefix=STREAM_PATH, include_in_schema=False)  # docs/protocol.md describes them
    unknown = FixedWindow(_UNKNOWN_PER_SECOND)

    @router.get("")
    async def stream(request: Request) -> Response:
        """Open a connection, for a client whose network blocks WebSockets.

        The query is that of a WebSocket handshake, and the same handshakes are refused. The response does not end while
        the connection is open. It has an event for each message, and events named `open`, `ping` and `close`.
        """
        decision = edge.admit_member(as_handshake(WEBSOCKET_PATH, request))
        if isinstance(decision, Refused):
            raise refusal_of(decision)
        socket = EventSocket(decision, message_max_bytes=message_max_bytes)
        secret = uplinks.add(socket)
        metrics.fallback_connections.inc()
        return EventResponse(socket, opening(uplinks.gateway, secret), lambda: uplinks.discard(secret))

    @router.post("/{gateway}", status_code=204)
    async def send(
        gateway: str,
        request: Request,
        number: Annotated[
            int, Query(ge=1, le=2**53, description="Counts the batches of a connection, from 1. A repetition keeps it.")
        ],
        close: Annotated[int, Query(description="Close the connection after these messages, with this code.")] = 0,
    ) -> None:
        """Send messages of a connection. Any gateway takes them.

        The first line of the body is the secret from the event `open`, so that no log has it. Each further line is a
        message. Send one batch after the other. If you do not know whether a batch has arrived, send it again with its
        number. Without any message it shows that the client is there, as an answer to `ping`.
        """
        if close and close not in _CLOSE_CODES:
            raise HttpRefusal(
                HTTP_BAD_REQUEST, ErrorCode.INVALID_REQUEST, "close: not a code that a client closes with"
            )
        address = admission.address(as_handshake(WEBSOCKET_PATH, request))
        secret, _, lines = (await request.body()).partition(b"\n")
        try:
            owner = GatewayId(canonical_uuid(gateway))
            batch = Batch(secret.decode("ascii"), number, lines, close)
            outcome = await uplinks.take(owner, batch, lambda: unknown.take(address, time.monotonic()))
        except (ValueError, Unknown) as error:
            raise HttpRefusal(HTTP_NOT_FOUND, ErrorCode.NOT_FOUND, "there is no such connection") from error
        except TooManyUnknown as error:
            reason = "too many batches for unknown connections from this address"
            raise HttpRefusal(_HTTP_TOO_MANY, ErrorCode.RATE_LIMITED, reason, Retry_After="1") from error
        except BusError as error:
            raise HttpRefusal(
                HTTP_UNAVAILABLE, ErrorCode.CONNECTION_UNAVAILABLE, str(error), Retry_After="1"
            ) from error
        if outcome is Taken.HELD:
            raise HttpRefusal(_HTTP_TOO_MANY, ErrorCode.RATE_LIMITED, "you send too much", Retry_After="1")
        if outcome is Taken.GAP:
            raise HttpRefusal(_HTTP_CONFLICT, ErrorCode.INVALID_REQUEST, "number: a batch before it is missing")

    return router
