"""A credentials file of NATS, as `nsc generate creds` writes it, with a user's JWT and the seed of the user's key.

The file is text with two marked sections. A seed is an nkey: the base32 of a prefix for its kind, 32 bytes, and a
checksum (https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth).
"""

import binascii
import re
from base64 import b32decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SECTION = re.compile(r"-+BEGIN ([A-Z ]+)-+\s+(\S+)\s+-+END \1-+")
_JWT, _SEED = "NATS USER JWT", "USER NKEY SEED"
_SEED_OF_USER = (18 << 3) << 8 | (20 << 3) << 3
"""The prefix: five bits for a seed, eight for a user, three unused. In base32 it is `SU`."""
_SEED_BYTES, _PREFIX_BYTES, _CHECKSUM_BYTES = 32, 2, 2


class BadCredentials(ValueError):
    """The file is not valid. The message has its path and the problem, but no content."""


@dataclass(frozen=True)
class Credentials:
    jwt: str = field(repr=False)
    _key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> "Credentials":
        """Read a credentials file. Raises BadCredentials."""
        try:
            text = path.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise BadCredentials(f"{path} cannot be read: {reason}") from None
        sections = dict(_SECTION.findall(text))
        for name in (_JWT, _SEED):
            if name not in sections:
                raise BadCredentials(f"{path} has no section {name}")
        if sections[_JWT].count(".") != 2:  # noqa: PLR2004 - header, claims and signature
            raise BadCredentials(f"{path}: the section {_JWT} is not a JWT")
        return cls(sections[_JWT], Ed25519PrivateKey.from_private_bytes(_seed(path, sections[_SEED])))

    def sign(self, nonce: str) -> bytes:
        """Return the base64 signature of the nonce for NATS's CONNECT."""
        return b64encode(self._key.sign(nonce.encode()))


def _seed(path: Path, text: str) -> bytes:
    try:
        raw = b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        raw = b""
    body, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if len(body) != _PREFIX_BYTES + _SEED_BYTES or binascii.crc_hqx(body, 0) != int.from_bytes(checksum, "little"):
        raise BadCredentials(f"{path}: the seed is damaged")
    if int.from_bytes(body[:_PREFIX_BYTES], "big") & 0xFFF8 != _SEED_OF_USER:
        raise BadCredentials(f"{path}: the seed is not that of a user")
    return body[_PREFIX_BYTES:]
