"""The interface between a service and the process that runs it.

A spec names the settings of a service, and imports the service only to run it. So commands that need only the settings
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
    from studyroom.shared.chassis.siblings import Siblings
    from studyroom.shared.chassis.tasks import Tasks
    from studyroom.shared.chassis.tracing.spans import Tracer


@dataclass
class Chassis:
    """The parts that a process gives to its service."""

    name: str
    settings: ProcessSettings
    bus: "Bus"
    tasks: "Tasks"
    registry: "CollectorRegistry"
    public_listener: socket.socket | None = None
    """The listener that the workers of one service share."""
    siblings: "Siblings | None" = None
    """The workers of the service, if there are several."""
    tracer: "Tracer | None" = None
    """Begins traces; None if there are none."""

    def listen(self, host: str, port: int) -> socket.socket:
        """Return the listener of the public port, the shared one if there is one. Raises AddressUnavailable."""
        return self.public_listener or listen(host, port)


class Service(Protocol):
    async def start(self) -> None:
        """Return when the service can serve. Raises AddressUnavailable if its port is not free."""

    def not_ready(self) -> list[str]:
        """Return the reasons why the service cannot serve now; none if it can."""

    async def drain(self) -> None:
        """Accept no new work and finish the rest. Cancelled at the deadline."""

    async def stop(self) -> None:
        """Release everything quickly."""


@dataclass(frozen=True)
class ServiceSpec:
    """Describes how to run one kind of service. The entry points `studyroom.services` list the specs."""

    name: str
    settings: Sequence[type[Settings]]
    service: str
    """The `package.module:Class` of the service, called with `(Chassis, settings by their class)`."""
    bus_without_echo: bool = False
    public_address: Callable[[dict[type[Settings], Any]], tuple[str, int]] | None = None
    """Returns host and port that workers of the service share. The service listens there with `Chassis.listen`."""

    check: Callable[[dict[type[Settings], Any]], None] | None = None
    """Raises BadSettings if the service cannot run with its settings, although each of them is valid."""

    def load(self) -> Callable[[Chassis, dict[type[Settings], Any]], Service]:
        """Import the service and return its class."""
        loaded: Callable[[Chassis, dict[type[Settings], Any]], Service] = pkgutil.resolve_name(self.service)
        return loaded
