"""Errors that nats-py passes through while it connects, and the credentials file for connections."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nats.errors


class TlsRefused(nats.errors.Error):
    """The settings require TLS, but the server does not offer it. The client sends it nothing, not even a password."""


class ServerError(nats.errors.Error):
    """NATS sent an error, after which it may end the connection. The argument is its text in lower case."""


class CredentialsUnusable(nats.errors.Error):
    """The credentials file is not usable now. The argument is the reason, without content of the file."""


class SubscriptionRefused(nats.errors.Error):
    """NATS does not accept a subscription, but the connection goes on. The argument is the reason."""


class CredentialsFile:
    """The callbacks for nats-py that use a credentials file. Each connection reads the file again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jwt = b""

    def sign(self, nonce: str) -> bytes:
        """Read the file and sign the nonce. nats-py calls this before `jwt`. Raises CredentialsUnusable."""
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
    """Return the reason why a connection failed, for people."""
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error).lower() or "no answer in time"


@contextmanager
def as_errors_of_nats() -> Iterator[None]:
    """Raise unexpected errors as errors of nats-py, which would otherwise end its attempts to connect."""
    try:
        yield
    except nats.errors.Error as error:
        if type(error) is nats.errors.Error:  # The error with which the server refuses the connection.
            raise ServerError(str(error).removeprefix("nats: ").strip("'").lower()) from error
        raise
    except (OSError, TimeoutError):
        raise
    except Exception as error:
        raise nats.errors.ProtocolError(f"nats: {type(error).__name__}: {error}") from error
