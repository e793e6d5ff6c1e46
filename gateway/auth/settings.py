"""Settings for access tokens and guests."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from studyroom.gateway.auth.guests import GUEST_AUDIENCE
from studyroom.gateway.wire.hosts import LOCAL_HOSTS
from studyroom.shared.chassis.settings import Settings

SECRET_MIN_BYTES = 32
"""RFC 7518 section 3.2: an HMAC key must be at least as long as the hash."""


class AuthSettings(Settings):
    """The gateway: access tokens and guests."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_GATEWAY_")

    jwt_secret: SecretStr | None = Field(
        None,
        examples=["32-random-bytes-or-more-in-hexadecimal"],
        min_length=SECRET_MIN_BYTES,
        description="HS256 secret of access tokens, 32 bytes or more; without it no such token is accepted.",
    )
    jwks_url: str | None = Field(
        None,
        examples=["https://login.example.org/jwks.json"],
        description="https address of a JWK Set: the public keys of access tokens signed by RS, PS, ES or EdDSA. "
        "Without it no such token is accepted.",
    )
    jwks_refresh_seconds: float = Field(300.0, gt=0, description="How often it is read again, about.")
    jwks_retry_seconds: float = Field(
        10.0,
        gt=0,
        description="How soon after a failure, or for a token with an unknown key; it is never read more often.",
    )
    jwt_issuer: str | None = Field(
        None,
        examples=["https://login.example.org"],
        min_length=1,
        description="The `iss` that access tokens must have. It becomes part of user ids that are made of a `sub`: set "
        "it before there are any.",
    )
    jwt_audience: str | None = Field(
        None,
        examples=["studyroom"],
        min_length=1,
        description="The `aud` that access tokens must have, or have among others; without it those that have one are "
        "refused.",
    )
    jwt_leeway_seconds: float = Field(
        10.0, ge=0, le=300, description="By how much the clocks of the issuer and of the gateway may differ."
    )
    jwt_cookie: str | None = Field(
        None,
        examples=["__Host-token"],
        min_length=1,
        description="Name of the cookie that may hold an access token; without it cookies are not looked at.",
    )
    guests: bool = Field(False, description="Let in those without a token, under a random user id.")
    guest_secret: SecretStr | None = Field(
        None,
        examples=["32-other-random-bytes-in-hexadecimal"],
        min_length=SECRET_MIN_BYTES,
        description="Signs the random ids of guests, so that they keep them when they come again; 32 bytes or more, "
        "the same for all gateways. Without it a guest is known to one process only.",
    )

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
