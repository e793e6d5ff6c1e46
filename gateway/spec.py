"""The description of the gateway that the `studyroom` command uses."""

from typing import Any

from studyroom.gateway.settings import GatewaySettings
from studyroom.shared.chassis.settings import Settings, StorageSettings
from studyroom.shared.chassis.spec import ServiceSpec


def _public_address(settings: dict[type[Settings], Any]) -> tuple[str, int]:
    own: GatewaySettings = settings[GatewaySettings]
    return own.host, own.port


SPEC = ServiceSpec(
    name="gateway",
    settings=(GatewaySettings, StorageSettings),
    service="studyroom.gateway.service:Gateway",
    bus_without_echo=True,
    public_address=_public_address,
)
