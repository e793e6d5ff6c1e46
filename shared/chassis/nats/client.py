"""nats-py's client with changes to its losses, cancellation, subscriptions and publishing."""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import nats.aio.client
import nats.errors
from nats.aio.client import PING_PROTO, Srv
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol import command
from nats.protocol.parser import PERMISSIONS_ERR, STALE_CONNECTION

from studyroom.shared.chassis.nats.cancellation import honouring_cancellation
from studyroom.shared.chassis.nats.connecting import (
    ServerError,
    SubscriptionRefused,
    TlsRefused,
    as_errors_of_nats,
)
from studyroom.shared.chassis.nats.handled import HandledSubscription
from studyroom.shared.chassis.nats.names import Names
from studyroom.shared.chassis.nats.parser import MessageParser, parse_headers

if TYPE_CHECKING:
    from ssl import SSLContext

Handler = Callable[[Msg], None]
Refused = Callable[[str], None]
"""Called with the reason when NATS refuses a subscription that it had accepted before."""

_TOO_MANY_SUBSCRIPTIONS = "maximum subscriptions exceeded"
_DENIED_SUBSCRIPTION = re.compile(r'permissions violation for subscription to "([^"]*)"')
_RETRY_REFUSED_SECONDS = 2.0
_WITHOUT_STATUS = b"NATS/1.0\r\n"
"""The first line of headers of a message that is not a status."""


@dataclass(slots=True)
class _Unconfirmed:
    """Subscriptions that the client sent before one ping. NATS has read them when it answers that ping."""

    sids: list[int]
    pong: "asyncio.Future[bool] | None" = None
    beyond_limit: int = 0
    """The number of subscriptions that NATS has refused for its limit, which are the last ones."""
    denied: set[int] = field(default_factory=set)


