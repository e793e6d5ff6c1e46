"""Signatures of Standard Webhooks (https://www.standardwebhooks.com). Pure.

The signed content is `<id>.<timestamp>.<body>`, and each signature `v1,` and the HMAC-SHA256 in base64.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence

_PREFIX = "whsec_"
_MIN_BYTES, _MAX_BYTES = 24, 64
"""The length of a secret according to the specification."""


def read_secret(secret: str) -> bytes:
    """Decode a secret such as `whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`. Raises ValueError without the secret."""
    encoded = secret.removeprefix(_PREFIX)
    try:
        key = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        key = b""
    if encoded == secret or not _MIN_BYTES <= len(key) <= _MAX_BYTES:
        raise ValueError(f"a secret is {_PREFIX} and {_MIN_BYTES} to {_MAX_BYTES} bytes in base64")
    return key


def headers_for(message_id: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """Return the headers of a request. `timestamp`: Unix seconds of this attempt, so that replays can be refused."""
    content = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(key, content) for key in keys),
    }


def _signature(key: bytes, content: bytes) -> str:
    return "v1," + b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
