"""Who asks over plain HTTP: a trusted backend by its key, or whoever may open a WebSocket."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Path, Request, Response, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from studyroom.gateway.auth.identity import Authenticator, Identity
from studyroom.gateway.auth.key_ring import KeysUnavailable
from studyroom.gateway.wire.credentials import Unauthorized
from studyroom.gateway.wire.header_fields import combined
from studyroom.shared.chassis.api_keys import ApiKeys
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import RoomId, UserId, canonical_uuid

HTTP_BAD_REQUEST, HTTP_NOT_FOUND, HTTP_UNAVAILABLE, HTTP_INSUFFICIENT_STORAGE = 400, 404, 503, 507
_HTTP_UNAUTHORIZED, _HTTP_FORBIDDEN = 401, 403


RoomPath = Annotated[str, Path(json_schema_extra={"format": "uuid"})]
UserPath = Annotated[str, Path(json_schema_extra={"format": "uuid"})]
"""Read by `parse_room` and `parse_user`: who may not ask is told that before anything else."""

MODERATOR = "moderator"
"""The `role` of an access token."""


class HttpRefusal(Exception):
    """Becomes the answer: the status, and the JSON body with code and message."""

    def __init__(self, status: int, code: ErrorCode, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class ErrorBody(BaseModel):
    code: ErrorCode
    message: str


REFUSALS: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorBody} for status in (HTTP_BAD_REQUEST, _HTTP_UNAUTHORIZED, _HTTP_FORBIDDEN, HTTP_UNAVAILABLE)
}

BY_TOKEN = Security(HTTPBearer(scheme_name="access token", bearerFormat="JWT", auto_error=False))
BY_KEY = Security(HTTPBearer(scheme_name="API key", description="Of a trusted backend.", auto_error=False))
"""What a request may carry, for the description; whether it is good is told by `Access`."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A trusted backend."""

    key: str
    """The name of its key."""

    def __str__(self) -> str:
        return f"key {self.key}"


BanOf = Callable[[UserId, RoomId | None], object]
"""None when the user is not banned, from the room or from everything."""


class Access:
    def __init__(self, authenticator: Authenticator, keys: ApiKeys, ban_of: BanOf) -> None:
        self._ban_of = ban_of
        self._authenticator = authenticator
        self._keys = keys

    def caller(self, request: Request, response: Response) -> Backend | Identity:
        """Raises HttpRefusal."""
        response.headers["Cache-Control"] = "no-store"
        headers = combined(request.headers.items())
        key = self._keys.name_of(headers.get("authorization", ""))
        if key is not None:
            return Backend(key)
        try:
            who = self._authenticator.identify(request.query_params, headers)
        except Unauthorized as error:
            raise _unauthorized(str(error)) from error
        except KeysUnavailable as error:
            raise HttpRefusal(HTTP_UNAVAILABLE, ErrorCode.KEYS_UNAVAILABLE, str(error), Retry_After="1") from error
        if self._ban_of(who.user, None) is not None:
            raise HttpRefusal(_HTTP_FORBIDDEN, ErrorCode.BANNED, "this user is banned")
        return who

    def backend(self, request: Request, response: Response) -> Backend:
        """Only a trusted backend may. Raises HttpRefusal."""
        response.headers["Cache-Control"] = "no-store"
        key = self._keys.name_of(combined(request.headers.items()).get("authorization", ""))
        if key is None:
            raise _unauthorized("this needs an API key")
        return Backend(key)

    def reader(self, room_id: str, request: Request, response: Response) -> RoomId:
        """Whoever may join a room may ask about it, and so may a backend. Raises HttpRefusal."""
        who = self.caller(request, response)
        room = parse_room(room_id)
        if isinstance(who, Identity):
            self._check_enters(who, room)
        return room

    def check_moderates(self, who: Backend | Identity, room: RoomId) -> None:
        """A backend may everywhere, a moderator in the rooms that the access token grants. Raises HttpRefusal."""
        if isinstance(who, Backend):
            return
        if who.role != MODERATOR:
            why = f"this needs an API key, or an access token with the role {MODERATOR!r}"
            raise HttpRefusal(_HTTP_FORBIDDEN, ErrorCode.ROLE_NOT_ALLOWED, why)
        self._check_enters(who, room)

    def _check_enters(self, who: Identity, room: RoomId) -> None:
        if not who.may_enter(room):
            raise room_not_allowed("the access token does not grant this room")
        if self._ban_of(who.user, room) is not None:
            raise HttpRefusal(_HTTP_FORBIDDEN, ErrorCode.BANNED_FROM_ROOM, "you are banned from this room")


def room_not_allowed(why: str) -> HttpRefusal:
    return HttpRefusal(_HTTP_FORBIDDEN, ErrorCode.ROOM_NOT_ALLOWED, why)


def _unauthorized(why: str) -> HttpRefusal:
    return HttpRefusal(_HTTP_UNAUTHORIZED, ErrorCode.UNAUTHORIZED, why, WWW_Authenticate="Bearer")


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
