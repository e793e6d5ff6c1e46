"""Settings of the probe."""

import ssl
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, FilePath, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from studyroom.shared.chassis.settings import Settings


class ProbeSettings(Settings):
    """The probe (`studyroom probe`)."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_PROBE_")

    url: str = Field(
        "ws://127.0.0.1:8080/ws",
        examples=["wss://rooms.example.com/ws"],
        description="The address of the WebSocket as users reach it, through the load balancer.",
    )
    token_file: FilePath | None = Field(
        None,
        examples=["/run/secrets/probe-token"],
        description="A file with an access token for the rooms of the probe, which every pass reads again. Without it "
        "the probe signs its own with STUDYROOM_GATEWAY_JWT_SECRET, or is a guest if that is not set either.",
    )
    tls_ca_file: FilePath | None = Field(
        None,
        examples=["/run/tls/ca.crt"],
        description="The path of the CA certificates that verify the address, in place of those of the system.",
    )
    deadline_seconds: float = Field(
        10.0, gt=0, le=120, description="A pass that takes longer has failed. Reconnections are part of a pass."
    )

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"ws", "wss"} or not parts.hostname:
            raise ValueError("must be the address of a WebSocket, such as wss://rooms.example.com/ws")
        return value

    @field_validator("tls_ca_file")
    @classmethod
    def _has_certificates(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                ssl.create_default_context(cafile=value)
            except ssl.SSLError as error:
                raise ValueError(f"has no CA certificates: {error.reason}") from error
        return value


class GatewayTokens(Settings):
    """The settings of the gateway that say how access tokens are signed. The gateway describes them."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_GATEWAY_")

    jwt_secret: SecretStr | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
