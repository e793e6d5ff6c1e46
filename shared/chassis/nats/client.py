"""nats-py's client, where it does what we cannot use. With `bus` and `connecting` the only module that knows it."""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import nats.aio.client
import nats.errors
from nats.aio.client import PING_PROTO
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol import command
from nats.protocol.parser import PERMISSIONS_ERR, STALE_CONNECTION

from studyroom.shared.chassis.nats.connecting import ServerError, SubscriptionRefused, TlsRefused

Handler = Callable[[Msg], None]
Refused = Callable[[str], None]
"""Called with the reason when NATS refuses a subscription that it had accepted before."""
Result = TypeVar("Result")

_TOO_MANY_SUBSCRIPTIONS = "maximum subscriptions exceeded"
_DENIED_SUBSCRIPTION = re.compile(r'permissions violation for subscription to "([^"]*)"')
_RETRY_REFUSED_SECONDS = 2.0


@dataclass(slots=True)
class _Unconfirmed:
    """Subscriptions that NATS was sent, up to the next ping. Its answer to that ping means that it has read them."""

    sids: list[int]
    pong: "asyncio.Future[bool] | None" = None
    beyond_limit: int = 0
    """How many of them NATS has refused so far because it has as many as it takes: the last ones."""
    denied: set[int] = field(default_factory=set)


