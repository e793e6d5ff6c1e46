"""Settings of the hooks service."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from studyroom.services.hooks.events import EventType
from studyroom.services.hooks.signatures import read_secret
from studyroom.shared.chassis.settings import CommaSeparated, Settings

ALL_EVENTS = tuple(event.value for event in EventType)


class HooksSettings(Settings):
    """The hooks service."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_HOOKS_")

    url: str | None = Field(
        None,
        examples=["https://backend.example.org/studyroom"],
        description="The address of your backend that gets the events, by POST. It needs https, except in "
        "STUDYROOM_HOOKS_ALLOW_NETWORKS.",
    )
    secrets: SecretStr | None = Field(
        None,
        validate_default=True,
        examples=["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="],
        description="The secrets that sign the events: each is whsec_ and 24 to 64 bytes in base64. Separate them by "
        "commas. Each event has a signature of each, so that you can replace one without a pause.",
    )
    events: CommaSeparated = Field(
        ALL_EVENTS, description="The types of events that the backend gets, separated by commas."
    )
    allow_networks: CommaSeparated = Field(
        (),
        examples=["10.96.0.0/12"],
        description="Networks of private addresses in which the backend may be, separated by commas. All other "
        "private, local and reserved addresses are refused, also if the name of the backend resolves to them.",
    )
    timeout_seconds: float = Field(
        10.0, gt=0, le=60, description="The time that the backend has to answer an event. Then it is sent again."
    )
    concurrent_requests: int = Field(
        16, ge=1, le=1024, description="Requests at once to the backend for each group of shards, one for each room."
    )
    retry_max_seconds: float = Field(
        300.0, ge=1, description="The longest pause before an event is sent again. Pauses begin with half a second."
    )
    document_seconds: float = Field(
        10.0, ge=0, description="Edits of a document within this time are one document.saved."
    )

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The decoded secrets, in order."""
        return tuple(map(read_secret, _parts(self.secrets)))

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(map(ip_network, self.allow_networks))

    @property
    def wanted(self) -> frozenset[EventType]:
        return frozenset(map(EventType, self.events))

    @field_validator("url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return value
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError as error:
            raise ValueError("is not an address") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname or not value.isascii():
            raise ValueError("must be such as https://backend.example.org/studyroom")
        if parts.username is not None or parts.fragment:
            raise ValueError("must have neither a user nor a fragment")
        return value

    @field_validator("secrets")
    @classmethod
    def _signing(cls, value: SecretStr | None, others: ValidationInfo) -> SecretStr | None:
        secrets = _parts(value)
        if others.data.get("url") is not None and not secrets:
            raise ValueError("is needed to sign the events for STUDYROOM_HOOKS_URL")
        for secret in secrets:
            read_secret(secret)
        return value

    @field_validator("events")
    @classmethod
    def _types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in value if name not in ALL_EVENTS]:
            raise ValueError(f"{', '.join(unknown)} is not one of {', '.join(ALL_EVENTS)}")
        if not value:
            raise ValueError("name at least one event")
        return value

    @field_validator("allow_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network)
        return value


def _parts(secrets: SecretStr | None) -> list[str]:
    text = secrets.get_secret_value() if secrets is not None else ""
    return [part.strip() for part in text.split(",") if part.strip()]
