"""The FastAPI application that serves plain HTTP on the public port."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from studyroom.gateway.http.access import REFUSALS, ErrorBody, HttpRefusal, as_handshake, refusal_of
from studyroom.gateway.http.page import add_page
from studyroom.gateway.wire.handshake import Handshake, Refused
from studyroom.gateway.wire.header_fields import combined
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.text import LONE_SURROGATE

WEBSOCKET_PATH = "/ws"
DOCUMENTS_PATH = "/documents/"
HEALTH_PATH = "/health"
API_PREFIX = "/api/"
HANDSHAKE_PATH = "/api/v1/handshake"
STREAM_PATH = "/api/v1/stream"
"""Where clients open a connection whose network blocks WebSockets. Below it they send their messages."""
_NO_CONTENT = 204
_PREFLIGHT_SECONDS = 7200
"""How long a browser keeps the answer to a preflight. Chromium keeps it no longer than this."""
_BAD_REQUEST, _NOT_FOUND, _METHOD_NOT_ALLOWED, _UPGRADE_REQUIRED = 400, 404, 405, 426
_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_REFUSED_BEFORE_THE_APP: dict[int | str, dict[str, Any]] = {
    413: {"model": ErrorBody, "description": "Content Too Large"},
    421: {"model": ErrorBody, "description": "Misdirected Request"},
    429: {"model": ErrorBody, "description": "Too Many Requests"},
}
"""Responses that `wire.upgrade` and `edge.admission` send before a request reaches the app."""


class Gate(Protocol):
    """The decisions about handshakes."""

    def allows_origin(self, headers: Mapping[str, str]) -> bool:
        """Whether the page that sends a request with these headers may use this gateway."""

    def problem_of(self, handshake: Handshake) -> Refused | None:
        """Why this handshake would be refused now; None if it would be admitted."""


class _App(FastAPI):
    gate: Gate | None = None

    def openapi(self) -> dict[str, Any]:
        """The document without the 422 responses that FastAPI adds. This app answers invalid requests with 400."""
        document = super().openapi()
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        for unused in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(unused, None)
        return document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve HEAD as GET. The server leaves out the body (RFC 9110 section 9.3.2)."""
        if scope["type"] == "http":
            if scope["method"] == "HEAD" and scope["path"] != STREAM_PATH:
                scope = {**scope, "method": "GET"}
            if (preflight := self._preflight(scope)) is not None:
                await preflight(scope, receive, send)
                return
            send = self._with_cors(scope, send)
        await super().__call__(scope, receive, send)

    def _preflight(self, scope: Scope) -> Response | None:
        """The answer to the question of a browser whether a page may send a GET with its token; None for others.

        (CORS preflight, Fetch Standard section 3.2.2.) The pages are those that may read the response to the GET.
        """
        if scope["method"] != "OPTIONS" or not scope["path"].startswith(API_PREFIX):
            return None
        headers = _headers(scope)
        if headers.get("access-control-request-method") != "GET" or not self._may_read(scope["path"], headers):
            return None
        allowed = {
            "Access-Control-Allow-Origin": headers["origin"],
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Allow-Headers": "Authorization",
            "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
            "Vary": "Origin",
        }
        return Response(status_code=_NO_CONTENT, headers=allowed)

    def _may_read(self, path: str, headers: Mapping[str, str]) -> bool:
        """Whether a page may read what GET returns here. Pages that may not can read one response, which says that."""
        if self.gate is None or "origin" not in headers:
            return False
        return path == HANDSHAKE_PATH or self.gate.allows_origin(headers)

    def _with_cors(self, scope: Scope, send: Send) -> Send:
        """Let pages that may open a WebSocket here read what GET returns (CORS, Fetch Standard section 3.2).

        So may they for POST below `STREAM_PATH`.
        """
        readable = scope["path"].startswith(API_PREFIX if scope["method"] == "GET" else f"{STREAM_PATH}/")
        if scope["method"] not in {"GET", "POST"} or not readable:
            return send
        headers = _headers(scope)
        if not self._may_read(scope["path"], headers):
            return send
        added = [
            (b"access-control-allow-origin", headers["origin"].encode("latin-1")),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", b"retry-after"),
            (b"vary", b"Origin"),
        ]

        async def send_readable(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        return send_readable


def _headers(scope: Scope) -> dict[str, str]:
    return combined((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])


def build_app(*, with_page: bool, routers: Iterable[APIRouter], gate: Gate | None = None) -> FastAPI:
    """`gate`: None for an app that no client connects to."""
    app = _App(
        title="studyroom gateway",
        docs_url=None,
        redoc_url=None,
        responses=_REFUSED_BEFORE_THE_APP,
        redirect_slashes=False,  # the `Host` header would decide where redirects lead
    )
    app.gate = gate
    for router in routers:
        app.include_router(router)

    @app.get(HEALTH_PATH)
    async def health() -> dict[str, str]:
        """Succeeds while the process runs. To see if it should get traffic, use /readyz on the admin port."""
        return {"status": "ok"}

    @app.get("/api/v1/ping", response_class=PlainTextResponse)
    async def ping() -> str:
        return "pong"

    _add_handshake(app, gate)

    @app.get(WEBSOCKET_PATH, include_in_schema=False)
    async def websocket_without_upgrade() -> Response:
        return _error(
            _UPGRADE_REQUIRED,
            ErrorCode.UPGRADE_REQUIRED,
            "this path accepts WebSocket handshakes only",
            Upgrade="websocket",
        )

    if with_page:
        add_page(app)

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        headers = {"Allow": _methods(request)} if error.status_code == _METHOD_NOT_ALLOWED else {}
        code = ErrorCode.INVALID_REQUEST if error.status_code == _BAD_REQUEST else ErrorCode.NOT_FOUND
        reason = str(error.detail)
        if error.status_code == _NOT_FOUND and "sec-websocket-key" in request.headers:
            reason = f"WebSockets are at {WEBSOCKET_PATH}"
            headers["Connection"] = "close"  # the client sends no other request on this socket
        return _error(error.status_code, code, reason, **headers)

    @app.exception_handler(HttpRefusal)
    async def refused_by_route(_request: Request, refusal: HttpRefusal) -> Response:
        return _error(refusal.status, refusal.code, str(refusal), **refusal.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        reason = LONE_SURROGATE if first["type"] == "string_unicode" else first["msg"]
        return _error(_BAD_REQUEST, ErrorCode.INVALID_REQUEST, f"{first['loc'][-1]}: {reason}")

    return app


def _add_handshake(app: FastAPI, gate: Gate | None) -> None:
    @app.get(HANDSHAKE_PATH, responses=REFUSALS)
    async def handshake(
        request: Request,
        response: Response,
        origin: Annotated[
            str | None, Query(description="The origin of a page, if the request has no `Origin`.")
        ] = None,
    ) -> dict[str, str]:
        """Succeeds if a WebSocket handshake with the same credentials would be admitted now, apart from limits on
        rates. Otherwise it is refused as the handshake would be. Browsers hide that refusal from a page."""
        response.headers["Cache-Control"] = "no-store"
        tried = as_handshake(WEBSOCKET_PATH, request)
        if origin is not None:
            tried.headers.setdefault("origin", origin)
        refused = gate.problem_of(tried) if gate is not None else None
        if refused is not None:
            raise refusal_of(refused)
        return {"status": "ok"}


def _methods(request: Request) -> str:
    """The value of `Allow`: all methods that the path takes (RFC 9110 section 10.2.1)."""

    def takes(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    taken = {method for method in _METHODS if takes(method)}
    return ", ".join(sorted(taken | ({"HEAD"} if "GET" in taken else set())))


def _error(status: int, code: ErrorCode, message: str, **headers: str) -> JSONResponse:
    return JSONResponse({"code": code, "message": message}, status_code=status, headers=headers)
