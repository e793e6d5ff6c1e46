"""nats-py's client, where it does what we cannot use. Beside `services.bus` the only module that knows it."""

from typing import Any

import nats.aio.client
import nats.errors


class TlsRefused(nats.errors.Error):
    """TLS is asked for here and the server does not offer it: nothing is said to it, the password least of all."""


class NatsClient(nats.aio.client.Client):
    """A connection that is given up is dropped, not closed politely; one that is to be encrypted is, or is none.

    Closing politely waits until everything is written, which a frozen server never lets happen; and what was not
    written would be sent to the next server, long after its author was told that it was not.
    """

    async def _process_op_err(self, e: Exception) -> None:
        if not self.is_closed and not self.is_reconnecting:
            writer = getattr(self._transport, "_io_writer", None)
            if writer is not None:
                writer.transport.abort()
            self._pending = []
            self._pending_data_size = 0
        await super()._process_op_err(e)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """nats-py would go on in the clear with a server, or somebody in between, that says it wants no TLS."""
        if initial_connection and "tls" in self.options and not info.get("tls_required"):
            raise TlsRefused("nats: the server does not offer TLS")
        await super()._process_info(info, initial_connection)
