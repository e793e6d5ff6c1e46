"""The messages by which a client changes who it is shown as: a newer access token, and another name."""

from typing import Literal

from pydantic import Field

from studyroom.shared.contract.parts import Part

TOKEN_MAX_CHARS = 16_384


class AuthenticatePayload(Part):
    token: str = Field(min_length=1, max_length=TOKEN_MAX_CHARS, repr=False)


class RenamePayload(Part):
    username: str


class Authenticate(Part):
    """Replaces the access token with a newer one of the same user, before the old one expires."""

    type: Literal["Authenticate"] = "Authenticate"
    payload: AuthenticatePayload


class Rename(Part):
    """Shows a guest under another name from now on. The name becomes what it would be in the handshake."""

    type: Literal["Rename"] = "Rename"
    payload: RenamePayload
