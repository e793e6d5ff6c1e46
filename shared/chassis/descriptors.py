"""The limit on file descriptors, and the reserve for NATS, the admin port and files.

The kernel gives every new file the lowest free number. So the number of a new file shows how many files are open, and
nobody has to count them.
"""

import fcntl
import os
import resource

_ENOUGH = 1 << 20
"""The limit to ask for on a system without a hard limit."""
_RESERVED_MIN, _RESERVED_MAX, _RESERVED_SHARE = 24, 1024, 10
_RESERVED_BEYOND_ADMIN = 8
"""The reserve for NATS and files beyond the descriptors that the admin port may use."""


def raise_limit() -> int:
    """Raise the soft limit to the hard limit, at most to 2²⁰. Return the new soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, min(hard, _ENOUGH) if hard != resource.RLIM_INFINITY else _ENOUGH)
    if wanted != soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):  # A sandbox may forbid it.
            return soft
    return wanted


def limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def below_public(limit: int) -> int:
    """Return the number below which sockets of a public port must stay. The rest is for NATS, admin port and files."""
    return limit - min(max(_RESERVED_MIN, limit // _RESERVED_SHARE), _RESERVED_MAX)


def below_admin(limit: int) -> int:
    """Return the number below which sockets of the admin port must stay."""
    return limit - _RESERVED_BEYOND_ADMIN


def lowest_free(an_open_one: int) -> int:
    """Return the number that the next file would get, the limit if none is free.

    `an_open_one`: an open descriptor, which the function duplicates for a moment.
    """
    try:
        number = fcntl.fcntl(an_open_one, fcntl.F_DUPFD_CLOEXEC, 0)
    except OSError:
        return limit()
    os.close(number)
    return number
