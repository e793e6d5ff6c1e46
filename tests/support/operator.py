"""A NATS in operator mode: an operator, accounts and users are JWTs, signed with nkeys, as `nsc` makes them."""

import binascii
import json
import re
import time
from base64 import b32encode, urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.accounts import DEPLOYED

_OPERATOR, _ACCOUNT, _USER, _SEED = 14 << 3, 0, 20 << 3, 18 << 3
_UNLIMITED = dict.fromkeys(
    (
        "subs",
        "data",
        "payload",
        "imports",
        "exports",
        "conn",
        "leaf",
        "mem_storage",
        "disk_storage",
        "streams",
        "consumer",
    ),
    -1,
)


def _nkey(raw: bytes) -> str:
    return b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


@dataclass(frozen=True)
class Nkey:
    prefix: int
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public(self) -> str:
        return _nkey(bytes([self.prefix]) + self.key.public_key().public_bytes_raw())

    @property
    def seed(self) -> str:
        return _nkey(bytes([_SEED | self.prefix >> 5, (self.prefix & 31) << 3]) + self.key.private_bytes_raw())

    def sign(self, subject: str, name: str, nats: dict[str, Any], **claims: int) -> str:
        """A JWT about somebody, as this operator or account."""
        now = {"iat": int(time.time()), "jti": uuid4().hex, "iss": self.public, "sub": subject, "name": name}
        parts = [{"typ": "JWT", "alg": "ed25519-nkey"}, {**now, **claims, "nats": {"version": 2, **nats}}]
        text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_base64(self.key.sign(text.encode()))}"


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def creds(jwt: str, seed: str) -> str:
    """The text of a credentials file."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )


def permissions_of(service: str) -> dict[str, Any]:
    """Those of `accounts.conf`, in the form of a user's JWT.

    A server maps `$JS.<domain>.API` to `$JS.API` where that is its own domain, before it looks at permissions.
    """
    text = (DEPLOYED / "accounts.conf").read_text()
    # The user's JWT is part of a line of the protocol, which may have 4 KB.
    text = re.sub(r"# For groups of shards.*?\]", "]", text, flags=re.DOTALL)
    text = re.sub(r"\s#.*", "", text)
    block = re.split(r"\buser: ", text.partition(f"user: {service},")[2])[0]

    def listed(kind: str) -> list[str]:
        found = re.search(rf"{kind}: \[(.*?)\]", block, re.DOTALL)
        assert found is not None
        return re.findall(r'"([^"]+)"', found[1])

    rights: dict[str, Any] = {"pub": {"allow": listed("publish")}, "sub": {"allow": listed("subscribe")}}
    if answers := re.search(r'allow_responses: \{ max: (-?\d+), expires: "(\d+)s" \}', block):
        rights["resp"] = {"max": int(answers[1]), "ttl": int(answers[2]) * 1_000_000_000}
    return rights


class Operator:
    def __init__(self) -> None:
        self._operator, self._account, self._system = Nkey(_OPERATOR), Nkey(_ACCOUNT), Nkey(_ACCOUNT)

    def configuration(self) -> str:
        """The configuration of a server of this operator, with one account for all services."""
        operator = self._operator.sign(
            self._operator.public, "operator", {"type": "operator", "system_account": self._system.public}
        )
        limits = {**_UNLIMITED, "wildcards": True}
        system = self._operator.sign(
            self._system.public,
            "SYS",
            {"type": "account", "limits": {**limits, "disk_storage": 0, "mem_storage": 0, "streams": 0, "consumer": 0}},
        )
        account = self._operator.sign(self._account.public, "STUDYROOM", {"type": "account", "limits": limits})
        return f"""
            operator: {operator}
            system_account: {self._system.public}
            resolver: MEMORY
            resolver_preload: {{ {self._system.public}: {system}, {self._account.public}: {account} }}
        """

    def credentials(self, service: str, *, seconds: float | None = None) -> str:
        """The text of a credentials file for a service, good for so long."""
        user = Nkey(_USER)
        claims = {} if seconds is None else {"exp": int(time.time() + seconds)}
        rights = {**permissions_of(service), "subs": -1, "data": -1, "payload": -1, "type": "user"}
        return creds(self._account.sign(user.public, service, rights, **claims), user.seed)

    def write(self, directory: Path, service: str) -> Path:
        path = directory / f"{service}.creds"
        path.write_text(self.credentials(service))
        return path
