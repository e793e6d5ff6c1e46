"""Settings for the HTTP API and the page."""

from pydantic import Field, field_validator

from studyroom.gateway.chat.settings import ChatSettings
from studyroom.shared.chassis.api_keys import check_entries
from studyroom.shared.chassis.settings import CommaSeparated


class HttpSettings(ChatSettings):
    """The gateway: the HTTP API and the page at /."""

    page: bool = Field(True, description="Serve the page at /.")
    http_fallback: bool = Field(
        True, description="Serve clients whose network blocks WebSockets over plain HTTP, at /api/v1/stream."
    )
    api_keys: CommaSeparated = Field(
        (),
        examples=["backend-2026:the-hash-that-studyroom-api-key-prints"],
        description="API keys of your backends, which may moderate over HTTP: name:hash as `studyroom api-key NAME` "
        "prints it, separated by commas. You can have several while you rotate them. The audit log has the name.",
    )
    request_deadline_seconds: float = Field(
        5.0, gt=0, description="An HTTP request about rooms gets 503 if presence does not answer in this time."
    )

    retention_seconds: int = Field(
        3600,
        ge=0,
        description="How often one of the gateways erases what is older than its room keeps it. The same for all "
        "gateways. 0 for a gateway that does not take part.",
    )

    @field_validator("api_keys")
    @classmethod
    def _are_entries(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        check_entries(value)
        return value
