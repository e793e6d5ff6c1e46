"""What a service is to its process, and its process to it.

A spec says which settings a service reads, and loads its code when it is to run: commands that want only the settings
are quick.
"""

import pkgutil
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from studyroom.shared.chassis.listening import listen
from studyroom.shared.chassis.settings import ProcessSettings, Settings

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from studyroom.shared.chassis.nats.bus import Bus
    from studyroom.shared.chassis.tasks import Tasks


@dataclass
class Chassis:
    """What a service is given to stand on."""

    name: str
    settings: ProcessSettings
    bus: "Bus"
    tasks: "Tasks"
    registry: "CollectorRegistry"
    public_listener: socket.socket | None = None
    """What workers of one service share."""

    def listen(self, host: str, port: int) -> socket.socket:
        """The service's public port: one of its own, or the one it shares. Raises AddressUnavailable."""
        return self.public_listener or listen(host, port)


class Service(Protocol):
    async def start(self) -> None:
        """Returns when it can serve. Raises AddressUnavailable when it cannot have its port."""

    def not_ready(self) -> list[str]:
        """Why it cannot serve right now; empty when it can."""

    async def drain(self) -> None:
        """Finish what was begun, take nothing new. Cancelled at the deadline."""

    async def stop(self) -> None:
        """Let go of everything, quickly."""


@dataclass(frozen=True)
class ServiceSpec:
    """An entry of the `studyroom.services` entry points: how to run one kind of service."""

    name: str
    settings: Sequence[type[Settings]]
    service: str
    """`package.module:Class`, of a class that is made of `(Chassis, settings by their class)`."""
    bus_without_echo: bool = False
    public_address: Callable[[dict[type[Settings], Any]], tuple[str, int]] | None = None
    """Host and port that several processes of it may share. It listens there through `Chassis.listen`."""

    def load(self) -> Callable[[Chassis, dict[type[Settings], Any]], Service]:
        """The class, with all of the code that it needs."""
        loaded: Callable[[Chassis, dict[type[Settings], Any]], Service] = pkgutil.resolve_name(self.service)
        return loaded
