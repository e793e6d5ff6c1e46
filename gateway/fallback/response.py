"""The response that carries the events of one connection."""

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from studyroom.gateway.fallback.event_socket import EventSocket
from studyroom.gateway.fallback.events import PADDING
from studyroom.gateway.wire.upgrade import ABORT


class EventResponse(Response):
    media_type = "text/event-stream"

    def __init__(self, socket: EventSocket, opening: bytes, ended: Callable[[], None]) -> None:
        """`opening`: the first event. `ended`: called after the response."""
        # Proxies should neither keep nor change it, nor wait for its end (the last header is that of nginx).
        super().__init__(headers={"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._socket = socket
        self._opening = opening
        self._end = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_disconnect(receive), name="event stream")
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await _send(send, PADDING + self._opening)
            self._socket.open(scope.get("extensions", {}).get(ABORT, lambda: None))
            await self._send_events(send, gone)
        finally:
            gone.cancel()
            self._end()
            self._socket.ended()

    async def _send_events(self, send: Send, gone: "asyncio.Task[None]") -> None:
        while not gone.done():
            following = asyncio.ensure_future(self._socket.chunk())
            try:
                await asyncio.wait((following, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                following.cancel()
            if gone.done():
                return
            chunk = following.result()
            if not chunk:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            await _send(send, chunk)
            self._socket.took()


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _disconnect(receive: Receive) -> None:
    """Returns when the client has ended the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
