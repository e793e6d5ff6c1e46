"""Presence as the `studyroom` command knows it."""

from presence.settings import PresenceSettings
from services.settings import StorageSettings
from services.spec import ServiceSpec

SPEC = ServiceSpec(name="presence", settings=(PresenceSettings, StorageSettings), service="presence.service:Presence")
