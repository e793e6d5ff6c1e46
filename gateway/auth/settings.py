"""Settings for access tokens and guests."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from studyroom.gateway.auth.events import is_pattern
from studyroom.gateway.auth.guests import GUEST_AUDIENCE
from studyroom.gateway.wire.hosts import LOCAL_HOSTS
from studyroom.shared.chassis.settings import CommaSeparated, Settings

SECRET_MIN_BYTES = 32
"""RFC 7518 section 3.2: an HMAC key must be at least as long as the hash."""


class AuthSettings(Settings):
    """The gateway: access tokens and guests."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_GATEWAY_")

    jwt_secret: SecretStr | None = Field(
        None,
        examples=["32-random-bytes-or-more-in-hexadecimal"],
        min_length=SECRET_MIN_BYTES,
        description="The secret of access tokens signed with HS256, at least 32 bytes. Without it such tokens are "
        "refused.",
    )
    jwks_url: str | None = Field(
        None,
        examples=["https://login.example.org/jwks.json"],
        description="The https address of a JWK Set with the public keys of access tokens signed with RS, PS, ES or "
        "EdDSA. Without it such tokens are refused.",
    )
    jwks_refresh_seconds: float = Field(300.0, gt=0, description="How often the gateway reads the keys again.")
    jwks_retry_seconds: float = Field(
        10.0,
        gt=0,
        description="How soon the gateway reads the keys again after a failure, or for a token with an unknown key. It "
        "never reads them more often.",
    )
    jwt_issuer: str | None = Field(
        None,
        examples=["https://login.example.org"],
        min_length=1,
        description="The `iss` that access tokens must have. If a `sub` is not a UUID, the user id depends on this, so "
        "set it before you have users.",
    )
    jwt_audience: str | None = Field(
        None,
        examples=["studyroom"],
        min_length=1,
        description="The `aud` that access tokens must have, alone or among others. Without it tokens with an `aud` "
        "are refused.",
    )
    jwt_leeway_seconds: float = Field(
        10.0, ge=0, le=300, description="How much the clocks of the token's issuer and the gateway may differ."
    )
    jwt_cookie: str | None = Field(
        None,
        examples=["__Host-token"],
        min_length=1,
        description="The name of a cookie that may have the access token. Without it the gateway ignores cookies.",
    )
    guests: bool = Field(False, description="Let users without a token in, with a random user id.")
    guest_secret: SecretStr | None = Field(
        None,
        examples=["32-other-random-bytes-in-hexadecimal"],
        min_length=SECRET_MIN_BYTES,
        description="The secret that signs the tokens of guests, with which they keep their user id. At least 32 "
        "bytes, the same for all gateways. Without it a guest gets a new id on another gateway.",
    )

    broadcast_reserved: CommaSeparated = Field(
        (),
        examples=["lesson.*,timer"],
        description="Broadcast events that only users may send whose token names them (`broadcast`), separated by "
        "commas: names, beginnings such as lesson.*, or * for all. Without it everyone may send every event, guests "
        "too.",
    )

    @field_validator("broadcast_reserved")
    @classmethod
    def _are_events(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if not is_pattern(one):
                raise ValueError(f"{one!r} is not the name of an event, a beginning such as lesson.*, or *")
        return value

    @field_validator("jwks_url")
    @classmethod
    def _is_trustworthy(cls, value: str | None) -> str | None:
        """Anyone who can change the keys in transit can sign in as anybody."""
        parts = urlsplit(value or "https://nowhere")
        if "@" in parts.netloc:
            raise ValueError("must not have a user or password: public keys need none, and error messages show URLs")
        if parts.scheme == "https" and parts.hostname:
            return value
        if parts.scheme == "http" and parts.hostname in LOCAL_HOSTS:
            return value
        raise ValueError("must start with https://, or with http:// for this machine")

    @field_validator("jwt_audience")
    @classmethod
    def _is_not_of_guests(cls, value: str | None) -> str | None:
        if value == GUEST_AUDIENCE:
            raise ValueError("is reserved for guest tokens, which are not access tokens")
        return value
