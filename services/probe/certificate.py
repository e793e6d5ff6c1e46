"""The certificate of the public address. Nothing else that is watched here knows when it ends."""

import asyncio
import ssl
from urllib.parse import urlsplit

_SECONDS = 5.0
_HTTPS_PORT = 443


async def expiry(url: str, tls: ssl.SSLContext | None) -> float | None:
    """Return when the server's certificate expires, in Unix seconds. Takes 5 s at most.

    `tls`: where the default context will not do. Returns None without TLS, and if there is no valid certificate.
    """
    parts = urlsplit(url)
    if parts.scheme != "wss":
        return None
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or _HTTPS_PORT, ssl=tls or ssl.create_default_context()
            )
    except OSError:  # also a late answer and a certificate that is not valid. The pass fails too, and says why
        return None
    certificate = writer.get_extra_info("peercert")
    writer.transport.abort()
    return float(ssl.cert_time_to_seconds(certificate["notAfter"])) if certificate else None
