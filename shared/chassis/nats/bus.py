"""The connection to NATS. Only the modules of this package know nats-py, and this one translates its errors.

Why nats-py has these options is in docs/decisions/0003. Reconnecting never ends, and nothing is kept meanwhile.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import nats.errors

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.attempts import Attempts
from studyroom.shared.chassis.nats.certificates import expirations
from studyroom.shared.chassis.nats.client import NatsClient, Refused
from studyroom.shared.chassis.nats.connecting import CredentialsFile
from studyroom.shared.chassis.nats.error_log import ErrorLog
from studyroom.shared.chassis.nats.errors import (
    ApiError,
    BusError,
    BusUnavailable,
    Conflict,
    StorageFull,
    SubscriptionRefused,
    TooLong,
    translated,
)
from studyroom.shared.chassis.nats.leadership import has_leader
from studyroom.shared.chassis.nats.messages import Acknowledgement, Message, headers_bytes, parse_acknowledgement
from studyroom.shared.chassis.nats.reply_inbox import ReplyInbox
from studyroom.shared.chassis.nats.subscription import Subscription
from studyroom.shared.chassis.nats.version import NEEDED, is_too_old
from studyroom.shared.chassis.settings import NatsSettings
from studyroom.shared.chassis.tls import tls_context
from studyroom.shared.chassis.tracing.spans import Kind, within
from studyroom.shared.contract.headers import STATUS

__all__ = [
    "Acknowledgement", "ApiError", "Bus", "BusError", "BusUnavailable", "Conflict", "Message", "StorageFull",
    "Subscription", "SubscriptionRefused", "TooLong", "headers_bytes", "parse_acknowledgement",
]  # fmt: skip

log = logs.get(__name__)

API_TIMEOUT_SECONDS = 5.0
MAX_PAYLOAD_LEAST_BYTES = 16_000
"""With a lower limit of NATS, messages of Studyroom may not fit: a question about 256 rooms has 13 KB."""
_FIRST_RECONNECT_WAIT_SECONDS = 0.1
_GONE_POLL_SECONDS = 0.1
_CLOSE_SECONDS = 2.0
_FLUSHER_QUEUE_SIZE = 1_000_000
"""A full queue makes nats-py's subscribe and its pings wait, and swallows cancellation; so it is never full."""
_NO_MESSAGE = 10037
"""JetStream: the stream has no such message."""
_NO_RESPONDERS = "503"
"""NATS: the subject of a request has no subscriber."""

Handler = Callable[[Message], None]
Failed = Callable[[], None]


