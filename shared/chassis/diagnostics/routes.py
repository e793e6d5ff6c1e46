"""The requests of the admin port that look into the process. They need a token, and without one they do not exist."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.diagnostics.log_levels import LEVELS, LogLevel
from studyroom.shared.chassis.diagnostics.profiling import profile
from studyroom.shared.chassis.diagnostics.task_dump import dump_tasks
from studyroom.shared.chassis.threads import in_daemon_thread

_PROFILE_SECONDS, _PROFILE_MAX_SECONDS = 10.0, 15.0
"""The default and the most. The admin port ends answers that take longer than 20 seconds."""
_PROFILE_HERTZ, _PROFILE_MAX_HERTZ = 100, 1000
_LEVEL_SECONDS, _LEVEL_MAX_SECONDS = 600.0, 86_400.0
_BAD_REQUEST, _UNAUTHORIZED, _BUSY = 400, 401, 409
_REFUSAL = "the admin token is missing or wrong\n"

Answer = Callable[[Request], Awaitable[Response]]

log = logs.get(__name__)


class _Refused(Exception):
    """A parameter is wrong."""


def diagnostic_routes(token: SecretStr | None) -> list[Route]:
    """Return the routes; none without a token."""
    if token is None:
        return []
    diagnostics = _Diagnostics()

    def guarded(path: str, answer: Answer, method: str = "GET") -> Route:
        return Route(path, _with_token(token, answer), methods=[method])

    return [
        guarded("/debug/tasks", diagnostics.tasks),
        guarded("/debug/profile", diagnostics.profile),
        guarded("/debug/log-level", diagnostics.log_level),
        guarded("/debug/log-level", diagnostics.set_log_level, "PUT"),
    ]


def _with_token(token: SecretStr, answer: Answer) -> Answer:
    expected = f"bearer {token.get_secret_value()}".encode()

    async def answer_if_known(request: Request) -> Response:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        # The comparison takes the same time however much of the token is right.
        if not hmac.compare_digest(f"{scheme.lower()} {given.strip()}".encode(), expected):
            return PlainTextResponse(_REFUSAL, _UNAUTHORIZED, {"WWW-Authenticate": "Bearer"})
        try:
            return await answer(request)
        except _Refused as refused:
            return PlainTextResponse(f"{refused}\n", _BAD_REQUEST)

    return answer_if_known


class _Diagnostics:
    def __init__(self) -> None:
        self._level = LogLevel()
        self._is_profiling = False

    async def tasks(self, _: Request) -> Response:
        return PlainTextResponse(dump_tasks(asyncio.all_tasks()))

    async def profile(self, request: Request) -> Response:
        seconds = _number(request, "seconds", _PROFILE_SECONDS, _PROFILE_MAX_SECONDS)
        hertz = int(_number(request, "hertz", _PROFILE_HERTZ, _PROFILE_MAX_HERTZ))
        if self._is_profiling:
            return PlainTextResponse("another profile is being made\n", _BUSY)
        self._is_profiling = True
        log.info("making a profile", seconds=seconds, hertz=hertz)
        try:
            return PlainTextResponse(await in_daemon_thread("profile", lambda: profile(seconds, hertz)))
        finally:
            self._is_profiling = False

    async def log_level(self, _: Request) -> Response:
        return JSONResponse({"level": self._level.present, "seconds_left": self._level.seconds_left})

    async def set_log_level(self, request: Request) -> Response:
        level = request.query_params.get("level", "")
        if level not in LEVELS:
            raise _Refused(f"level must be one of {', '.join(LEVELS)}")
        self._level.change(level, _number(request, "seconds", _LEVEL_SECONDS, _LEVEL_MAX_SECONDS))
        return await self.log_level(request)


def _number(request: Request, name: str, default: float, most: float) -> float:
    """Read a parameter that is at least 1. Raises _Refused."""
    text = request.query_params.get(name)
    try:
        number = default if text is None else float(text)
    except ValueError as error:
        raise _Refused(f"{name} must be a number") from error
    if not 1 <= number <= most:
        raise _Refused(f"{name} must be from 1 to {most:g}")
    return number
