"""Host names, as settings and the `Host` header have them. Pure.

An attacker can let a name of their own point to a gateway (DNS rebinding). For a browser the attacker's page then has
the same origin as the gateway. Only the name differs, which the browser sends in `Host`.
"""

import re

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names with which a machine reaches itself."""
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")
_PORT = re.compile(r":[0-9]*$")


def is_host(text: str) -> bool:
    """Whether `text` is a name or an address in lower case, without a port. IPv6 must be in brackets."""
    return _HOST.fullmatch(text) is not None


def host_of(header: str) -> str | None:
    """The name in a `Host` header, in the form of `is_host`; None if it is not valid."""
    name = _PORT.sub("", header.strip().lower()).removesuffix(".")
    return name if is_host(name) else None


def in_ascii(name: str) -> str | None:
    """An international name as browsers send it; None if that is uncertain, because Python has IDNA 2003 (RFC 3490)."""
    try:
        encoded = name.encode("idna")
        return encoded.decode("ascii") if encoded.decode("idna") == name.lower() else None
    except UnicodeError:
        return None
