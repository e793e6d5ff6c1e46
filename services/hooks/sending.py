"""Sends one event to the backend, over connections to addresses that were checked.

The name of the backend is resolved for each new connection, and the connection goes to an address of that answer, which
was checked. So a name that resolves to something else a moment later gains nothing. No redirect is followed.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import cast

import httpcore

from studyroom.services.hooks import addresses, signatures
from studyroom.services.hooks.settings import HooksSettings

_IDLE_SECONDS = 30.0
"""A connection that is not used for so long is closed, so that the name is resolved again."""
_CONNECT_SECONDS = 3.0
"""The time for each address of the backend, so that the next address gets some too."""
_ANSWER_MAX_BYTES, _ANSWER_SECONDS = 65_536, 1.0
"""After so much of an answer's body, or so long, the connection is closed. The content does not matter."""
_RETRY_AFTER_MAX_SECONDS = 3600.0
_TOO_MANY, _UNAVAILABLE = 429, 503


class Outcome(StrEnum):
    DELIVERED = "delivered"
    REDIRECTED = "redirected"
    REJECTED = "rejected"
    """A status of 400 to 499."""
    THROTTLED = "throttled"
    """429: the backend has too many requests."""
    FAILED = "failed"
    """A status of 500 or more, or one that makes no sense."""
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    """No connection, or it broke."""
    ADDRESS_REFUSED = "address_refused"
    """The name of the backend has only addresses that are not allowed."""


@dataclass(frozen=True, slots=True)
class Result:
    outcome: Outcome
    reason: str = ""
    retry_after_seconds: float = 0.0
    """How long the backend asked to wait; 0 if it did not ask."""

    @property
    def is_delivered(self) -> bool:
        return self.outcome is Outcome.DELIVERED


class AddressRefused(Exception):
    """No address of the backend is allowed."""


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to allowed addresses only. `plain`: without TLS, which is allowed within `networks` only."""

    def __init__(self, networks: Sequence[addresses.Network], *, plain: bool) -> None:
        self._networks = networks
        self._plain = plain
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises AddressRefused, and what httpcore raises."""
        failure: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in await self._allowed(host, port):
            try:
                return await self._sockets.connect_tcp(
                    address, port, timeout or _CONNECT_SECONDS, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address")

    async def _allowed(self, host: str, port: int) -> list[str]:
        """Return the allowed addresses of the host. Raises AddressRefused if it has others only, or ConnectError."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"cannot resolve {host}: {error}") from error
        known = list(dict.fromkeys(str(address[0]) for *_, address in found))
        allowed = [str(address) for text in known if self._is_allowed(address := addresses.read(text))]
        if known and not allowed:
            need = " without TLS" if self._plain else ""
            raise AddressRefused(f"{', '.join(known)} may not be reached{need} (STUDYROOM_HOOKS_ALLOW_NETWORKS)")
        return allowed

    def _is_allowed(self, address: addresses.Address) -> bool:
        return addresses.is_in(address, self._networks) or (not self._plain and addresses.is_public(address))


class Sender:
    """Sends events. Many may be sent at once."""

    def __init__(self, settings: HooksSettings, *, now: Callable[[], float] = time.time) -> None:
        """Create it. `settings` must have an address. `now`: returns Unix seconds."""
        self._url = settings.url or ""
        self._keys = settings.keys
        self._timeout_seconds = settings.timeout_seconds
        self._now = now
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_keepalive_connections=settings.concurrent_requests,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=CheckedNetwork(settings.networks, plain=self._url.startswith("http:")),
        )

    async def close(self) -> None:
        await self._pool.aclose()

    async def send(self, message_id: str, body: bytes) -> Result:
        """Send an event once, and report what came of it. When cancelled, the backend may have it or not."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._send(message_id, body)
        except (TimeoutError, httpcore.TimeoutException):
            return Result(Outcome.TIMEOUT, f"no answer within {self._timeout_seconds:g} s")
        except AddressRefused as error:
            return Result(Outcome.ADDRESS_REFUSED, str(error))
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            return Result(Outcome.UNREACHABLE, str(error) or type(error).__name__)

    async def _send(self, message_id: str, body: bytes) -> Result:
        headers = {
            "content-type": "application/json",
            "user-agent": "studyroom",
            **signatures.headers_for(message_id, int(self._now()), body, self._keys),
        }
        async with self._pool.stream("POST", self._url, headers=_encoded(headers), content=body) as response:
            result = _judged(response.status, _header(response, b"retry-after"), self._now())
            with suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
                await _read_body(response)  # so that the connection can be used again
            return result


async def _read_body(response: httpcore.Response) -> None:
    """Read the body as far as it is short and comes soon. Raises TimeoutError and what httpcore raises."""
    length = 0
    body = cast(AsyncGenerator[bytes, None], response.aiter_stream())
    async with asyncio.timeout(_ANSWER_SECONDS), aclosing(body) as chunks:
        async for chunk in chunks:
            length += len(chunk)
            if length > _ANSWER_MAX_BYTES:
                return


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def _header(response: httpcore.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), "")


def _judged(status: int, retry_after: str, now: float) -> Result:
    reason = f"status {status}"
    asked = retry_after_seconds(retry_after, now) if status in {_TOO_MANY, _UNAVAILABLE} else 0.0
    if 200 <= status < 300:  # noqa: PLR2004 - success of any kind
        return Result(Outcome.DELIVERED)
    if 300 <= status < 400:  # noqa: PLR2004
        return Result(Outcome.REDIRECTED, f"{reason}: redirects are not followed")
    if status == _TOO_MANY:
        return Result(Outcome.THROTTLED, reason, asked)
    if 400 <= status < 500:  # noqa: PLR2004
        return Result(Outcome.REJECTED, reason)
    return Result(Outcome.FAILED, reason, asked)


def retry_after_seconds(value: str, now: float) -> float:
    """Return the seconds of a `Retry-After` (RFC 9110 section 10.2.3), at most an hour; 0 if it makes no sense."""
    if value.isascii() and value.isdigit():
        return min(float(value), _RETRY_AFTER_MAX_SECONDS)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - now
    except ValueError:
        return 0.0
    return min(max(seconds, 0.0), _RETRY_AFTER_MAX_SECONDS)
