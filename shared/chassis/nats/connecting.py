"""How a connection to NATS is made: errors that nats-py passes through, and the file that a user is read from."""

import os
from pathlib import Path

import nats.errors


class TlsRefused(nats.errors.Error):
    """TLS is asked for here and the server does not offer it: nothing is said to it, the password least of all."""


class ServerError(nats.errors.Error):
    """NATS sent an error, after which it ends the connection, or may. Its text, in lower case, is the argument."""


class CredentialsUnusable(nats.errors.Error):
    """The credentials file cannot be used now. The argument says why, and nothing of what is in it."""


class SubscriptionRefused(nats.errors.Error):
    """NATS does not accept a subscription; the connection and the others stay. The reason is the argument."""


class CredentialsFile:
    """By which a connection becomes its user. It is read for every connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jwt = b""

    def sign(self, nonce: str) -> bytes:
        """nats-py asks for this first. Raises CredentialsUnusable."""
        from studyroom.shared.chassis.nats.credentials import BadCredentials, Credentials

        try:
            credentials = Credentials.read(self._path)
        except BadCredentials as error:
            raise CredentialsUnusable(str(error)) from error
        self._jwt = credentials.jwt.encode()
        return credentials.sign(nonce)

    def jwt(self) -> bytes:
        return self._jwt


def in_words(error: Exception) -> str:
    """Why a connection could not be made, without what only Python says of it."""
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error).lower() or "no answer in time"
