"""An issuer of access tokens: keys of every family, the key set with their public halves, and a server."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

SECRET = "a secret for tests, long enough for every algorithm that has one, HS512 too"
DAY = 86_400
ISSUER, AUDIENCE = "https://id.example", "studyroom of a school"
USER = "11111111-2222-4333-8444-555555555555"

Json = dict[str, Any]


@dataclass(frozen=True)
class SigningKey:
    kid: str
    private: Any

    def public(self, **changes: object) -> Json:
        """Returns the key as in a key set. None leaves a field out."""
        family: Any = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
        algorithm = next((one for kind, one in family.items() if isinstance(self.private, kind)), OKPAlgorithm)
        whole = {**algorithm.to_jwk(self.private.public_key(), as_dict=True), "kid": self.kid, "use": "sig", **changes}
        whole.pop("key_ops", None) if "key_ops" not in changes else None
        return {name: value for name, value in whole.items() if value is not None}


def rsa_key(kid: str = "rsa", bits: int = 2048) -> SigningKey:
    return SigningKey(kid, rsa.generate_private_key(65537, bits))


def ec_key(kid: str = "ec", curve: ec.EllipticCurve | None = None) -> SigningKey:
    return SigningKey(kid, ec.generate_private_key(curve or ec.SECP256R1()))


def ed_key(kid: str = "ed") -> SigningKey:
    return SigningKey(kid, ed25519.Ed25519PrivateKey.generate())


def key_set(*keys: SigningKey) -> Json:
    return {"keys": [key.public() for key in keys]}


def claims(**changes: object) -> Json:
    """The claims of a token that is valid for a day, with changes. None leaves a claim out."""
    now = int(time.time())
    whole = {"sub": USER, "name": "Ann", "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + DAY, **changes}
    return {claim: value for claim, value in whole.items() if value is not None}


def signed(key: SigningKey, algorithm: str, headers: Json | None = None, **changes: object) -> str:
    whole = {"kid": key.kid, **(headers or {})}
    named = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(claims(**changes), key.private, algorithm, headers=named)


def sealed(secret: str = SECRET, algorithm: str = "HS256", **changes: object) -> str:
    return jwt.encode(claims(**changes), secret, algorithm)


class KeyServer:
    """A key set at an address, which can be down, slow or broken."""

    def __init__(self, *keys: SigningKey) -> None:
        self.body = json.dumps(key_set(*keys)).encode()
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked += 1
                self.send_response(owner.status)
                for name, value in owner.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(owner.body)

            def log_message(self, *_: object) -> None:
                pass

        self._handler = Handler
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/keys"

    def publish(self, *keys: SigningKey) -> None:
        self.status, self.body = 200, json.dumps(key_set(*keys)).encode()

    def fail(self) -> None:
        self.status, self.body = 503, b"<h1>away</h1>"

    def start(self) -> None:
        """Again at the same address, when it was there before."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@contextmanager
def key_server(*keys: SigningKey) -> Iterator[KeyServer]:
    server = KeyServer(*keys)
    server.start()
    try:
        yield server
    finally:
        server.stop()