class NatsClient(nats.aio.client.Client):
    """A connection that is given up is dropped, not closed politely; one that is to be encrypted is, or is none.

    Closing politely waits until everything is written, which a frozen server never lets happen; and what was not
    written would be sent to the next server, long after its author was told that it was not.

    Messages are handled as they are read and published as they are said: nats-py's queue and task for each
    subscription, and its coroutines for each publish, cost more than what is done with a message here. What is not
    handled yet waits in the socket, so it is bounded; a process that falls far behind is cut off by NATS, connects
    again, and asks for what it has missed. Nothing is dropped here.

    Who is cancelled stops, whatever it waits for.

    No error of the server ends the client, as it would with nats-py: the connection is made again, until it is closed
    here. Only a subscription can be refused by itself, and then the connection stays. Every subscription is followed by
    a ping, so it is known which one that was, and after the answer that NATS has it.
    """

    def __init__(self, next_wait: Callable[[], float]) -> None:
        """`next_wait`: seconds before the next attempt of the first connection."""
        super().__init__()
        self._next_wait = next_wait
        self._handlers: dict[int, Handler] = {}
        self._if_refused: dict[int, Refused] = {}
        self._unconfirmed: deque[_Unconfirmed] = deque()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        """Those who subscribe, until NATS has the subscription or has refused it."""
        self.refused: dict[int, str] = {}
        """Why NATS refuses subscriptions that nobody takes back. They are tried again."""
        self._retried_at = 0.0

    @property
    def server_version(self) -> str:
        """Of the server that this is connected to, or was, as that spells it; empty before."""
        version: str = self._server_info.get("version", "")
        return version

    @property
    def clustered(self) -> bool:
        """Whether that server is one of a cluster."""
        return bool(self._server_info.get("cluster"))

    @property
    def subscription_count(self) -> int:
        return len(self._subs)

    def forget(self, subscription: Subscription) -> None:
        """NATS has refused it, so there is nothing to unsubscribe from."""
        self._remove_sub(subscription._id)  # noqa: SLF001 - nats-py offers nothing that does not ask NATS

    async def handle(self, subject: str, queue: str, handler: Handler, refused: Refused | None = None) -> Subscription:
        """Subscribe, and return when NATS has the subscription. `handler` must not block; what it raises goes to the
        error callback.

        While NATS is away it returns at once, and the subscription is sent when NATS is back. When NATS refuses it
        later, after a reconnect or since a permission was withdrawn, `refused` is called; else it is tried again.
        Raises SubscriptionRefused.
        """
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        self._sid += 1
        sid = self._sid
        subscription = Subscription(self, sid, subject, queue)
        self._handlers[sid] = handler
        self._subs[sid] = subscription
        if refused is not None:
            self._if_refused[sid] = refused
        if self.is_connected:  # else it is sent with all others when NATS is back, and this one could not be taken back
            accepted = self._waiting[sid] = asyncio.get_running_loop().create_future()
            try:
                await self._send_subscribe(subscription)
                await accepted
            except (SubscriptionRefused, asyncio.CancelledError):
                await _take_back(subscription)
                raise
            finally:
                self._waiting.pop(sid, None)
        return subscription

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._handlers.pop(sid, None)
        self._if_refused.pop(sid, None)
        self.refused.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    async def _send_subscribe(self, sub: Subscription) -> None:
        self._subscribe([sub])
        await self._send_ping()

    def _subscribe(self, subscriptions: list[Subscription]) -> None:
        """To be followed by a ping before anything else is awaited."""
        for one in subscriptions:
            self._put(command.sub_cmd(one._subject, one._queue or "", one._id))  # noqa: SLF001 - it tells nobody else
        self._ask_about([one._id for one in subscriptions])  # noqa: SLF001

    def _ask_about(self, sids: list[int]) -> None:
        if self._unconfirmed and self._unconfirmed[-1].pong is None:
            self._unconfirmed[-1].sids += sids
        else:
            self._unconfirmed.append(_Unconfirmed(sids))

    async def _send_ping(self, future: "asyncio.Future[bool] | None" = None) -> None:
        """In the order of all that is sent, other than nats-py's, whose pings overtake what still waits."""
        loop = asyncio.get_running_loop()
        if self.refused and loop.time() - self._retried_at > _RETRY_REFUSED_SECONDS:
            self._retried_at = loop.time()
            self._subscribe([self._subs[sid] for sid in self.refused])
        pong = loop.create_future() if future is None else future
        self._pongs.append(pong)
        if self._unconfirmed and self._unconfirmed[-1].pong is None:
            self._unconfirmed[-1].pong = pong
        self._put(PING_PROTO)
        await self._flush_pending()

    async def _process_pong(self) -> None:
        self._pings_outstanding = 0
        if not self._pongs:
            return
        pong = self._pongs.pop(0)
        if not pong.done():  # whoever waited for it may have given up
            pong.set_result(True)
        if self._unconfirmed and self._unconfirmed[0].pong is pong:
            await self._confirm(self._unconfirmed.popleft())

    async def _confirm(self, asked: _Unconfirmed) -> None:
        beyond = set(asked.sids[-asked.beyond_limit :]) if asked.beyond_limit else set()
        restored = False
        for sid in asked.sids:
            if sid in beyond:
                self._refuse(sid, _TOO_MANY_SUBSCRIPTIONS)
            elif sid in asked.denied:
                self._refuse(sid, "permissions violation")
            else:
                restored |= self.refused.pop(sid, None) is not None
                self._accept(sid)
        if restored:
            # What was said on them meanwhile is missing: as after a lost connection, everything is asked for again.
            await self._lose(ServerError("subscriptions were refused for a while"))

    def _accept(self, sid: int) -> None:
        accepted = self._waiting.get(sid)
        if accepted is not None and not accepted.done():
            accepted.set_result(None)

    def _refuse(self, sid: int, reason: str) -> None:
        if sid not in self._subs:
            return  # taken back meanwhile
        subject = self._subs[sid]._subject  # noqa: SLF001
        waiting = self._waiting.get(sid)
        if waiting is not None:
            if not waiting.done():
                waiting.set_exception(SubscriptionRefused(f"{reason}: {subject}"))
        elif sid in self._if_refused:
            self._if_refused[sid](reason)
        else:
            self.refused[sid] = f"{reason}: {subject}"

    async def _process_err(self, err_msg: str) -> None:
        """nats-py would close for good after most of them.

        NATS ends the connection itself after all but two; what it means by one that is new and does not, nobody knows.
        """
        text = err_msg.strip("'")
        if STALE_CONNECTION in text:
            await super()._process_err(err_msg)
        elif _TOO_MANY_SUBSCRIPTIONS in text:
            if self._unconfirmed:
                self._unconfirmed[0].beyond_limit += 1
            await self._error_cb(ServerError(text))
        elif PERMISSIONS_ERR in text:
            if denied := _DENIED_SUBSCRIPTION.search(text):
                self._deny(denied[1])
            await self._error_cb(ServerError(text))
        else:
            await self._lose(ServerError(text))

    def _deny(self, subject: str) -> None:
        """`subject`: in lower case."""
        asked = self._unconfirmed[0] if self._unconfirmed else None
        for sid, one in list(self._subs.items()):
            if one._subject.lower() != subject:  # noqa: SLF001
                continue
            if asked is not None and sid in asked.sids:
                asked.denied.add(sid)
            else:
                self._refuse(sid, "permissions violation")

    async def _lose(self, error: Exception) -> None:
        self._err = error
        await self._error_cb(error)
        await self._process_op_err(error)

    def _forget_what_was_asked(self) -> None:
        """The connection is gone: nothing that was sent on it will be answered."""
        for pong in self._pongs:
            if not pong.done():
                pong.set_exception(nats.errors.StaleConnectionError())
                pong.exception()  # nobody may be waiting for it
        self._pongs = []
        self._unconfirmed.clear()
        for sid in list(self._waiting):
            self._accept(sid)  # it is sent again with all others

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
        if headers is None:
            size = len(payload)
            line = f"PUB {subject} {reply} {size}\r\n".encode()
        else:
            head = "".join(["NATS/1.0\r\n", *(f"{name}: {value}\r\n" for name, value in headers.items()), "\r\n"])
            size = len(head.encode())
            line = f"HPUB {subject} {reply} {size} {size + len(payload)}\r\n{head}".encode()
            size += len(payload)
        if size > self._max_payload:
            raise nats.errors.MaxPayloadError
        self._put(b"%b%b\r\n" % (line, payload))
        if self._flush_queue is not None and self._flush_queue.empty():
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        """nats-py writes to the connection itself when its flusher has ended. That one ends with its connection, and
        writing to what is closed raises; what waits is sent, or dropped, when the loss has been noticed."""
        if self.is_connected and self._flusher_task is not None and self._flusher_task.done():
            return None
        return await super()._flush_pending(force_flush)

    def _put(self, line: bytes) -> None:
        self._pending.append(line)
        self._pending_data_size += len(line)

    async def _process_op_err(self, e: Exception) -> None:
        if not self.is_closed and not self.is_reconnecting:
            self._hang_up()
            self._forget_what_was_asked()
            self._pending = []
            self._pending_data_size = 0
        await super()._process_op_err(e)

    async def flush(self, *args: Any) -> None:
        await _honouring_cancellation(super().flush(*args))

    async def _select_next_server(self) -> None:
        """Of the first connection."""
        await asyncio.sleep(self._next_wait())
        await super()._select_next_server()

    async def _connect_to_server(self, *args: Any) -> None:
        with _as_errors_of_nats():
            await _honouring_cancellation(super()._connect_to_server(*args))

    async def _process_connect_init(self) -> None:
        with _as_errors_of_nats():
            await _honouring_cancellation(super()._process_connect_init())
        if not self.is_connected:  # the server has ended the connection, and nats-py did not look
            for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
                if task is not None:
                    task.cancel()
            raise nats.errors.UnexpectedEOF
        self._forget_what_was_asked()
        self.refused.clear()
        if self._subs:  # nats-py sends all of them now, and a ping behind them
            self._ask_about(list(self._subs))

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """nats-py would write what waits to the connection that was lost, and fail, as it does before the first one."""
        if self._flush_queue is None:
            return
        self._forget_what_was_asked()
        if not self.is_connected:
            self._pending = []
            self._pending_data_size = 0
        try:
            await _honouring_cancellation(super()._close(status, do_cbs))
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


@contextmanager
def _as_errors_of_nats() -> Iterator[None]:
    """A server, or what is in its place, may answer anything; what nats-py does not expect would end its attempts."""
    try:
        yield
    except nats.errors.Error as error:
        if type(error) is nats.errors.Error:  # what the server said instead of letting us in
            raise ServerError(str(error).removeprefix("nats: ").strip("'").lower()) from error
        raise
    except (OSError, TimeoutError):
        raise
    except Exception as error:
        raise nats.errors.ProtocolError(f"nats: {type(error).__name__}: {error}") from error


async def _take_back(subscription: Subscription) -> None:
    with suppress(nats.errors.Error):  # the connection is closed meanwhile
        await subscription.unsubscribe()


async def _honouring_cancellation(work: Awaitable[Result]) -> Result:
    """Before Python 3.12 a cancellation that comes together with what `asyncio.wait_for` waits for is lost
    (python/cpython#86296), and nats-py's loops, which try for ever, would go on."""
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    heeded = task.cancelling()
    try:
        return await work
    finally:
        if task.cancelling() > heeded:
            raise asyncio.CancelledError
