"""Errors of the bus, which replace those of nats-py.

BusError
├── BusUnavailable
│   └── SubscriptionRefused
├── TooLong
├── StorageFull
├── Conflict
└── ApiError
"""

from collections.abc import Iterator
from contextlib import contextmanager

import nats.errors

from studyroom.shared.chassis.nats import connecting


class BusError(Exception):
    """The base of all errors between this process and NATS."""


class BusUnavailable(BusError):
    """The bus is not connected, or no answer came in time. A request may have had its effect or not."""


class SubscriptionRefused(BusUnavailable):
    """NATS does not accept a subscription of this process. Everything else goes on."""


class TooLong(BusError):
    """A message is longer than NATS accepts (`max_payload`). The bus did not send it, and a retry does not help."""


class StorageFull(BusError):
    """JetStream had no space for a message and did not store it. The outcome of earlier attempts is still unknown."""


class Conflict(BusError):
    """A compare-and-set found another sequence than expected."""


class ApiError(BusError):
    """JetStream refused a call. `code` is its error code (`err_code`)."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.code = code


@contextmanager
def translated() -> Iterator[None]:
    """Raise the errors of nats-py and of sockets as BusUnavailable or SubscriptionRefused."""
    try:
        yield
    except connecting.SubscriptionRefused as error:
        raise SubscriptionRefused(f"NATS refuses a subscription: {error}") from error
    except (TimeoutError, nats.errors.Error, OSError) as error:
        raise BusUnavailable(str(error) or "no answer in time") from error
