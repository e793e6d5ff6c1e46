"""Describes the documents service to the `studyroom` command."""

from studyroom.services.documents.settings import DocumentsSettings
from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.chassis.spec import ServiceSpec

SPEC = ServiceSpec(
    name="documents",
    settings=(DocumentsSettings, StorageSettings),
    service="studyroom.services.documents.service:Documents",
)
