"""nats-py's client, where it does what we cannot use. Beside `services.bus` the only module that knows it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

import nats.aio.client
import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

Handler = Callable[[Msg], None]
Result = TypeVar("Result")


class TlsRefused(nats.errors.Error):
    """TLS is asked for here and the server does not offer it: nothing is said to it, the password least of all."""


class NatsClient(nats.aio.client.Client):
    """A connection that is given up is dropped, not closed politely; one that is to be encrypted is, or is none.

    Closing politely waits until everything is written, which a frozen server never lets happen; and what was not
    written would be sent to the next server, long after its author was told that it was not.

    Messages are handled as they are read and published as they are said: nats-py's queue and task for each
    subscription, and its coroutines for each publish, cost more than what is done with a message here. What is not
    handled yet waits in the socket, so it is bounded; a process that falls far behind is cut off by NATS, connects
    again, and asks for what it has missed. Nothing is dropped here.

    Who is cancelled stops, whatever it waits for.
    """

    def __init__(self) -> None:
        super().__init__()
        self._handlers: dict[int, Handler] = {}

    async def handle(self, subject: str, queue: str, handler: Handler) -> Subscription:
        """Subscribe. `handler` must not block; what it raises goes to the error callback."""
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        self._sid += 1
        subscription = Subscription(self, self._sid, subject, queue)
        self._handlers[self._sid] = handler
        self._subs[self._sid] = subscription
        if self.is_connected:  # else it is sent with all others when NATS is back, and this one could not be taken back
            await self._send_subscribe(subscription)
        return subscription

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._handlers.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        # A server that talks is not frozen: its answer to a ping may wait behind all of this.
        self._pings_outstanding = 0
        handler = self._handlers.get(sid)
        if handler is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        try:
            told = await self._process_headers(headers) if headers else None
            handler(Msg(self, subject.decode(), reply.decode(), data, told))
        except Exception as error:  # noqa: BLE001 - it is told, and the next message is another one
            await self._error_cb(error)

    def publish_soon(self, subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None) -> None:
        """In the order of the calls; written in the next turn of the loop. Raises nats.errors.Error.

        Subjects and headers are ours, and have no white space or line ends.
        """
        if not self.is_connected:
            raise nats.errors.OutboundBufferLimitError
        if len(payload) > self._max_payload:
            raise nats.errors.MaxPayloadError
        if headers is None:
            command = f"PUB {subject} {reply} {len(payload)}\r\n".encode()
        else:
            head = "".join(["NATS/1.0\r\n", *(f"{name}: {value}\r\n" for name, value in headers.items()), "\r\n"])
            size = len(head.encode())
            command = f"HPUB {subject} {reply} {size} {size + len(payload)}\r\n{head}".encode()
        self._pending.append(b"%b%b\r\n" % (command, payload))
        self._pending_data_size += len(self._pending[-1])
        if self._flush_queue is not None and self._flush_queue.empty():
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    async def _process_op_err(self, e: Exception) -> None:
        if not self.is_closed and not self.is_reconnecting:
            self._hang_up()
            self._pending = []
            self._pending_data_size = 0
        await super()._process_op_err(e)

    async def request(self, *args: Any, **options: Any) -> Msg:
        return await _heeding_cancellation(super().request(*args, **options))

    async def flush(self, *args: Any) -> None:
        await _heeding_cancellation(super().flush(*args))

    async def _connect_to_server(self, *args: Any) -> None:
        await _heeding_cancellation(super()._connect_to_server(*args))

    async def _process_connect_init(self) -> None:
        await _heeding_cancellation(super()._process_connect_init())

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """nats-py would write what waits to the connection that was lost, and fail, as it does before the first one."""
        if self._flush_queue is None:
            return
        if not self.is_connected:
            self._pending = []
            self._pending_data_size = 0
        try:
            await _heeding_cancellation(super()._close(status, do_cbs))
        except asyncio.CancelledError:
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """nats-py would go on in the clear with a server, or somebody in between, that says it wants no TLS."""
        if initial_connection and "tls" in self.options and not info.get("tls_required"):
            raise TlsRefused("nats: the server does not offer TLS")
        await super()._process_info(info, initial_connection)


async def _heeding_cancellation(work: Awaitable[Result]) -> Result:
    """Before Python 3.12 a cancellation that comes together with what `asyncio.wait_for` waits for is lost
    (python/cpython#86296), and nats-py's loops, which try for ever, would go on."""
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    heeded = task.cancelling()
    try:
        return await work
    finally:
        if task.cancelling() > heeded:
            raise asyncio.CancelledError
