"""The gateway as the `studyroom` command knows it."""

from typing import Any

from gateway.settings import GatewaySettings
from services.settings import Settings
from services.spec import ServiceSpec


def _public_address(settings: dict[type[Settings], Any]) -> tuple[str, int]:
    own: GatewaySettings = settings[GatewaySettings]
    return own.host, own.port


SPEC = ServiceSpec(
    name="gateway",
    settings=(GatewaySettings,),
    service="gateway.service:Gateway",
    bus_without_echo=True,
    public_address=_public_address,
)
