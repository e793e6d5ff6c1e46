"""When the certificates of the connection to NATS expire. Times are POSIX seconds."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studyroom.shared.chassis import logs

log = logs.get(__name__)


def expirations(own: Path | None, peer: Mapping[str, Any] | None) -> dict[str, float]:
    """Return the time for each `side` of the connection that has a certificate: `client` and `server`.

    `own`: the path of the certificate of this process, as it is now; the next connection uses it. `peer`: the
    certificate of the server, as `ssl` decodes it.
    """
    found: dict[str, float] = {}
    if own is not None:
        try:
            found["client"] = _expires(own)
        except (OSError, ValueError) as error:
            log.warning("the certificate for NATS cannot be read", path=str(own), error=str(error))
    if peer:
        found["server"] = ssl.cert_time_to_seconds(peer["notAfter"])
    return found


def _expires(path: Path) -> float:
    """Raises OSError or ValueError."""
    from cryptography.x509 import load_pem_x509_certificate  # A process without TLS does not need it.

    return load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
