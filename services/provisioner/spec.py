"""Describes the provisioner to the `studyroom` command."""

from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.chassis.spec import ServiceSpec

SPEC = ServiceSpec(
    name="provisioner", settings=(StorageSettings,), service="studyroom.services.provisioner.service:Provisioner"
)
