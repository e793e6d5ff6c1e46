"""Decides whether to admit a plain HTTP request or a well-formed WebSocket handshake."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

from studyroom.gateway.auth.bans import Bans
from studyroom.gateway.auth.identity import Authenticator, Identity
from studyroom.gateway.auth.key_ring import KeysUnavailable
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.registry import Registry
from studyroom.gateway.edge.addresses import client_address, is_in, limit_key, parse_address, parse_network
from studyroom.gateway.edge.capacity import capacity
from studyroom.gateway.edge.origins import is_allowed
from studyroom.gateway.edge.rates import FixedWindow, TokenBucket, TokenBuckets
from studyroom.gateway.edge.settings import EdgeSettings
from studyroom.gateway.http.app import API_PREFIX, STREAM_PATH
from studyroom.gateway.lifecycle.drain import Drain
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.wire.credentials import Unauthorized
from studyroom.gateway.wire.handshake import Handshake, Refused, RequestHead
from studyroom.gateway.wire.hosts import host_of
from studyroom.shared.chassis import descriptors, logs
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import UserId

log = logs.get(__name__)

_Decision = TypeVar("_Decision")

_GOOD_HOSTS_KEPT, _HOST_MAX_CHARS = 64, 260
"""Bounds on what is remembered. A name of the DNS has 253 characters, and a port 6."""
_parse_peer = lru_cache(maxsize=1024)(parse_address)
"""`parse_address` for the other end of a socket, which is often the same proxy or school."""
_RETRY_AFTER_SECONDS = (1, 10)
"""`Retry-After` of temporary refusals: a random time between these, so that clients do not come back together."""


@dataclass(frozen=True, slots=True)
class Admitted:
    identity: Identity
    address: bytes
    """The key of the client's address in limits (see `limit_key`)."""