class NatsClient(nats.aio.client.Client):
    """nats-py's client, which differs from it in the following ways.

    It aborts a lost connection instead of closing it. A close waits until everything is written, which never happens
    with a frozen server. Unwritten messages would also go to the next server, long after the bus has reported them as
    unsent.

    It never sends unencrypted data if the settings require TLS.

    It handles each message when it reads it, and publishes without coroutines. nats-py's queue and task for each
    subscription cost more than the handling of a message here. Unhandled messages wait in the socket, whose size is
    bounded. NATS disconnects a process that lags far behind, which then reconnects and asks for missed changes. The
    client drops no message.

    A cancelled task always stops.

    No error of the server ends the client. It reconnects until it is closed. NATS can also refuse a single
    subscription, while the connection goes on. A ping follows every subscription, so the client knows which one NATS
    has refused, and after the answer to the ping that NATS has the others.
    """

    def __init__(self, next_wait: Callable[[], float], tls: "Callable[[], SSLContext | None]" = lambda: None) -> None:
        """Create it.

        `next_wait`: returns the seconds before the next attempt to make the first connection. `tls`: returns the
        context of the next connection, so that each one reads the certificates again; None if the settings have none.
        """
        super().__init__()
        self._ps = MessageParser(self)
        self._next_wait = next_wait
        self._tls = tls
        self._names = Names()
        self._handlers: dict[int, Handler] = {}
        self._if_refused: dict[int, Refused] = {}
        self._unconfirmed: deque[_Unconfirmed] = deque()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        """Tasks that subscribe, until NATS has accepted or refused the subscription."""
        self.refused: dict[int, str] = {}
        """The reasons why NATS refuses subscriptions without a `refused` callback. The client retries them."""
        self._retried_at = 0.0
        self._empty_queue: asyncio.Queue[Msg] = asyncio.Queue()
        """The queue of all subscriptions, since messages are handled when they are read. One takes 3 KB."""

    @property
    def server(self) -> Mapping[str, Any]:
        """The `INFO` of the present or last server; empty before the first connection."""
        return self._server_info

    @property
    def peer_certificate(self) -> dict[str, Any] | None:
        """The certificate of the server, as `ssl` decodes it; None without TLS."""
        writer = getattr(self._transport, "_io_writer", None)
        encrypted = writer.get_extra_info("ssl_object") if writer is not None else None
        return encrypted.getpeercert() if encrypted is not None else None

    @property
    def subscription_count(self) -> int:
        return len(self._subs)

    def forget(self, subscription: Subscription) -> None:
        """Drop a subscription that NATS has refused, without unsubscribing."""
        self._remove_sub(subscription._id)  # noqa: SLF001 - nats-py's own methods would ask NATS

    async def handle(self, subject: str, queue: str, handler: Handler, refused: Refused | None = None) -> Subscription:
        """Subscribe, and return when NATS has the subscription. Raises SubscriptionRefused.

        `handler` must not block. Its errors go to the error callback. While NATS is away, the method returns at once,
        and the client sends the subscription after the reconnection. If NATS refuses it later, after a reconnection or
        a change of permissions, the client calls `refused`. Without `refused` it retries.
        """
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        self._sid += 1
        sid = self._sid
        subscription = HandledSubscription(self, sid, subject, queue, self._empty_queue)
        self._handlers[sid] = handler
        self._subs[sid] = subscription
        if refused is not None:
            self._if_refused[sid] = refused
        if self.is_connected:  # Otherwise the client sends it with all others after the reconnection.
            accepted = self._waiting[sid] = asyncio.get_running_loop().create_future()
            try:
                await self._send_subscribe(subscription)
                await accepted
            except (SubscriptionRefused, asyncio.CancelledError):
                await _unsubscribe(subscription)
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
        """Write subscriptions. Send a ping before you await anything else."""
        for one in subscriptions:
            self._put(command.sub_cmd(one._subject, one._queue or "", one._id))  # noqa: SLF001 - it has no accessor
        self._ask_about([one._id for one in subscriptions])  # noqa: SLF001

    def _ask_about(self, sids: list[int]) -> None:
        if self._unconfirmed and self._unconfirmed[-1].pong is None:
            self._unconfirmed[-1].sids += sids
        else:
            self._unconfirmed.append(_Unconfirmed(sids))

    async def _send_ping(self, future: "asyncio.Future[bool] | None" = None) -> None:
        """Send a ping in order with all other messages. nats-py's pings overtake waiting messages."""
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
        if not pong.done():  # The task that waits for it may have given up.
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
            # Messages of the refused time are missing, so the services must resync as after a lost connection.
            await self._lose(ServerError("subscriptions were refused for a while"))

    def _accept(self, sid: int) -> None:
        accepted = self._waiting.get(sid)
        if accepted is not None and not accepted.done():
            accepted.set_result(None)

    def _refuse(self, sid: int, reason: str) -> None:
        if sid not in self._subs:
            return  # It was unsubscribed meanwhile.
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
        """Handle an error of the server. After most of them nats-py would close for good.

        NATS ends the connection itself after all known errors but two. After an unknown one the client reconnects.
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
        """Refuse the subscriptions to a subject, given in lower case."""
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

    def _forget_unanswered(self) -> None:
        """Give up waiting for answers of a lost connection."""
        for pong in self._pongs:
            if not pong.done():
                pong.set_exception(nats.errors.StaleConnectionError())
                pong.exception()  # Marks it as retrieved, because nobody may wait for it.
        self._pongs = []
        self._unconfirmed.clear()
        for sid in list(self._waiting):
            self._accept(sid)  # The client sends it again with all others.

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        # A server that sends messages is not frozen. Its answer to a ping may come after many of them.
        self._pings_outstanding = 0
        handler = self._handlers.get(sid)
        if handler is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        try:
            if not headers:
                decoded = None
            elif headers.startswith(_WITHOUT_STATUS):
                decoded = self._parse_header_lines(headers[len(_WITHOUT_STATUS) :]) or None
            else:
                decoded = await self._process_headers(headers)
            handler(Msg(self, subject.decode(), reply.decode(), data, decoded))
        except Exception as error:  # noqa: BLE001 - it is reported, and must not affect the next message
            await self._error_cb(error)

    _parse_header_lines = staticmethod(parse_headers)

    def publish_soon(self, subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None) -> None:
        """Publish in the order of the calls, in the next iteration of the loop. Raises nats.errors.Error.

        The caller guarantees that subjects and headers have no white space or line ends.
        """
        if not self.is_connected:
            raise nats.errors.OutboundBufferLimitError
        if headers is None:
            size = len(payload)
            line = f"PUB {subject} {reply} {size}\r\n".encode()
        else:
            lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
            head = f"NATS/1.0\r\n{lines}\r\n".encode()
            size = len(head) + len(payload)
            line = f"HPUB {subject} {reply} {len(head)} {size}\r\n".encode() + head
        if size > self._max_payload:
            raise nats.errors.MaxPayloadError
        self._put(b"%b%b\r\n" % (line, payload))
        if self._flush_queue is not None and self._flush_queue.empty():
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        """Flush, unless the flusher has ended with its connection.

        nats-py would then write to the closed connection itself, which raises. The client sends or drops waiting
        messages when it notices the loss.
        """
        if self.is_connected and self._flusher_task is not None and self._flusher_task.done():
            return None
        return await super()._flush_pending(force_flush)

    def _put(self, line: bytes) -> None:
        self._pending.append(line)
        self._pending_data_size += len(line)

    async def _process_op_err(self, e: Exception) -> None:
        if not self.is_closed and not self.is_reconnecting:
            self._hang_up()
            self._forget_unanswered()
            self._pending = []
            self._pending_data_size = 0
        await super()._process_op_err(e)

    async def flush(self, *args: Any) -> None:
        await honouring_cancellation(super().flush(*args))

    async def _select_next_server(self) -> None:
        """Wait before the next attempt to make the first connection."""
        await asyncio.sleep(self._next_wait())
        await super()._select_next_server()

    async def _connect_to_server(self, s: Srv) -> None:
        self._hang_up()  # nats-py leaves a connection open whose handshake failed.
        with as_errors_of_nats():
            await self._names.check(s.uri.hostname or "", self.options["connect_timeout"])
            if (context := self._tls()) is not None:
                self.options["tls"] = context
            await honouring_cancellation(super()._connect_to_server(s))

    async def _process_connect_init(self) -> None:
        with as_errors_of_nats():
            await honouring_cancellation(super()._process_connect_init())
        if not self.is_connected:  # The server has ended the connection, which nats-py does not check.
            for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
                if task is not None:
                    task.cancel()
            raise nats.errors.UnexpectedEOF
        self._forget_unanswered()
        self.refused.clear()
        if self._subs:  # nats-py now sends all of them, and then a ping.
            self._ask_about(list(self._subs))

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """Close. nats-py would write waiting messages to a lost connection and fail, also before the first one."""
        self._names.close()
        if self._flush_queue is None:
            return
        self._forget_unanswered()
        if not self.is_connected:
            self._pending = []
            self._pending_data_size = 0
        try:
            await honouring_cancellation(super()._close(status, do_cbs))
        except asyncio.CancelledError:
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Check that the server offers TLS if required. nats-py would continue unencrypted with one that does not."""
        if initial_connection and "tls" in self.options and not info.get("tls_required"):
            raise TlsRefused("nats: the server does not offer TLS")
        await super()._process_info(info, initial_connection)


async def _unsubscribe(subscription: Subscription) -> None:
    with suppress(nats.errors.Error):  # The connection may be closed.
        await subscription.unsubscribe()
