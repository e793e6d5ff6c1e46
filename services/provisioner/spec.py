"""The provisioner as the `studyroom` command knows it."""

from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.chassis.spec import ServiceSpec

SPEC = ServiceSpec(
    name="provisioner", settings=(StorageSettings,), service="studyroom.services.provisioner.service:Provisioner"
)
