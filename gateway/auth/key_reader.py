"""Reads public keys from a URL (JWKS) in the background, so that no handshake waits for them.

While the URL cannot be read, the last keys stay in use. A token with an unknown key is refused and makes the reader
read the URL again soon, so keys that the issuer rotates in become known.
"""

import asyncio
import contextlib
import json
import random
import time
from http.client import HTTPException
from typing import Any
from urllib.request import HTTPRedirectHandler, Request, build_opener

from studyroom.gateway.auth.key_ring import BadKeys, KeyRing, PublicKey, read_keys
from studyroom.gateway.auth.settings import AuthSettings
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.shared.chassis import logs

log = logs.get(__name__)

_FETCH_SECONDS = 5.0
_FETCH_MAX_BYTES = 1024 * 1024
_JITTER = (0.8, 1.2)


class KeyReader:
    """Keeps `ring` filled while `run` is running."""

    def __init__(self, url: str, settings: AuthSettings, metrics: GatewayMetrics) -> None:
        self._url = url
        self._refresh_seconds = settings.jwks_refresh_seconds
        self._retry_seconds = settings.jwks_retry_seconds
        self._metrics = metrics
        self._key_missing = asyncio.Event()
        self.ring = KeyRing(on_missing=self._key_missing.set)

    async def run(self) -> None:
        """Read the keys every `jwks_refresh_seconds`, and soon after a failure or a token with an unknown key.

        Reads are at least `jwks_retry_seconds` apart, however many unknown keys clients send. Jitter keeps gateways
        from reading at the same time. Never returns.
        """
        while True:
            self._key_missing.clear()
            succeeded = await self._read()
            await asyncio.sleep(self._retry_seconds * random.uniform(*_JITTER))  # noqa: S311 - jitter
            if succeeded:
                rest_seconds = max(0.0, self._refresh_seconds - self._retry_seconds)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(rest_seconds * random.uniform(*_JITTER)):  # noqa: S311 - jitter
                        await self._key_missing.wait()

    async def _read(self) -> bool:
        try:
            keys = await asyncio.to_thread(_fetch, self._url)
        except (OSError, HTTPException, BadKeys) as error:
            self._metrics.key_reads.labels(result="failed").inc()
            log.warning("failed to read the keys for access tokens", error=str(error), kept=len(self.ring.keys))
            return False
        self._metrics.key_reads.labels(result="read").inc()
        if keys != self.ring.keys:
            log.info("read new keys for access tokens", kids=[key.kid for key in keys])
        self.ring.keys = keys
        return True


class _NoRedirects(HTTPRedirectHandler):
    """The gateway trusts these keys, so they come from the URL in the settings and from nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _fetch(url: str) -> tuple[PublicKey, ...]:
    """Blocks for a bounded time, so run it in a thread. Raises OSError, HTTPException or BadKeys."""
    deadline = time.monotonic() + _FETCH_SECONDS
    request = Request(url, headers={"Accept": "application/json", "User-Agent": "studyroom"})  # noqa: S310 - settings allow http and https only
    body = b""
    with build_opener(_NoRedirects).open(request, timeout=_FETCH_SECONDS) as response:
        while chunk := response.read1(65_536):
            body += chunk
            if len(body) > _FETCH_MAX_BYTES:
                raise BadKeys(f"more than {_FETCH_MAX_BYTES} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError(f"took longer than {_FETCH_SECONDS:.0f} s")
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadKeys("not JSON") from error
    return read_keys(document)
