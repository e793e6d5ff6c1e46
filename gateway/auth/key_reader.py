"""Public keys from a URL (JWKS), read in the background so that no handshake ever waits for them.

What was read once is kept for as long as the URL cannot be read. A token that names an unknown key is refused and has
them read again soon: that is how a key that was rotated in becomes known.
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
    """Fills `ring`, for as long as `run` runs."""

    def __init__(self, url: str, settings: AuthSettings, metrics: GatewayMetrics) -> None:
        self._url = url
        self._refresh_seconds = settings.jwks_refresh_seconds
        self._retry_seconds = settings.jwks_retry_seconds
        self._metrics = metrics
        self._wanted = asyncio.Event()
        self.ring = KeyRing(on_missing=self._wanted.set)

    async def run(self) -> None:
        """Read them every so often, and soon when one is missing or they could not be read.

        Never more often than every `jwks_retry_seconds`, whoever shows unknown keys. The jitter keeps gateways apart.
        """
        while True:
            self._wanted.clear()
            succeeded = await self._read()
            await asyncio.sleep(self._retry_seconds * random.uniform(*_JITTER))  # noqa: S311 - jitter
            if succeeded:
                rest_seconds = max(0.0, self._refresh_seconds - self._retry_seconds)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(rest_seconds * random.uniform(*_JITTER)):  # noqa: S311 - jitter
                        await self._wanted.wait()

    async def _read(self) -> bool:
        try:
            keys = await asyncio.to_thread(_fetch, self._url)
        except (OSError, HTTPException, BadKeys) as error:
            self._metrics.key_reads.labels(result="failed").inc()
            log.warning("the keys of access tokens could not be read", error=str(error), kept=len(self.ring.keys))
            return False
        self._metrics.key_reads.labels(result="read").inc()
        if keys != self.ring.keys:
            log.info("the keys of access tokens are known", kids=[key.kid for key in keys])
        self.ring.keys = keys
        return True


class _NoRedirects(HTTPRedirectHandler):
    """Keys are what one trusts: they come from where the settings say and from nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _fetch(url: str) -> tuple[PublicKey, ...]:
    """Blocks, for a bounded time. Raises OSError, HTTPException or BadKeys."""
    deadline = time.monotonic() + _FETCH_SECONDS
    request = Request(url, headers={"Accept": "application/json", "User-Agent": "studyroom"})  # noqa: S310 - settings allow http and https only
    body = b""
    with build_opener(_NoRedirects).open(request, timeout=_FETCH_SECONDS) as response:
        while chunk := response.read1(65_536):
            body += chunk
            if len(body) > _FETCH_MAX_BYTES:
                raise BadKeys(f"more than {_FETCH_MAX_BYTES} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not read within {_FETCH_SECONDS:.0f} s")
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadKeys("not JSON") from error
    return read_keys(document)
