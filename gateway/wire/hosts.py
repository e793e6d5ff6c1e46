"""By which names the gateway may be reached. Pure.

Whoever owns a name can let it point here (DNS rebinding): for a browser the page it had from there is then one of the
gateway's own. What tells it apart is the name itself, which the browser puts into `Host`.
"""

import re

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names of this machine for itself."""
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")
_PORT = re.compile(r":[0-9]*$")


def is_host(text: str) -> bool:
    """Whether it is a name or an address without a port, in lower case; IPv6 in brackets."""
    return _HOST.fullmatch(text) is not None


def host_of(header: str) -> str | None:
    """The name in a `Host` header, as settings spell it; None when there is none."""
    name = _PORT.sub("", header.strip().lower()).removesuffix(".")
    return name if is_host(name) else None


def in_ascii(name: str) -> str | None:
    """A name with other letters as browsers send it; None where that is not sure: Python has the rules of 2003."""
    try:
        spelled = name.encode("idna")
        return spelled.decode("ascii") if spelled.decode("idna") == name.lower() else None
    except UnicodeError:
        return None
