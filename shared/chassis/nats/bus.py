"""The connection to NATS. The modules of this package are the only ones that know the vendor.

The vendor's errors are translated here, once.

nats-py's defaults are set on purpose (docs/decisions/0003): reconnecting never ends and is jittered, a frozen
server is noticed within three pings, nothing is kept for later while disconnected, and nothing is queued for handlers.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import nats.errors

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats import connecting
from studyroom.shared.chassis.nats.attempts import Attempts
from studyroom.shared.chassis.nats.client import NatsClient, Refused
from studyroom.shared.chassis.nats.connecting import CredentialsFile, CredentialsUnusable, ServerError, in_words
from studyroom.shared.chassis.nats.errors import (
    ApiError,
    BusError,
    BusUnavailable,
    Conflict,
    StorageFull,
    SubscriptionRefused,
    TooLong,
)
from studyroom.shared.chassis.nats.messages import Acknowledgement, Message, headers_bytes, parse_acknowledgement
from studyroom.shared.chassis.nats.reply_inbox import ReplyInbox
from studyroom.shared.chassis.nats.subscription import Subscription
from studyroom.shared.chassis.nats.version import NEEDED, is_too_old
from studyroom.shared.chassis.settings import NatsSettings
from studyroom.shared.chassis.tls import tls_context

__all__ = [
    "Acknowledgement", "ApiError", "Bus", "BusError", "BusUnavailable", "Conflict", "Message", "StorageFull",
    "Subscription", "SubscriptionRefused", "TooLong", "headers_bytes", "parse_acknowledgement",
]  # fmt: skip

log = logs.get(__name__)

API_TIMEOUT_SECONDS = 5.0
MAX_PAYLOAD_LEAST_BYTES = 16_000
"""Of NATS, without which nothing of ours is sure to fit: a question about 256 rooms has 13 KB."""
_FIRST_RECONNECT_WAIT_SECONDS = 0.1
_GONE_POLL_SECONDS = 0.1
_REPEAT_SECONDS = 30.0
_CLOSE_SECONDS = 2.0
_ANSWER_REFUSED = 'permissions violation for publish to "_inbox.'
_FLUSHER_QUEUE_SIZE = 1_000_000
"""A full queue makes nats-py's subscribe and its pings wait, and swallows cancellation; so it is never full."""


Handler = Callable[[Message], None]
Failed = Callable[[], None]


