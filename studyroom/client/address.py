"""The addresses of a server: that of its WebSocket, and those of its HTTP API beside it."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


def socket_address(url: str, query: Mapping[str, str | None]) -> str:
    """Return the address of the WebSocket with these parameters. Those without a value are left out.

    Raises ValueError for an address that is not `ws://`, `wss://`, `http://` or `https://` with a host.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ValueError(f"not the address of a WebSocket, such as wss://host/ws: {url!r}")
    return parts._replace(scheme=_SCHEMES[parts.scheme], query=_with(parts.query, query), fragment="").geturl()


def http_address(url: str, path: str, query: Mapping[str, str | None]) -> str:
    """Return the address of a request, which is beside that of the WebSocket. Raises as `socket_address` does."""
    beside = urlsplit(urljoin(socket_address(url, {}).replace("ws", "http", 1), path))
    return beside._replace(query=_with(urlsplit(url).query, query)).geturl()


def _with(before: str, query: Mapping[str, str | None]) -> str:
    more = {name: value for name, value in query.items() if value}
    kept = [(name, value) for name, value in parse_qsl(before, keep_blank_values=True) if name not in more]
    return urlencode([*kept, *more.items()])
