"""Which web pages may open a WebSocket here. Pure.

A browser tells the page's origin (RFC 6455 section 4.1) and, with a WebSocket, asks nobody whether that page may read
the answer (no CORS), but sends this site's cookies. Other clients tell no origin, and could tell any.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

ANY = "*"
LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}
_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_origin(text: str) -> bool:
    """Whether it is spelled as browsers spell an origin: scheme, host, and a port that is not the scheme's own."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return (
        text == f"{parts.scheme}://{parts.netloc}".lower()
        and parts.scheme in _DEFAULT_PORTS
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and port != _DEFAULT_PORTS[parts.scheme]
    )


def is_allowed(origin: str | None, host: str, others: Collection[str]) -> bool:
    """`origin`, `host`: those headers of the handshake. `others`: origins that may beside the gateway's own.

    A page of this machine may always speak to a gateway that is reached as this machine.
    """
    if origin is None or ANY in others or origin.lower() in others:
        return True
    if not is_origin(origin):
        return False
    page = urlsplit(origin)
    here = _split_host(host, _DEFAULT_PORTS[page.scheme])
    if here is None:
        return False
    there = page.hostname, page.port or _DEFAULT_PORTS[page.scheme]
    return there == here or {there[0], here[0]} <= LOCAL_HOSTS


def _split_host(host: str, default_port: int) -> tuple[str, int] | None:
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname, parts.port or default_port) if parts.hostname else None
    except ValueError:
        return None