class Bus:
    """One NATS connection.

    `publish` is plain and ordered, so a caller needs no task and never waits. Everything else may be awaited by many
    tasks at once; cancelling an await leaves the outcome of what was asked unknown.
    """

    def __init__(self, settings: NatsSettings, metrics: BusMetrics, *, name: str, no_echo: bool = False) -> None:
        """`no_echo`: core messages published here are not delivered here; republished ones still are.

        `name`: of the service. Answers come to an inbox that begins with it: its user in NATS may read no other.
        """
        self._settings = settings
        self._metrics = metrics
        self._name = name
        self._no_echo = no_echo
        self._client = NatsClient(self._next_wait)
        self._reconnected: list[Callable[[], Awaitable[None]]] = []
        self._disconnected: list[Callable[[], None]] = []
        self._attempts = Attempts(settings.reconnect_max_wait_seconds)
        self._lost_at = float("-inf")
        self._closing = False
        self._reported: dict[str, float] = {}
        """Why there was no connection, and when that was logged."""
        self._why = ""
        """Of late, for people."""
        self._reported_by_nats = False
        """A reason that NATS gave. That it then ends the connection is no better one."""
        self.closed_for_good = asyncio.Event()
        """Set when the client gave up although we never asked it to (not known to happen): the process must end."""

    # --- connection ---------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Returns when connected, however long that takes."""
        settings = self._settings
        password = settings.password.get_secret_value() if settings.password else None
        credentials = CredentialsFile(settings.credentials_file) if settings.credentials_file else None
        await self._client.connect(
            servers=list(settings.url),
            name=f"studyroom-{self._name}",
            inbox_prefix=f"_INBOX.{self._name}",
            no_echo=self._no_echo,
            user=settings.user,
            password=password,
            signature_cb=credentials.sign if credentials else None,
            user_jwt_cb=credentials.jwt if credentials else None,
            tls=tls_context(settings),
            connect_timeout=settings.connect_timeout_seconds,  # type: ignore[arg-type] # floats work
            ping_interval=settings.ping_interval_seconds,  # type: ignore[arg-type]
            max_outstanding_pings=2,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_FIRST_RECONNECT_WAIT_SECONDS,  # type: ignore[arg-type]
            reconnect_to_server_handler=self._choose_server,
            pending_size=0,
            flusher_queue_size=_FLUSHER_QUEUE_SIZE,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
        )
        self._why, self._reported_by_nats = "", False
        self._attempts.connected(asyncio.get_running_loop().time())
        if self._client.connected_url is not None:
            self._attempts.tried(self._client.connected_url.netloc)

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    @property
    def why_away(self) -> str:
        """Why there is no connection, for people; empty while there is one, or where nobody knows."""
        return self._why

    @property
    def problems(self) -> list[str]:
        """Why this process cannot do its work by NATS now, for people; empty when it can."""
        if not self.connected:
            return [f"not connected to NATS: {self._why}" if self._why else "not connected to NATS"]
        reasons = [f"NATS refuses a subscription: {reason}" for reason in self._client.refused.values()]
        if is_too_old(self.server_version):
            reasons.append(f"nats-server {self.server_version} is too old: {NEEDED}")
        if self.max_payload_bytes < MAX_PAYLOAD_LEAST_BYTES:
            reasons.append(
                f"NATS takes messages of {self.max_payload_bytes} bytes at most (max_payload), "
                f"at least {MAX_PAYLOAD_LEAST_BYTES} are needed"
            )
        return reasons

    @property
    def server_version(self) -> str:
        """Of the server that this is connected to, or was; empty before."""
        return self._client.server_version

    @property
    def clustered(self) -> bool:
        """Whether that server is one of a cluster."""
        return self._client.clustered

    @property
    def pending_bytes(self) -> int:
        return self._client.pending_data_size

    @property
    def max_payload_bytes(self) -> int:
        """The longest message that NATS takes, headers and all. The next connection may have another limit."""
        return self._client.max_payload

    @property
    def subscriptions(self) -> int:
        return self._client.subscription_count

    def on_disconnected(self, callback: Callable[[], None]) -> None:
        self._disconnected.append(callback)

    def on_reconnected(self, callback: Callable[[], Awaitable[None]]) -> None:
        self._reconnected.append(callback)

    async def gone(self, for_seconds: float) -> None:
        """Returns when there has been no connection for so long, or there will never be one again."""
        now = asyncio.get_running_loop().time
        while self.connected or now() - self._lost_at < for_seconds:
            if self.closed_for_good.is_set():
                return
            await asyncio.sleep(_GONE_POLL_SECONDS)

    async def flush(self, timeout_seconds: float = API_TIMEOUT_SECONDS) -> None:
        """Returns when NATS has processed everything published before. Raises BusUnavailable."""
        self._check_connected()
        with _translated():
            async with asyncio.timeout(timeout_seconds):
                await self._client.flush(timeout_seconds)

    async def close(self) -> None:
        """Send what is waiting, if NATS is there, and close. Safe to call twice."""
        self._closing = True
        if self.connected:
            try:
                await self.flush(1.0)
            except BusError:
                log.warning("closing without a last flush", unsent_bytes=self.pending_bytes)
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._client.close()
        except TimeoutError:
            log.warning("the connection to NATS did not close in time")

    def _check_connected(self) -> None:
        """nats-py keeps the future of a request that it refuses to send, for ever: so it is not asked."""
        if not self.connected:
            raise BusUnavailable("not connected to NATS")

    def _choose_server(self, servers: list[Any], _info: dict[str, Any]) -> tuple[Any, float]:
        by_name = {server.uri.netloc: server for server in servers}
        return by_name[self._attempts.next_server(list(by_name))], self._next_wait()

    def _next_wait(self) -> float:
        return self._attempts.wait_seconds(asyncio.get_running_loop().time())

    async def _on_error(self, error: Exception) -> None:
        kind = type(error).__name__
        self._metrics.errors.labels(kind=kind).inc()
        expected = isinstance(error, OSError | nats.errors.Error | asyncio.TimeoutError)
        if str(error).lower().startswith(_ANSWER_REFUSED):
            # NATS forgets who has asked when it reads its configuration again; the question is asked again as well.
            log.warning("NATS did not take an answer", error=str(error))
        elif "permissions violation" in str(error).lower():
            self._metrics.refusals.inc()
            log.error("NATS does not allow this", error=str(error))
        elif isinstance(error, ServerError):
            self._metrics.count_server_error(str(error))
            self._reported_by_nats = True
            self._take_reason("NATS sent an error", str(error))
        elif isinstance(error, CredentialsUnusable):
            self._reported_by_nats = True
            self._take_reason("no credentials for NATS", str(error))
        elif expected:
            log.debug("bus error", kind=kind, error=str(error))
            if not self.connected and not self._reported_by_nats:
                self._take_reason(
                    "cannot connect to NATS", f"{in_words(error)} ({', '.join(self._settings.addresses)})"
                )
        else:
            log.error("message handler failed", exc_info=error)

    def _take_reason(self, event: str, text: str) -> None:
        self._why = text
        now = asyncio.get_running_loop().time()
        if now - self._reported.get(text, float("-inf")) > _REPEAT_SECONDS:
            self._reported[text] = now
            log.warning(event, error=text)

    async def _on_disconnected(self) -> None:
        self._lost_at = asyncio.get_running_loop().time()
        if not self._closing:
            log.warning("disconnected from NATS", error=self._why or None)
        for callback in self._disconnected:
            callback()

    async def _on_reconnected(self) -> None:
        self._attempts.connected(asyncio.get_running_loop().time())
        self._why, self._reported_by_nats = "", False
        self._metrics.reconnects.inc()
        log.info("reconnected to NATS")
        for callback in self._reconnected:
            await callback()

    async def _on_closed(self) -> None:
        if not self._closing:
            log.error("NATS closed the connection for good", error=str(self._client.last_error))
            self.closed_for_good.set()

    # --- core NATS ----------------------------------------------------------------------------------------

    def publish(
        self,
        subject: str,
        payload: bytes,
        *,
        reply: str = "",
        headers: dict[str, str] | None = None,
        failed: Failed | None = None,
    ) -> None:
        """Publish soon, in the order of the calls.

        While NATS is away the message is dropped and counted, and `failed` is called; it is never sent later.
        """
        try:
            self._client.publish_soon(subject, payload, reply, headers)
        except nats.errors.Error as error:
            self._metrics.unsent.inc()
            if isinstance(error, nats.errors.MaxPayloadError):
                log.error("a message is too long for NATS", subject=subject, limit_bytes=self.max_payload_bytes)
            if failed is not None:
                asyncio.get_running_loop().call_soon(failed)

    def _check_length(self, size: int) -> None:
        if size > self.max_payload_bytes:
            raise TooLong(f"{size} bytes are more than NATS takes in a message ({self.max_payload_bytes})")

    async def request(self, subject: str, payload: bytes, *, timeout_seconds: float) -> Message:
        """Raises BusUnavailable when nobody answers in time, or TooLong."""
        self._check_connected()
        self._check_length(len(payload))
        with _translated():
            return await self._client.request(subject, payload, timeout=timeout_seconds)

    async def subscribe(
        self, subject: str, handler: Handler, *, queue: str = "", refused: Refused | None = None
    ) -> Subscription:
        """Returns when NATS has the subscription, or at once while it is away. Raises SubscriptionRefused.

        `handler` is called in the order of arrival and must not block. Survives reconnects; if NATS refuses it then, or
        withdraws it, `refused` is called with the reason, and the subscription should be given up. Without `refused` it
        is tried again, and this process has a problem until that works.
        """
        with _translated():
            vendor = await self._client.handle(subject, queue, handler, refused)
        return Subscription(self._client, vendor)

    def new_inbox(self) -> str:
        return self._client.new_inbox()

    async def open_inbox(self, inbox: ReplyInbox[Any]) -> None:
        """Receive answers with `inbox` from now on, across reconnects. Raises SubscriptionRefused.

        To publish a question, pass `inbox.expect(...)` as its `reply`.
        """
        subject = self.new_inbox()
        await self.subscribe(f"{subject}.*", inbox.receive)
        inbox.opened(subject)

    # --- JetStream ----------------------------------------------------------------------------------------

    def jetstream(self, verb: str) -> str:
        """The subject of a call of the JetStream API."""
        domain = self._settings.jetstream_domain
        return f"$JS.API.{verb}" if domain is None else f"$JS.{domain}.API.{verb}"

    async def store(
        self, subject: str, payload: bytes, headers: Mapping[str, str], *, timeout_seconds: float
    ) -> Acknowledgement:
        """Publish into a stream and wait for the commit.

        Raises Conflict, StorageFull, ApiError, BusUnavailable or TooLong.
        """
        self._check_connected()
        self._check_length(len(payload) + headers_bytes(headers))
        with _translated():
            reply = await self._client.request(subject, payload, timeout=timeout_seconds, headers=dict(headers))
        return parse_acknowledgement(reply)

    async def api(
        self,
        verb: str,
        request: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float = API_TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        """One call of the JetStream API, such as `STREAM.INFO.CHAT`. Raises ApiError or BusUnavailable.

        https://docs.nats.io/reference/reference-protocols/nats_api_reference
        """
        self._check_connected()
        payload = json.dumps(request).encode() if request is not None else b""
        with _translated():
            reply = await self._client.request(self.jetstream(verb), payload, timeout=timeout_seconds)
        answer: dict[str, Any] = json.loads(reply.data)
        if error := answer.get("error"):
            raise ApiError(error.get("err_code", 0), error.get("description", "refused"))
        return answer

    async def stream_info(self, stream: str) -> dict[str, Any]:
        """What the leader of the stream says of it. Raises ApiError or BusUnavailable.

        While a stream has no leader, any server answers for what it has itself, which may be older.
        """
        info = await self.api(f"STREAM.INFO.{stream}")
        cluster = info.get("cluster")
        if cluster is not None and not cluster.get("leader"):
            raise BusUnavailable(f"the stream {stream} has no leader")
        return info


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except connecting.SubscriptionRefused as error:
        raise SubscriptionRefused(f"NATS refuses a subscription: {error}") from error
    except (TimeoutError, nats.errors.Error, OSError) as error:
        raise BusUnavailable(str(error) or type(error).__name__) from error
