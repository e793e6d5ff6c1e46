"""Describes presence to the `studyroom` command."""

from studyroom.presence.settings import PresenceSettings
from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.chassis.spec import ServiceSpec

SPEC = ServiceSpec(
    name="presence", settings=(PresenceSettings, StorageSettings), service="studyroom.presence.service:Presence"
)
