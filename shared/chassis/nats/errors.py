"""What can go wrong between a process and NATS. `bus` raises these, in place of the vendor's."""


class BusError(Exception):
    """Anything that went wrong between this process and NATS."""


class BusUnavailable(BusError):
    """Not connected, nobody answers, or no answer came in time. What was asked may have happened or not."""


class SubscriptionRefused(BusUnavailable):
    """NATS does not accept one more subscription of this process, or not this one. Everything else goes on."""


class TooLong(BusError):
    """A message is longer than NATS takes here (`max_payload`). It was not sent, and sending it again will not help."""


class StorageFull(BusError):
    """JetStream had no room for a message and did not store it. What an earlier attempt did is not known by this."""


class Conflict(BusError):
    """A compare-and-set found another sequence than expected."""


class ApiError(BusError):
    """JetStream refused. `code` is its error code."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.code = code
