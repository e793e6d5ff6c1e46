"""Which web pages may open a WebSocket here. Pure.

A browser sends the origin of the page (RFC 6455 section 4.1). It does not apply CORS to WebSockets, but it does send
this site's cookies, so the gateway must check the origin itself. Other clients can send any origin, or none.
"""

import re
from collections.abc import Collection
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import urlsplit

from studyroom.gateway.wire.hosts import LOCAL_HOSTS, in_ascii, is_host

ANY = "*"
FILES = "file://"
"""The origin of pages that an app or a person opens from the disk. Some browsers send `null` for them, as for many
other pages."""
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PORT_MAX = 65_535
_NO_PAGES = {"about", "blob", "data", "ftp", "javascript", "ws", "wss"}
_ANY_SUBDOMAIN = "*."
_PARTS = re.compile(r"([^:/?#]+)://([^/?#]*)(.*)", re.DOTALL)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_PORT = re.compile(r":([^\]:]*)$")
_LABELS = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def is_origin(text: str) -> bool:
    """Whether `text` is the origin of a web page as browsers send it, with the port only if it is not the default."""
    return text.partition("://")[0] in _DEFAULT_PORTS and "*" not in text and problem_of(text) is None


def problem_of(text: str) -> str | None:  # noqa: PLR0911 - one case for each
    """Why no page can have this origin, with the right spelling where there is one; None for a valid origin.

    Valid are origins of web pages (`https://app.example.org:8443`), of apps (`capacitor://localhost`,
    `chrome-extension://<id>`, `file://`), and patterns for all subdomains (`https://*.example.org`).
    """
    if text == FILES:
        return None
    if (parts := _PARTS.fullmatch(text)) is None:
        return "is not an origin: write https://host, https://host:port, or scheme://host for an app"
    scheme, authority, rest = parts.groups()
    if rest or "@" in authority:
        return f"is more than an origin, which has no user and no path: {scheme}://{authority.rpartition('@')[2]}"
    if text != (lower := text.lower()):
        return f"must be in lower case: {lower}"
    if _SCHEME.fullmatch(scheme) is None or scheme in _NO_PAGES:
        return f"is not the origin of a page: the scheme must be http, https, or that of an app, not {scheme}"
    port = _PORT.search(authority)
    host = authority[: port.start()] if port is not None else authority
    if port is not None and (wrong := _problem_of_port(scheme, port[1])) is not None:
        return f"{wrong}: {scheme}://{host}"
    return _problem_of_host(scheme, host)


def _problem_of_port(scheme: str, port: str) -> str | None:
    if port == str(_DEFAULT_PORTS.get(scheme)) or port == "":
        return "has a port that browsers leave out"
    if not (port.isascii() and port.isdecimal() and port == str(int(port)) and 0 < int(port) <= _PORT_MAX):
        return "has no valid port"
    return None


def _problem_of_host(scheme: str, host: str) -> str | None:
    name = host.removeprefix(_ANY_SUBDOMAIN)
    if not name.isascii():
        spelled = in_ascii(name)
        hint = f": {scheme}://{host.replace(name, spelled)}" if spelled is not None else ", with xn--"
        return f"must be spelled as browsers send it{hint}"
    if "*" in name:
        return f"may have * only for all subdomains: {scheme}://*.example.org"
    if not is_host(name.removesuffix(".")):
        return f"has no valid host: {host!r}"
    if scheme not in _DEFAULT_PORTS or (address := _address_in(name)) is None:
        return None
    if name != host:
        return f"has an address, which has no subdomains: {scheme}://{name}"
    return None if address == name else f"has an address that browsers write differently: {scheme}://{address}"


def _address_in(host: str) -> str | None:
    """The address as browsers write it (URL Standard section 3.5); None if `host` is a name."""
    try:
        if host.startswith("["):
            return f"[{IPv6Address(host[1:-1]).compressed}]"
        if _NUMBER.fullmatch(host.rpartition(".")[2]) is not None:
            return str(IPv4Address(host))
    except AddressValueError:
        return "four numbers, or IPv6 in brackets"
    return None


def is_allowed(origin: str | None, host: str, others: Collection[str]) -> bool:
    """Whether a page of this origin may connect.

    `origin`, `host`: the headers of the handshake. `others`: allowed origins besides the gateway's own. A page from a
    local host may always connect if it also reached the gateway at a local host.
    """
    if origin is None or ANY in others:
        return True
    lower = origin.lower()
    if ("*" not in lower and lower in others) or any(_matches(lower, other) for other in others):
        return True
    if not is_origin(origin):
        return False
    page = urlsplit(origin)
    gateway_host = _split_host(host, _DEFAULT_PORTS[page.scheme])
    if gateway_host is None:
        return False
    page_host = page.hostname, page.port or _DEFAULT_PORTS[page.scheme]
    return page_host == gateway_host or {page_host[0], gateway_host[0]} <= LOCAL_HOSTS


def _matches(origin: str, pattern: str) -> bool:
    """Whether `origin` is a subdomain of a pattern such as `https://*.example.org`; False for other patterns."""
    scheme, wildcard, domain = pattern.partition(f"://{_ANY_SUBDOMAIN}")
    prefix, suffix = f"{scheme}://", f".{domain}"
    if not wildcard or not origin.startswith(prefix) or not origin.endswith(suffix):
        return False
    return _LABELS.fullmatch(origin[len(prefix) : -len(suffix)]) is not None


def _split_host(host: str, default_port: int) -> tuple[str, int] | None:
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname, parts.port or default_port) if parts.hostname else None
    except ValueError:
        return None
