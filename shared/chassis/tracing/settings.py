"""Settings of traces. OpenTelemetry's own variables do the rest (docs/operations.md)."""

from importlib.util import find_spec
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from studyroom.shared.chassis.settings import Settings

_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


class TracesSettings(Settings):
    """Traces."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_TRACES_")

    endpoint: str | None = Field(
        None,
        examples=["http://otel-collector:4318"],
        description="The address of an OpenTelemetry collector, for OTLP over HTTP. `/v1/traces` is added. Without it "
        "there are no traces.",
    )
    sample_ratio: float = Field(
        0.01,
        ge=0,
        le=1,
        description="The share of chat messages, joins and questions about documents that gateways trace.",
    )
    authorization: SecretStr | None = Field(
        None,
        validate_default=True,
        examples=["Bearer a-long-random-text"],
        description="The header `Authorization` for the collector, if it needs one.",
    )

    @field_validator("endpoint")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return value
        if not _is_address(value):
            raise ValueError("an endpoint is http://host:port or https://host:port, without user, query and /v1/traces")
        if not all(_is_installed(package) for package in _PACKAGES):
            raise ValueError("traces need more packages: pip install 'studyroom[tracing]'")
        return value.rstrip("/")

    @field_validator("authorization")
    @classmethod
    def _for_an_endpoint(cls, value: SecretStr | None, others: ValidationInfo) -> SecretStr | None:
        if value is None:
            return value
        if others.data.get("endpoint", "") is None:
            raise ValueError("needs STUDYROOM_TRACES_ENDPOINT")
        text = value.get_secret_value()
        if not (text.isascii() and text.isprintable()) or text != text.strip():
            raise ValueError("a header has printable ASCII only, without white space around it")
        return value


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and not parts.query
        and not parts.fragment
        and not parts.path.rstrip("/").endswith("/v1/traces")
    )


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # a package around it is missing
        return False
