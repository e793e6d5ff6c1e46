"""Settings for shared documents."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from studyroom.shared.chassis.settings import Settings


class DocumentSettings(Settings):
    """The gateway: shared documents."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_GATEWAY_")

    documents: bool = Field(
        True, description="Serve shared documents at `/documents/<room>`, which need the documents service."
    )
    document_message_max_bytes: int = Field(
        786_432,
        ge=1024,
        description="The largest message of an editor, such as all that it has written offline. `max_payload` of NATS "
        "caps an update.",
    )
    document_body_max_bytes: int = Field(
        4_194_304,
        ge=1024,
        description="The largest body of an HTTP request with a document or an edit. `STUDYROOM_DOCUMENTS_MAX_BYTES` "
        "caps a document.",
    )
    document_bytes_per_second: int = Field(
        262_144,
        ge=1024,
        description="Bytes that one connection of editors may send, with bursts of twice as many or of one message of "
        "the largest size. Beyond it the gateway reads more slowly.",
    )
    document_merge_ms: int = Field(
        50,
        ge=0,
        le=1000,
        description="While an update is being stored, the gateway collects the next ones of the same editor for up to "
        "this long, and stores them as one.",
    )
    document_deadline_seconds: float = Field(
        5.0, gt=0, description="The gateway asks an editor again for updates that are not stored within this time."
    )
