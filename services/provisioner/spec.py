"""The provisioner as the `studyroom` command knows it."""

from services.settings import StorageSettings
from services.spec import ServiceSpec

SPEC = ServiceSpec(name="provisioner", settings=(StorageSettings,), service="services.provisioner.service:Provisioner")
