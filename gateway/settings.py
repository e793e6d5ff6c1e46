"""Settings of the gateway."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from studyroom.gateway.auth.guests import GUEST_AUDIENCE
from studyroom.gateway.connections.limits import JOIN_COST, Limits
from studyroom.gateway.edge.addresses import parse_network
from studyroom.gateway.edge.origins import ANY, problem_of
from studyroom.gateway.wire.hosts import LOCAL_HOSTS, in_ascii, is_host
from studyroom.shared.chassis.api_keys import check_entries
from studyroom.shared.chassis.settings import CommaSeparated, Settings

SECRET_MIN_BYTES = 32
"""RFC 7518 section 3.2: a key of at least the size of the hash."""
_ADDRESS_SHARE, _ADDRESS_HANDSHAKES_MIN = 2, 5
"""Of all handshakes one address may have this part at the most: others have as much, whatever it does."""


class GatewaySettings(Settings):
    """The gateway."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_GATEWAY_")

    host: str = Field("127.0.0.1", description="Address of the public port.")
    port: int = Field(8080, ge=0, le=65535, description="Public port: WebSocket at /ws, HTTP beside it.")
    page: bool = Field(True, description="Serve the page at /.")

    jwt_secret: SecretStr | None = Field(
        None,
        min_length=SECRET_MIN_BYTES,
        description="HS256 secret of access tokens, 32 bytes or more; without it no such token is accepted.",
    )
    jwks_url: str | None = Field(
        None,
        description="https address of a JWK Set: the public keys of access tokens signed by RS, PS, ES or EdDSA. "
        "Without it no such token is accepted.",
    )
    jwks_refresh_seconds: float = Field(300.0, gt=0, description="How often it is read again, about.")
    jwks_retry_seconds: float = Field(
        10.0,
        gt=0,
        description="How soon after a failure, or for a token with an unknown key; it is never read more often.",
    )
    jwt_issuer: str | None = Field(
        None,
        min_length=1,
        description="The `iss` that access tokens must have. It becomes part of user ids that are made of a `sub`: set "
        "it before there are any.",
    )
    jwt_audience: str | None = Field(
        None,
        min_length=1,
        description="The `aud` that access tokens must have, or have among others; without it those that have one are "
        "refused.",
    )
    jwt_leeway_seconds: float = Field(
        10.0, ge=0, le=300, description="By how much the clocks of the issuer and of the gateway may differ."
    )
    guests: bool = Field(False, description="Let in those without a token, under a random user id.")
    guest_secret: SecretStr | None = Field(
        None,
        min_length=SECRET_MIN_BYTES,
        description="Signs the random ids of guests, so that they keep them when they come again; 32 bytes or more, "
        "the same for all gateways. Without it a guest is known to one process only.",
    )

    origins: CommaSeparated = Field(
        (),
        description="Web pages that may connect beside the gateway's own (and those of this machine to this machine): "
        "origins such as https://app.example.org, https://*.example.org (all subdomains) or, of apps, "
        "capacitor://localhost, separated by commas; * for all.",
    )
    hosts: CommaSeparated = Field(
        (),
        description="Names by which the gateway may be reached, as in rooms.example.org, 127.0.0.1 or [::1], without "
        "ports, separated by commas; requests for others are answered 421, but for /health. Without it any name will "
        "do, also one that was made to point here (DNS rebinding).",
    )
    trusted_proxies: CommaSeparated = Field(
        (),
        description="Networks such as 10.0.0.0/8, separated by commas, whose X-Forwarded-For is believed: those of the "
        "load balancers in front. Without it all who come through one count as one address.",
    )
    jwt_cookie: str | None = Field(
        None,
        min_length=1,
        description="Name of the cookie that may hold an access token; without it cookies are not looked at.",
    )

    headers_max_bytes: int = Field(65_536, ge=1024, description="Size of a request head.")
    handshake_seconds: float = Field(
        10.0, gt=0, description="From accept to a complete request head, and from there to the end of its body."
    )
    body_max_bytes: int = Field(65_536, ge=1024, description="Size of the body of one HTTP request.")
    message_max_bytes: int = Field(65_536, ge=1024, description="Size of one message, over all its fragments.")
    chat_max_chars: int = Field(4000, ge=1, description="Length of one chat message.")
    write_buffer_max_bytes: int = Field(
        8 * 1024 * 1024,
        ge=65_536,
        description="A client that leaves more than this unread is closed (4000); a full room's roster has to fit.",
    )

    connections_max: int = Field(
        0,
        ge=0,
        description="WebSockets at once; more are refused with 503 `too_many_connections`. 0, or more than the limit "
        "of file descriptors allows, for as many as that allows.",
    )
    address_connections_max: int = Field(
        2000,
        ge=0,
        description="The same for one address (of IPv6, one /64); more are refused with 429 `too_many_of_address`. A "
        "whole school or company is one address, so this is far more than a person needs. 0 for no limit.",
    )
    address_sockets_max: int = Field(
        1000,
        ge=0,
        description="Sockets of one address that are no WebSockets, or not yet; beyond it the oldest that waits for a "
        "request is ended. Never more than a quarter of what the limit of file descriptors allows. Those of "
        "STUDYROOM_GATEWAY_TRUSTED_PROXIES are not counted. 0 for that quarter alone.",
    )
    user_connections_max: int = Field(
        100,
        ge=0,
        description="The same for one user, in tabs and devices: 429 `too_many_of_user`. Guests are as many users as "
        "they like. 0 for no limit.",
    )
    handshakes_per_second: int = Field(
        1000,
        ge=0,
        description="WebSockets that are let in or whose token is bad, all together; twice as many for a moment. More "
        "are refused with 503 `too_many_handshakes`, so that those who are in do not suffer. 0 for no limit.",
    )
    address_handshakes_per_second: int = Field(
        500,
        ge=0,
        description="The same of one address, whether a token is good or not: 429 `too_many_of_address`. A whole "
        "school is one address, and comes back together. Half of the above at the most. 0 for no limit, as with none "
        "above.",
    )
    requests_per_second: int = Field(
        100,
        ge=0,
        description="HTTP requests to /api/ of one address, also of a backend of yours; more are refused with 429 "
        "`rate_limited`. 0 for no limit.",
    )
    shed_per_second: int = Field(
        0,
        ge=0,
        description="While far above the mean of all gateways, ask so many clients a second to connect again; "
        "0 for none. Only behind a load balancer that knows who has the fewest connections.",
    )

    messages_per_second: int = Field(
        100,
        ge=1,
        description="What one client may send; twice as much for a moment. Fragments, pings and pongs have as much for "
        "themselves. A client that goes on sending more than five times as much is read more slowly.",
    )
    bytes_per_second: int = Field(
        131_072, ge=1024, description="The same in bytes of message text; one message of the full size always passes."
    )

    flood_seconds: float = Field(
        10.0,
        gt=0,
        description="A client that has to be read more slowly for this long without a break is closed (4500).",
    )
    joins_per_minute: int = Field(
        60,
        ge=1,
        description="Joins of one connection, also of the room it is in; all at once after a minute without any.",
    )
    idle_seconds: float = Field(
        600.0,
        ge=0,
        description="A client that is in no room and says nothing, not even `Ping`, for this long is closed (4003). "
        "Pings and pongs of WebSocket itself are nothing said. 0 for never.",
    )

    ping_interval_seconds: float = Field(20.0, gt=0, description="A silent client is pinged this often.")
    ping_timeout_seconds: float = Field(
        45.0, gt=0, description="A client of which nothing was heard for this long is closed (4001)."
    )
    close_timeout_seconds: float = Field(
        5.0,
        gt=0,
        description="How long a client may take to answer a close frame before its socket is ended.",
    )

    cursor_tick_ms: int = Field(
        50, ge=10, le=1000, description="How often a busy room sends the newest cursors and typing notices."
    )
    turn_ms: float = Field(
        3.0,
        ge=0,
        le=20,
        description="Under load messages are read together that come within this time; 0 reads each at once.",
    )
    slow_seconds: float = Field(
        15.0, gt=0, description="A client that leaves much unread and reads nothing for this long is closed (4000)."
    )
    write_buffers_max_bytes: int = Field(
        256 * 1024 * 1024,
        ge=1024 * 1024,
        description="What all clients together may leave unread; above it those who left most are closed (4000).",
    )

    join_deadline_seconds: float = Field(
        5.0, gt=0, description="A join that is not done by then is answered `presence_unavailable`."
    )
    chat_deadline_seconds: float = Field(
        5.0, gt=0, description="Chat that is not stored by then is answered `chat_unavailable`."
    )

    history_on_join: int = Field(
        50, ge=0, le=1000, description="How many of the newest chat messages a newcomer is shown."
    )
    resume_max_messages: int = Field(
        1000, ge=1, le=10_000, description="Who has missed more chat than this is told to begin anew."
    )
    api_keys: CommaSeparated = Field(
        (),
        description="Keys of trusted backends, which may moderate over HTTP: name:hash as `studyroom api-key NAME` "
        "prints them, separated by commas; several while they are rotated. The name is what the log says.",
    )

    request_deadline_seconds: float = Field(
        5.0, gt=0, description="An HTTP request about rooms that presence has not answered by then is answered 503."
    )

    drain_delay_seconds: float = Field(
        0.0, ge=0, description="From not ready to the first close, for load balancers to notice."
    )
    drain_spread_seconds: float = Field(
        2.0, ge=0, description="Closing all connections is spread over this, when there are many."
    )
    reconnect_spread_ms: int = Field(
        2000,
        ge=0,
        description="Drained clients are asked to wait a random time up to this; their places are kept for longer.",
    )
    reconnect_allowance_seconds: int = Field(
        15,
        ge=5,
        description="How long after that wait the place of a drained client is kept: everybody comes back at once.",
    )

    @field_validator("jwks_url")
    @classmethod
    def _is_trustworthy(cls, value: str | None) -> str | None:
        """Whoever can change the keys on their way is anybody."""
        parts = urlsplit(value or "https://nowhere")
        if "@" in parts.netloc:
            raise ValueError("must name no user or password: public keys need none, and errors tell addresses")
        if parts.scheme == "https" and parts.hostname:
            return value
        if parts.scheme == "http" and parts.hostname in LOCAL_HOSTS:
            return value
        raise ValueError("must start with https:// (or http:// on this machine)")

    @field_validator("jwt_audience")
    @classmethod
    def _is_not_of_guests(cls, value: str | None) -> str | None:
        if value == GUEST_AUDIENCE:
            raise ValueError("is that of guest tokens, which are no access tokens")
        return value

    @field_validator("jwt_cookie")
    @classmethod
    def _needs_known_origins(cls, value: str | None, others: ValidationInfo) -> str | None:
        """Browsers send cookies for any page that asks: only the check of origins keeps other pages out."""
        if value is not None and ANY in others.data.get("origins", ()):
            raise ValueError("cannot be had with STUDYROOM_GATEWAY_ORIGINS=*")
        return value

    @field_validator("hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not is_host(host):
                spelled = in_ascii(host) if not host.isascii() else None
                raise ValueError(
                    "hosts are spelled rooms.example.org, 127.0.0.1 or [::1]: in lower case, without a port"
                    + (f"; and this one as browsers send it, {spelled}" if spelled is not None else "")
                )
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                parse_network(network)
            except ValueError as error:
                raise ValueError(
                    "networks are spelled 10.0.0.0/8 or fd00::/8, with no bits beyond the prefix"
                ) from error
        return value

    @field_validator("api_keys")
    @classmethod
    def _are_entries(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        check_entries(value)
        return value

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != ANY and (problem := problem_of(origin)) is not None:
                named = repr(origin) if "@" not in origin else "one"  # what stands before it is a secret
                raise ValueError(
                    f"origins are spelled https://host or https://host:port, in lower case: {named} {problem}"
                )
        return value

    @property
    def handshakes_per_second_of_address(self) -> int:
        """0 for no limit."""
        share = max(self.handshakes_per_second // _ADDRESS_SHARE, _ADDRESS_HANDSHAKES_MIN)
        return min(self.address_handshakes_per_second, share) if self.handshakes_per_second else 0

    @property
    def limits(self) -> Limits:
        return Limits(
            messages_per_second=self.messages_per_second,
            bytes_per_second=self.bytes_per_second,
            bytes_burst=max(2 * self.bytes_per_second, self.message_max_bytes),
            write_buffer_max_bytes=self.write_buffer_max_bytes,
            join_parts_per_second=self.joins_per_minute,
            join_parts_burst=self.joins_per_minute * JOIN_COST,
        )
