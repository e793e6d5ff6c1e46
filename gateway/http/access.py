"""Authentication and authorization of HTTP requests: trusted backends by API key, users as for a WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Path, Request, Response, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from studyroom.gateway.auth.bans import Bans
from studyroom.gateway.auth.identity import Authenticator, Identity
from studyroom.gateway.auth.key_ring import KeysUnavailable
from studyroom.gateway.wire.credentials import Unauthorized
from studyroom.gateway.wire.handshake import Handshake, Refused
from studyroom.gateway.wire.header_fields import combined
from studyroom.shared.chassis.api_keys import ApiKeys
from studyroom.shared.chassis.nats.bus import BusError
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import RoomId, UserId, canonical_uuid

HTTP_BAD_REQUEST, HTTP_NOT_FOUND, HTTP_UNAVAILABLE, HTTP_INSUFFICIENT_STORAGE = 400, 404, 503, 507
_HTTP_UNAUTHORIZED, _HTTP_FORBIDDEN = 401, 403


RoomPath = Annotated[str, Path(json_schema_extra={"format": "uuid"})]
UserPath = Annotated[str, Path(json_schema_extra={"format": "uuid"})]
"""Plain strings, which `parse_room` and `parse_user` check later: callers without access get that refusal first."""

MODERATOR = "moderator"
"""The `role` claim of a moderator's access token."""


class HttpRefusal(Exception):
    """An error response: the status, the headers, and a JSON body with `code` and `message`."""

    def __init__(self, status: int, code: ErrorCode, message: str, **headers: str) -> None:
        """In the names of `headers`, `_` stands for `-`."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def refusal_of(refused: Refused) -> HttpRefusal:
    """The response to a plain request whose handshake is refused. It must not be cached."""
    headers = {name.replace("-", "_"): value for name, value in refused.headers}
    return HttpRefusal(refused.status, refused.code, refused.message, Cache_Control="no-store", **headers)


@asynccontextmanager
async def within_deadline(deadline_seconds: float, unavailable: ErrorCode) -> AsyncIterator[None]:
    """Raises HttpRefusal with this code if NATS does not answer in time. Then the outcome is unknown."""
    try:
        async with asyncio.timeout(deadline_seconds):
            yield
    except (BusError, TimeoutError) as error:
        reason = "the request may be carried out or not: send it again"
        raise HttpRefusal(HTTP_UNAVAILABLE, unavailable, reason, Retry_After="1") from error


def as_handshake(path: str, request: Request) -> Handshake:
    """The WebSocket handshake at a path with the headers and the query of this plain request."""
    peer = request.client.host if request.client is not None else None
    return Handshake(path, combined(request.headers.items()), peer, dict(request.query_params))


class ErrorBody(BaseModel):
    code: ErrorCode
    message: str


REFUSALS: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorBody} for status in (HTTP_BAD_REQUEST, _HTTP_UNAUTHORIZED, _HTTP_FORBIDDEN, HTTP_UNAVAILABLE)
}

BY_TOKEN = Security(HTTPBearer(scheme_name="access token", bearerFormat="JWT", auto_error=False))
BY_KEY = Security(HTTPBearer(scheme_name="API key", description="The key of a trusted backend.", auto_error=False))
"""For the OpenAPI document only. `Access` checks the credentials."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A trusted backend."""

    key: str
    """The name of its key."""

    def __str__(self) -> str:
        return f"key {self.key}"


class Access:
    def __init__(self, authenticator: Authenticator, keys: ApiKeys, bans: Bans) -> None:
        self._bans = bans
        self._authenticator = authenticator
        self._keys = keys

    def caller(self, request: Request, response: Response) -> Backend | Identity:
        """The sender of the request. Forbids caching of the response. Raises HttpRefusal."""
        response.headers["Cache-Control"] = "no-store"
        headers = combined(request.headers.items())
        key = self._keys.name_of(headers.get("authorization", ""))
        if key is not None:
            return Backend(key)
        try:
            identity = self._authenticator.identify(request.query_params, headers)
        except Unauthorized as error:
            raise _unauthorized(str(error)) from error
        except KeysUnavailable as error:
            raise HttpRefusal(HTTP_UNAVAILABLE, ErrorCode.KEYS_UNAVAILABLE, str(error), Retry_After="1") from error
        if self._bans.ban_of(identity.user) is not None:
            raise HttpRefusal(_HTTP_FORBIDDEN, ErrorCode.BANNED, "this user is banned")
        return identity

    def backend(self, request: Request, response: Response) -> Backend:
        """The trusted backend that sent the request. Raises HttpRefusal for anyone else."""
        response.headers["Cache-Control"] = "no-store"
        key = self._keys.name_of(combined(request.headers.items()).get("authorization", ""))
        if key is None:
            raise _unauthorized("this request requires an API key")
        return Backend(key)

    def reader(self, room_id: str, request: Request, response: Response) -> RoomId:
        """The room in the path, for a backend or a user who may join the room. Raises HttpRefusal for anyone else."""
        caller = self.caller(request, response)
        room = parse_room(room_id)
        if isinstance(caller, Identity):
            self._check_may_enter(caller, room)
        return room

    def check_moderates(self, caller: Backend | Identity, room: RoomId) -> None:
        """Backends may moderate every room, moderators those that their access token grants. Raises HttpRefusal."""
        if isinstance(caller, Backend):
            return
        if caller.role != MODERATOR:
            reason = f"this request requires an API key, or an access token with the role {MODERATOR!r}"
            raise HttpRefusal(_HTTP_FORBIDDEN, ErrorCode.ROLE_NOT_ALLOWED, reason)
        self._check_may_enter(caller, room)

    def _check_may_enter(self, identity: Identity, room: RoomId) -> None:
        if not identity.may_enter(room):
            raise room_not_allowed("the access token does not grant this room")
        if self._bans.ban_of(identity.user, room) is not None:
            raise HttpRefusal(_HTTP_FORBIDDEN, ErrorCode.BANNED_FROM_ROOM, "you are banned from this room")


def room_not_allowed(reason: str) -> HttpRefusal:
    return HttpRefusal(_HTTP_FORBIDDEN, ErrorCode.ROOM_NOT_ALLOWED, reason)


def _unauthorized(reason: str) -> HttpRefusal:
    return HttpRefusal(_HTTP_UNAUTHORIZED, ErrorCode.UNAUTHORIZED, reason, WWW_Authenticate="Bearer")


def parse_room(text: str) -> RoomId:
    """Raises HttpRefusal."""
    return RoomId(_parse_id("room_id", text))


def parse_user(text: str) -> UserId:
    """Raises HttpRefusal."""
    return UserId(_parse_id("user_id", text))


def _parse_id(name: str, text: str) -> str:
    try:
        return canonical_uuid(text)
    except ValueError as error:
        raise HttpRefusal(HTTP_BAD_REQUEST, ErrorCode.INVALID_REQUEST, f"{name}: {error}") from error