class Admission:
    def __init__(
        self,
        settings: EdgeSettings,
        authenticator: Authenticator,
        drain: Drain,
        connections: Registry[Connection],
        bans: Bans,
        metrics: GatewayMetrics,
        *,
        inherited_files: int = 0,
    ) -> None:
        """`inherited_files`: how many files this process shares with other workers."""
        self._settings = settings
        self._hosts = frozenset(settings.hosts)
        self._good_hosts: set[str] = set()
        """Values of the `Host` header that name one of `_hosts`. Most handshakes have one of few."""
        self._origins = frozenset(settings.origins)
        self._proxies = tuple(parse_network(network) for network in settings.trusted_proxies)
        self._handshakes = TokenBucket(settings.handshakes_per_second)
        self._handshakes_of_address = TokenBuckets(settings.handshakes_per_second_of_address)
        self._requests = FixedWindow(settings.requests_per_second)
        self._authenticator = authenticator
        self._drain = drain
        self._connections = connections
        self._bans = bans
        self._metrics = metrics
        self._warned_of_untrusted_proxy = False
        self.descriptors = descriptors.below_public(descriptors.limit())
        """Client sockets must have file descriptors below this number."""
        self.capacity = capacity(
            self.descriptors - inherited_files,
            connections_max=settings.connections_max,
            address_sockets_max=settings.address_sockets_max,
        )
        if self.capacity.connections < settings.connections_max:
            log.warning(
                "the limit of open files allows fewer connections than the setting: raise that limit",
                connections_max=self.capacity.connections,
                setting="STUDYROOM_GATEWAY_CONNECTIONS_MAX",
            )
        if not self._hosts:
            log.warning("this gateway answers requests for any host name", setting="STUDYROOM_GATEWAY_HOSTS")

    def has_room(self) -> bool:
        """Whether the gateway admits clients: it is neither full nor draining."""
        return not self._drain.active and len(self._connections.counts) < self.capacity.connections

    def check_request(self, head: RequestHead) -> Refused | None:
        """Why a plain HTTP request is refused; None if it is not."""
        return self._check_host(head.headers) or self._check_request_rate(head)

    def decide(self, handshake: Handshake) -> Admitted | Refused:
        """Admit or refuse a handshake. Checks the token last."""
        address = self.address(handshake)
        return self._counted(self._check_unidentified(handshake, address) or self._identify(handshake, address))

    def decide_unidentified(self, handshake: Handshake) -> bytes | Refused:
        """Admit or refuse a handshake of a client that sends its token later. Call `identify` then.

        Returns the key of the client's address in limits.
        """
        address = self.address(handshake)
        return self._counted(self._check_unidentified(handshake, address) or address)

    def identify(self, handshake: Handshake, token: str) -> Identity | Refused:
        """The identity in a token that came after the handshake. If that is empty, in the handshake."""
        if token:
            handshake = replace(handshake, headers={}, query={"access_token": token})
        decision = self._identify(handshake, b"")
        return decision.identity if isinstance(decision, Admitted) else decision

    def _check_unidentified(self, handshake: Handshake, address: bytes) -> Refused | None:
        return (
            self._check_host(handshake.headers)
            or self._check_origin_and_drain(handshake)
            or self._check_limits(address)
        )

    def _counted(self, decision: _Decision) -> _Decision:
        if isinstance(decision, Refused):
            self._metrics.refused.labels(code=decision.code).inc()
        else:
            self._metrics.accepted.inc()
        return decision

    def allows_origin(self, headers: Mapping[str, str]) -> bool:
        """Whether the page that sends a request with these headers may use this gateway."""
        return is_allowed(headers.get("origin"), headers.get("host", ""), self._origins)

    def problem_of(self, handshake: Handshake) -> Refused | None:
        """Why this handshake would be refused now; None if it would be admitted.

        It leaves out the rates of handshakes, and takes nothing from them.
        """
        address = self.address(handshake)
        decision = (
            self._check_origin_and_drain(handshake) or self._check_counts(address) or self._identify(handshake, address)
        )
        return decision if isinstance(decision, Refused) else None

    def problem_of_channel(self, connection: Connection) -> Refused | None:
        """Why a connection may not open a channel, which counts as another connection; None if it may."""
        return self._check_drain() or self._check_counts(connection.address) or self._check_user_count(connection.user)

    def _check_host(self, headers: Mapping[str, str]) -> Refused | None:
        host = headers.get("host", "")
        if not self._hosts or host in self._good_hosts:
            return None
        if host_of(host) in self._hosts:
            if len(self._good_hosts) < _GOOD_HOSTS_KEPT and len(host) <= _HOST_MAX_CHARS:
                self._good_hosts.add(host)
            return None
        reason = "this gateway does not answer for this host name (STUDYROOM_GATEWAY_HOSTS)"
        return Refused(421, ErrorCode.HOST_NOT_ALLOWED, reason)

    def _check_request_rate(self, head: RequestHead) -> Refused | None:
        limit = self._settings.requests_per_second
        if not limit or not head.path.startswith(API_PREFIX) or head.path.startswith(f"{STREAM_PATH}/"):
            return None  # messages have the limits of their connection
        if self._requests.take(self.address(head), time.monotonic()):
            return None
        reason = f"more than {limit} requests a second from one address"
        return Refused(429, ErrorCode.RATE_LIMITED, reason, (("Retry-After", "1"),))

    def _check_origin_and_drain(self, handshake: Handshake) -> Refused | None:
        if not self.allows_origin(handshake.headers):
            return Refused(403, ErrorCode.ORIGIN_NOT_ALLOWED, "pages of this origin may not connect here")
        return self._check_drain()

    def _check_drain(self) -> Refused | None:
        if self._drain.active:
            return Refused(503, ErrorCode.DRAINING, "this gateway is about to stop", (("Retry-After", "1"),))
        return None

    def limit_key(self, peer: str | None) -> bytes | None:
        """The key of a socket's peer in limits, before the socket has sent a request; None for a trusted proxy."""
        address = _parse_peer(peer or "")
        if address is not None and is_in(address, self._proxies):
            return None
        return limit_key(address)

    def _check_limits(self, address: bytes) -> Refused | None:
        """Call this before the token is checked, since that is most of the work of a handshake."""
        settings = self._settings
        now = time.monotonic()
        bucket = self._handshakes_of_address.of(address, now) if settings.handshakes_per_second_of_address else None
        if bucket is not None and not bucket.has(now):
            return _refuse_for_now(429, ErrorCode.TOO_MANY_OF_ADDRESS, "too many handshakes from this address")
        if (refused := self._check_counts(address)) is not None:
            return refused
        if settings.handshakes_per_second and not self._handshakes.take(now):
            return _refuse_for_now(503, ErrorCode.TOO_MANY_HANDSHAKES, "too many handshakes at once, try again soon")
        if bucket is not None:
            bucket.take(now)
        return None

    def _check_counts(self, address: bytes) -> Refused | None:
        if len(self._connections.counts) >= self.capacity.connections:
            return _refuse_for_now(503, ErrorCode.TOO_MANY_CONNECTIONS, "this gateway is full, try again later")
        if 0 < self._settings.address_connections_max <= self._connections.counts.of_address(address):
            return _refuse_for_now(429, ErrorCode.TOO_MANY_OF_ADDRESS, "too many connections from this address")
        return None

    def _identify(self, handshake: Handshake, address: bytes) -> Admitted | Refused:
        try:
            identity = self._authenticator.identify(handshake.query, handshake.headers)
        except Unauthorized as error:
            return Refused(401, ErrorCode.UNAUTHORIZED, str(error), (("WWW-Authenticate", "Bearer"),))
        except KeysUnavailable as error:
            return _refuse_for_now(503, ErrorCode.KEYS_UNAVAILABLE, str(error))
        if self._bans.ban_of(identity.user) is not None:
            return Refused(403, ErrorCode.BANNED, "this user is banned")
        return self._check_user_count(identity.user) or Admitted(identity, address)

    def _check_user_count(self, user: UserId) -> Refused | None:
        if 0 < self._settings.user_connections_max <= self._connections.counts.of_user(user):
            return _refuse_for_now(429, ErrorCode.TOO_MANY_OF_USER, "too many connections of this user")
        return None

    def address(self, head: RequestHead) -> bytes:
        """The key of the client's address in limits."""
        address = _parse_peer(head.peer or "")
        forwarded = head.headers.get("x-forwarded-for")
        if address is not None and forwarded is not None:
            if is_in(address, self._proxies):
                address = client_address(address, forwarded, self._proxies)
            elif not self._warned_of_untrusted_proxy:
                self._warned_of_untrusted_proxy = True
                log.warning(
                    "ignored X-Forwarded-For of an untrusted peer: if this is your proxy, trust it in the settings, or "
                    "all of its clients count as one address",
                    peer=head.peer,
                    setting="STUDYROOM_GATEWAY_TRUSTED_PROXIES",
                )
        return limit_key(address)


def _refuse_for_now(status: int, code: ErrorCode, message: str) -> Refused:
    retry = str(random.randint(*_RETRY_AFTER_SECONDS))  # noqa: S311 - jitter
    return Refused(status, code, message, (("Retry-After", retry),))
