"""Looks up the names of NATS servers.

uvloop starts a lookup for each attempt to connect and gives it up with the attempt. The lookup goes on without it. Then
asyncio reports its failure as an exception that was never retrieved, without the name. Lookups also pile up.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import nats.errors

from studyroom.shared.chassis.sharing import result_of

Lookup = Callable[[str], Awaitable[Any]]


class NameUnknown(nats.errors.Error):
    """The name of a server has no address now. The argument has the name and the reason."""


class Names:
    def __init__(self, lookup: Lookup | None = None) -> None:
        self._lookup = lookup or _ask
        self._asking: dict[str, asyncio.Future[Any]] = {}

    async def check(self, host: str, within_seconds: float) -> None:
        """Return when a name has an address. Raises NameUnknown.

        A lookup that takes longer goes on, and the next call waits for it too. You may cancel a call.
        """
        if _is_address(host):
            return
        asking = self._asking.get(host)
        if asking is None:
            asking = self._asking[host] = asyncio.ensure_future(self._lookup(host))
            asking.add_done_callback(lambda done: self._ended(host, done))
        try:
            async with asyncio.timeout(within_seconds):
                await result_of(asking)
        except TimeoutError as error:
            raise NameUnknown(f"{host} has no address: the name server does not answer") from error
        except socket.gaierror as error:
            raise NameUnknown(f"{host} has no address: {(error.strerror or str(error)).lower()}") from error

    def close(self) -> None:
        """Give up all lookups."""
        for asking in list(self._asking.values()):
            asking.cancel()

    def _ended(self, host: str, done: "asyncio.Future[Any]") -> None:
        self._asking.pop(host, None)
        if not done.cancelled():
            done.exception()  # Marks it as retrieved, because the attempt that began it may be over.


async def _ask(host: str) -> Any:
    return await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
