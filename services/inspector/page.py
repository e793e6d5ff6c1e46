"""The page of `studyroom inspector`: the reports about rooms and users in a browser, as plain HTML without scripts.

Each start has a new random token, which the command prints. The page lets nobody in without it: it comes once in the
address, and then in a cookie, or as `Authorization: Bearer` from programs.
"""

import asyncio
import html
import secrets
from base64 import b64encode
from collections.abc import Awaitable, Callable
from hashlib import blake2b, sha256
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from studyroom.services.inspector.examining import examine_room, examine_user
from studyroom.services.inspector.reports import room_as_json, room_as_text, user_as_json, user_as_text
from studyroom.services.inspector.verdict import Verdict
from studyroom.shared.chassis.nats.bus import Bus, BusError
from studyroom.shared.contract.ids import RoomId, UserId, canonical_uuid

_MEMBERS_SHOWN = 200
_AT_ONCE = 2
_DEADLINE_SECONDS = 15.0
_TOKEN_BYTES = 32
_KINDS = ("rooms", "users")
_STYLE = (
    ":root{color-scheme:light dark;font-family:system-ui,sans-serif}main{margin:2rem}"
    "pre{overflow:auto;line-height:1.4}input{width:26rem;max-width:100%;font:inherit}button{font:inherit}"
    ".ok{color:#080}.not-ok{color:#c00}@media(prefers-color-scheme:dark){.ok{color:#6d6}.not-ok{color:#f77}}"
)
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_VERDICTS = {0: "All agree", 1: "There are differences", 2: "Not everything could be compared"}

Handler = Callable[[Request], Awaitable[Response]]


class Page:
    def __init__(self, bus: Bus, groups: int) -> None:
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._bus = bus
        self._groups = groups
        self._slots = asyncio.Semaphore(_AT_ONCE)
        # Browsers send a cookie to all ports of a host, so each start has a name of its own.
        self._cookie = f"inspector_{blake2b(self.token.encode(), digest_size=4).hexdigest()}"

    def app(self) -> Starlette:
        routes = [
            Route("/", self._index),
            Route("/inspect", self._guarded(self._choose)),
            Route("/rooms/{id}", self._guarded(self._room)),
            Route("/users/{id}", self._guarded(self._user)),
        ]
        app = Starlette(routes=routes)
        app.router.redirect_slashes = False  # A redirect would go to the host in `Host`, which a client chooses.
        return app

    # --- who may read it ----------------------------------------------------------------------------------

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            return await handler(request) if self._is_known(request) else _refused()

        return guarded

    def _is_known(self, request: Request) -> bool:
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            shown = request.cookies.get(self._cookie, "")
        return self._is_token(shown)

    def _is_token(self, shown: str) -> bool:
        return secrets.compare_digest(shown.encode(), self.token.encode())

    async def _index(self, request: Request) -> Response:
        """Take the token from the address into a cookie, so that it is in no further address."""
        if (shown := request.query_params.get("token")) is None:
            return _page("", _form()) if self._is_known(request) else _refused()
        if not self._is_token(shown):
            return _refused()
        entered = RedirectResponse("/", HTTPStatus.SEE_OTHER, headers=_HEADERS)
        entered.set_cookie(self._cookie, self.token, httponly=True, samesite="strict")
        return entered

    # --- reports ------------------------------------------------------------------------------------------

    async def _choose(self, request: Request) -> Response:
        """Lead from the form to the address of the report."""
        kind, text = request.query_params.get("kind", ""), request.query_params.get("id", "").strip()
        try:
            found = canonical_uuid(text)
        except ValueError as error:
            return _page(text, _form(text) + _paragraph(str(error), ok=False), HTTPStatus.BAD_REQUEST)
        return RedirectResponse(f"/{kind if kind in _KINDS else _KINDS[0]}/{found}", HTTPStatus.SEE_OTHER)

    async def _room(self, request: Request) -> Response:
        async def examine(room: str) -> tuple[Verdict[Any], dict[str, Any], str]:
            verdict = await examine_room(self._bus, self._groups, RoomId(room))
            return verdict, room_as_json(verdict), room_as_text(verdict, _MEMBERS_SHOWN)

        return await self._report(request, examine)

    async def _user(self, request: Request) -> Response:
        async def examine(user: str) -> tuple[Verdict[Any], dict[str, Any], str]:
            verdict = await examine_user(self._bus, self._groups, UserId(user))
            return verdict, user_as_json(verdict), user_as_text(verdict)

        return await self._report(request, examine)

    async def _report(
        self, request: Request, examine: Callable[[str], Awaitable[tuple[Verdict[Any], dict[str, Any], str]]]
    ) -> Response:
        text = request.path_params["id"]
        as_json = request.query_params.get("format") == "json"
        try:
            found = canonical_uuid(text)
        except ValueError as error:
            return _failed(text, str(error), HTTPStatus.BAD_REQUEST, as_json=as_json)
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS), self._slots:
                verdict, report, lines = await examine(found)
        except (BusError, TimeoutError) as error:
            reason = str(error) or "the answers did not come in time"
            return _failed(found, reason, HTTPStatus.SERVICE_UNAVAILABLE, as_json=as_json)
        if as_json:
            return JSONResponse(report, headers=_HEADERS)
        body = _form(found) + _paragraph(_VERDICTS[verdict.status], ok=verdict.status == 0)
        return _page(found, f"{body}<pre>{html.escape(lines)}</pre>")


def _refused() -> Response:
    text = "Open the address that `studyroom inspector` has printed, with its token."
    return _page("", _paragraph(text, ok=False), HTTPStatus.UNAUTHORIZED)


def _failed(about: str, reason: str, status: HTTPStatus, *, as_json: bool) -> Response:
    if as_json:
        return JSONResponse({"error": reason}, status, headers=_HEADERS)
    return _page(about, _form(about) + _paragraph(reason, ok=False), status)


def _page(about: str, body: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    title = html.escape(f"{about} - Studyroom inspector" if about else "Studyroom inspector")
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>Studyroom inspector</h1>{body}</main></body></html>",
        status,
        headers=_HEADERS,
    )


def _form(text: str = "") -> str:
    return (
        '<form action="/inspect"><p><label for="id">Id of a room or a user</label></p>'
        f'<p><input id="id" name="id" required value="{html.escape(text)}"> '
        '<button name="kind" value="rooms">Room</button> <button name="kind" value="users">User</button></p></form>'
    )


def _paragraph(text: str, *, ok: bool) -> str:
    return f'<p class="{"ok" if ok else "not-ok"}" role="status">{html.escape(text)}</p>'
