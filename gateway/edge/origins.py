"""Which web pages may open a WebSocket here. Pure.

A browser tells the page's origin (RFC 6455 section 4.1) and, with a WebSocket, asks nobody whether that page may read
the answer (no CORS), but sends this site's cookies. Other clients tell no origin, and could tell any.
"""

import re
from collections.abc import Collection
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import urlsplit

from studyroom.gateway.wire.hosts import LOCAL_HOSTS, in_ascii, is_host

ANY = "*"
FILES = "file://"
"""Pages that an app, or a person, has opened from the disk; some send `null` instead, which many other pages do too."""
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
    """Whether it is of a page of the web, as browsers spell it: scheme, host, and a port that is not the usual one."""
    return text.partition("://")[0] in _DEFAULT_PORTS and "*" not in text and problem_of(text) is None


def problem_of(text: str) -> str | None:  # noqa: PLR0911 - one case for each
    """Why no page can ever be of this origin, and how it is to be spelled; None when one can.

    Taken are origins of the web (`https://app.example.org:8443`), of apps (`capacitor://localhost`,
    `chrome-extension://<id>`, `file://`), and of all subdomains (`https://*.example.org`).
    """
    if text == FILES:
        return None
    if (parts := _PARTS.fullmatch(text)) is None:
        return "is no origin: that is https://host, https://host:port, or scheme://host of an app"
    scheme, authority, rest = parts.groups()
    if rest or "@" in authority:
        return f"is more than an origin, which has neither user nor path: {scheme}://{authority.rpartition('@')[2]}"
    if text != (lower := text.lower()):
        return f"is compared in lower case: {lower}"
    if _SCHEME.fullmatch(scheme) is None or scheme in _NO_PAGES:
        return (
            f"is of no page: pages that open a WebSocket are of http, https, or a scheme of an app, and not of {scheme}"
        )
    port = _PORT.search(authority)
    host = authority[: port.start()] if port is not None else authority
    if port is not None and (wrong := _problem_of_port(scheme, port[1])) is not None:
        return f"{wrong}: {scheme}://{host}"
    return _problem_of_host(scheme, host)


def _problem_of_port(scheme: str, port: str) -> str | None:
    if port == str(_DEFAULT_PORTS.get(scheme)) or port == "":
        return "has a port that browsers leave out"
    if not (port.isascii() and port.isdecimal() and port == str(int(port)) and 0 < int(port) <= _PORT_MAX):
        return "has no port that there can be"
    return None


def _problem_of_host(scheme: str, host: str) -> str | None:
    name = host.removeprefix(_ANY_SUBDOMAIN)
    if not name.isascii():
        spelled = in_ascii(name)
        hint = f": {scheme}://{host.replace(name, spelled)}" if spelled is not None else ", with xn--"
        return f"has to be spelled as browsers send it{hint}"
    if "*" in name:
        return f"may have * only for all subdomains: {scheme}://*.example.org"
    if not is_host(name.removesuffix(".")):
        return f"has no host that there can be: {host!r}"
    if scheme not in _DEFAULT_PORTS or (address := _address_in(name)) is None:
        return None
    if name != host:
        return f"is of an address, which has no subdomains: {scheme}://{name}"
    return None if address == name else f"has an address that browsers spell otherwise: {scheme}://{address}"


def _address_in(host: str) -> str | None:
    """As browsers spell it (URL Standard, section 3.5); None when it is a name."""
    try:
        if host.startswith("["):
            return f"[{IPv6Address(host[1:-1]).compressed}]"
        if _NUMBER.fullmatch(host.rpartition(".")[2]) is not None:
            return str(IPv4Address(host))
    except AddressValueError:
        return "four numbers, or IPv6 in brackets"
    return None


def is_allowed(origin: str | None, host: str, others: Collection[str]) -> bool:
    """`origin`, `host`: those headers of the handshake. `others`: origins that may beside the gateway's own.

    A page of this machine may always speak to a gateway that is reached as this machine.
    """
    if origin is None or ANY in others:
        return True
    spelled = origin.lower()
    if ("*" not in spelled and spelled in others) or any(_is_below(spelled, other) for other in others):
        return True
    if not is_origin(origin):
        return False
    page = urlsplit(origin)
    here = _split_host(host, _DEFAULT_PORTS[page.scheme])
    if here is None:
        return False
    there = page.hostname, page.port or _DEFAULT_PORTS[page.scheme]
    return there == here or {there[0], here[0]} <= LOCAL_HOSTS


def _is_below(origin: str, pattern: str) -> bool:
    scheme, wildcard, domain = pattern.partition(f"://{_ANY_SUBDOMAIN}")
    before, behind = f"{scheme}://", f".{domain}"
    if not wildcard or not origin.startswith(before) or not origin.endswith(behind):
        return False
    return _LABELS.fullmatch(origin[len(before) : -len(behind)]) is not None


def _split_host(host: str, default_port: int) -> tuple[str, int] | None:
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname, parts.port or default_port) if parts.hostname else None
    except ValueError:
        return None
