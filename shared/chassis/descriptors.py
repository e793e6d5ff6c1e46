"""File descriptors of this process: as many as the system gives, and some kept for what must always work.

The kernel gives every new file the lowest number that is free. So the number of a new file says how many are open, and
nothing has to be counted.
"""

import fcntl
import os
import resource

_ENOUGH = 1 << 20
"""Some systems set no limit; more than this is never asked for."""
_RESERVED_MIN, _RESERVED_MAX, _RESERVED_SHARE = 24, 1024, 10
_RESERVED_BEYOND_ADMIN = 8
"""For NATS and files, when even the admin port has taken all it may."""


def raise_limit() -> int:
    """Raise the soft limit to the hard one. The limit from now on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, min(hard, _ENOUGH) if hard != resource.RLIM_INFINITY else _ENOUGH)
    if wanted != soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):  # a sandbox forbids it: what we have has to do
            return soft
    return wanted


def limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def below_public(limit: int) -> int:
    """The number below which sockets of a public port stay; what is beyond is for NATS, the admin port and files."""
    return limit - min(max(_RESERVED_MIN, limit // _RESERVED_SHARE), _RESERVED_MAX)


def below_admin(limit: int) -> int:
    return limit - _RESERVED_BEYOND_ADMIN


def lowest_free(an_open_one: int) -> int:
    """The number that the next file would get; the limit when there is none. `an_open_one`: to try it with."""
    try:
        number = fcntl.fcntl(an_open_one, fcntl.F_DUPFD_CLOEXEC, 0)
    except OSError:
        return limit()
    os.close(number)
    return number