class Bus:
    """One NATS connection.

    `publish` is plain and ordered, so a caller needs no task and never waits. Many tasks may await everything else at
    once. Cancelling a request leaves its outcome unknown.
    """

    def __init__(self, settings: NatsSettings, metrics: BusMetrics, *, name: str, no_echo: bool = False) -> None:
        """Create a bus that is not connected yet.

        `name`: the name of the service, with which its inboxes begin. Its NATS user may read no others.
        `no_echo`: NATS does not deliver core messages of this connection back to it, but still republished ones.
        """
        self._settings = settings
        self._metrics = metrics
        self._name = name
        self._no_echo = no_echo
        self._client = NatsClient(self._next_wait, lambda: tls_context(settings))
        self._replies = ReplyInbox["asyncio.Future[Message]"](_take_first)
        self._opening_replies = asyncio.Lock()
        self._reconnected: list[Callable[[], Awaitable[None]]] = []
        self._disconnected: list[Callable[[], None]] = []
        self._attempts = Attempts(settings.reconnect_max_wait_seconds)
        self._lost_at = float("-inf")
        self._closing = False
        self._errors = ErrorLog(metrics, settings.addresses)
        self.closed_for_good = asyncio.Event()
        """Set if nats-py closes the connection by itself, which is not known to happen. The process must then end."""

    # --- connection ---------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Wait until the bus is connected, however long that takes."""
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
        self._errors.connected()
        self._attempts.connected(asyncio.get_running_loop().time())
        if self._client.connected_url is not None:
            self._attempts.tried(self._client.connected_url.netloc)

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    @property
    def why_away(self) -> str:
        """The reason why there is no connection, for people; empty while there is one, or if the reason is unknown."""
        return self._errors.why_away

    @property
    def problems(self) -> list[str]:
        """The reasons why this process cannot work with NATS now, for people; none if it can."""
        if not self.connected:
            return [f"not connected to NATS: {self.why_away}" if self.why_away else "not connected to NATS"]
        reasons = [f"NATS refuses a subscription: {reason}" for reason in self._client.refused.values()]
        if is_too_old(self.server_version):
            reasons.append(f"nats-server {self.server_version} is too old: {NEEDED}")
        if self.max_payload_bytes < MAX_PAYLOAD_LEAST_BYTES:
            reasons.append(
                f"NATS accepts messages of at most {self.max_payload_bytes} bytes (max_payload), "
                f"but Studyroom needs at least {MAX_PAYLOAD_LEAST_BYTES}"
            )
        return reasons

    @property
    def server_version(self) -> str:
        """The version of the present or last server; empty before the first connection."""
        return str(self._client.server.get("version", ""))

    @property
    def clustered(self) -> bool:
        """Whether that server is one of a cluster."""
        return bool(self._client.server.get("cluster"))

    @property
    def connection_id(self) -> str:
        """The id of that server, a slash, and the number of the connection there, as NATS lists connections."""
        server = self._client.server
        return f"{server.get('server_id', '')}/{server.get('client_id', '')}"

    @property
    def pending_bytes(self) -> int:
        return self._client.pending_data_size

    @property
    def max_payload_bytes(self) -> int:
        """The longest message that NATS accepts, with its headers. The next connection may have another limit."""
        return self._client.max_payload

    @property
    def subscriptions(self) -> int:
        return self._client.subscription_count

    @property
    def certificates_expire(self) -> dict[str, float]:
        """When the certificates of this connection expire, in POSIX seconds, by side; none without TLS."""
        return expirations(self._settings.tls_cert_file, self._client.peer_certificate)

    def on_disconnected(self, callback: Callable[[], None]) -> None:
        self._disconnected.append(callback)

    def on_reconnected(self, callback: Callable[[], Awaitable[None]]) -> None:
        self._reconnected.append(callback)

    async def gone(self, for_seconds: float) -> None:
        """Wait until there was no connection for so long, or until there will never be one again."""
        now = asyncio.get_running_loop().time
        while self.connected or now() - self._lost_at < for_seconds:
            if self.closed_for_good.is_set():
                return
            await asyncio.sleep(_GONE_POLL_SECONDS)

    async def flush(self, timeout_seconds: float = API_TIMEOUT_SECONDS) -> None:
        """Wait until NATS has processed everything published before. Raises BusUnavailable."""
        self._check_connected()
        with translated():
            async with asyncio.timeout(timeout_seconds):
                await self._client.flush(timeout_seconds)

    async def close(self) -> None:
        """Send the waiting messages if connected, and close the connection. You may call this twice."""
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
        if not self.connected:
            raise BusUnavailable("not connected to NATS")

    def _choose_server(self, servers: list[Any], _info: dict[str, Any]) -> tuple[Any, float]:
        by_name = {server.uri.netloc: server for server in servers}
        return by_name[self._attempts.next_server(list(by_name))], self._next_wait()

    def _next_wait(self) -> float:
        return self._attempts.wait_seconds(asyncio.get_running_loop().time())

    async def _on_error(self, error: Exception) -> None:
        self._errors.take(error, is_connected=self.connected, now=asyncio.get_running_loop().time())

    async def _on_disconnected(self) -> None:
        self._lost_at = asyncio.get_running_loop().time()
        if not self._closing:
            log.warning("disconnected from NATS", error=self.why_away or None)
        for callback in self._disconnected:
            callback()

    async def _on_reconnected(self) -> None:
        self._attempts.connected(asyncio.get_running_loop().time())
        self._errors.connected()
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

        While NATS is away, the bus drops and counts the message and calls `failed`; it never sends the message later.
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
            raise TooLong(f"{size} bytes are more than NATS accepts in a message ({self.max_payload_bytes})")

    async def request(
        self, subject: str, payload: bytes, *, timeout_seconds: float, headers: Mapping[str, str] | None = None
    ) -> Message:
        """Return the first answer. Raises BusUnavailable if none arrives in time, or TooLong."""
        self._check_connected()
        self._check_length(len(payload) + (headers_bytes(headers) if headers else 0))
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        with translated():
            async with asyncio.timeout(timeout_seconds):
                await self._open_replies()
                reply = self._replies.expect(answer)
                try:
                    self._client.publish_soon(subject, payload, reply, headers)
                    message = await answer
                finally:
                    self._replies.close(reply)
        if (message.headers or {}).get(STATUS) == _NO_RESPONDERS:
            raise BusUnavailable(f"{subject} has no subscriber")
        return message

    async def _open_replies(self) -> None:
        """Open the inbox of `request` when it is needed for the first time. Processes that never ask have none."""
        if not self._replies.is_open:
            async with self._opening_replies:
                if not self._replies.is_open:
                    await self.open_inbox(self._replies)

    async def subscribe(
        self, subject: str, handler: Handler, *, queue: str = "", refused: Refused | None = None
    ) -> Subscription:
        """Wait until NATS has the subscription, or return at once while NATS is away. Raises SubscriptionRefused.

        `handler` is called in the order of arrival and must not block. The subscription survives reconnects. If NATS
        refuses it then, or withdraws it, `refused` is called with the reason and should give it up. Without `refused`,
        the bus subscribes again until that works, and has a problem meanwhile.
        """
        with translated():
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
        """Return the subject of a call of the JetStream API."""
        domain = self._settings.jetstream_domain
        return f"$JS.API.{verb}" if domain is None else f"$JS.{domain}.API.{verb}"

    async def store(
        self, subject: str, payload: bytes, headers: Mapping[str, str], *, timeout_seconds: float
    ) -> Acknowledgement:
        """Publish and wait for the commit. Raises Conflict, StorageFull, ApiError, BusUnavailable or TooLong."""
        with within("store", Kind.CLIENT):
            answer = await self.request(subject, payload, timeout_seconds=timeout_seconds, headers=headers)
            return parse_acknowledgement(answer)

    async def api(
        self,
        verb: str,
        request: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float = API_TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        """Call the JetStream API, such as `STREAM.INFO.CHAT`. Raises ApiError, BusUnavailable or TooLong.

        https://docs.nats.io/reference/reference-protocols/nats_api_reference
        """
        payload = json.dumps(request).encode() if request is not None else b""
        reply = await self.request(self.jetstream(verb), payload, timeout_seconds=timeout_seconds)
        answer: dict[str, Any] = json.loads(reply.data)
        if error := answer.get("error"):
            raise ApiError(error.get("err_code", 0), error.get("description", "refused"))
        return answer

    async def stored(
        self, stream: str, which: Mapping[str, Any], *, timeout_seconds: float = API_TIMEOUT_SECONDS
    ) -> dict[str, Any] | None:
        """Return the leader's answer to `STREAM.MSG.GET`, None if there is no such message.

        Raises ApiError or BusUnavailable.
        """
        try:
            answer = await self.api(f"STREAM.MSG.GET.{stream}", which, timeout_seconds=timeout_seconds)
        except ApiError as error:
            if error.code == _NO_MESSAGE:
                return None
            raise
        message: dict[str, Any] = answer["message"]
        return message

    async def stream_info(self, stream: str) -> dict[str, Any]:
        """Return the leader's information about a stream. Raises ApiError or BusUnavailable.

        While there is none, or while it is cut off, servers answer with what they have themselves, which may be older.
        """
        info = await self.api(f"STREAM.INFO.{stream}")
        if not has_leader(info.get("cluster")):
            raise BusUnavailable(f"the stream {stream} has no leader")
        return info


def _take_first(answer: "asyncio.Future[Message]", message: Message) -> None:
    """Several services may answer one request; only the first answer counts."""
    if not answer.done():
        answer.set_result(message)
