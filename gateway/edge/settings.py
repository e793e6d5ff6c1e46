"""Settings for admission: addresses, origins, proxies and limits."""

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from studyroom.gateway.edge.addresses import parse_network
from studyroom.gateway.edge.origins import ANY, problem_of
from studyroom.gateway.wire.hosts import in_ascii, is_host
from studyroom.shared.chassis.settings import CommaSeparated, Settings

_ADDRESS_SHARE, _ADDRESS_HANDSHAKES_MIN = 2, 5
"""One address may have half of all handshakes, so it cannot take the other half from other addresses."""


class EdgeSettings(Settings):
    """The gateway: admission of connections."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_GATEWAY_")

    host: str = Field("127.0.0.1", description="The address of the public port.")
    port: int = Field(8080, ge=0, le=65535, description="The public port for WebSocket (/ws) and HTTP.")
    origins: CommaSeparated = Field(
        (),
        examples=["https://app.example.org"],
        description="Origins of web pages that may connect, separated by commas, such as https://app.example.org, "
        "https://*.example.org (all subdomains) or capacitor://localhost (an app). * for all. The gateway's own page "
        "may always connect, and so may pages of this machine to this machine.",
    )
    hosts: CommaSeparated = Field(
        (),
        examples=["rooms.example.org"],
        description="Host names that clients may use for the gateway, separated by commas and without ports, such as "
        "rooms.example.org, 127.0.0.1 or [::1]. Requests for other hosts get 421, except for /health. Without it any "
        "name is accepted, also one that an attacker points here (DNS rebinding).",
    )
    trusted_proxies: CommaSeparated = Field(
        (),
        examples=["10.0.0.0/8"],
        description="The networks of your load balancers, separated by commas, such as 10.0.0.0/8. The gateway takes "
        "the address of a client from their X-Forwarded-For. Without it all clients of a load balancer count as one "
        "address.",
    )
    connections_max: int = Field(
        0,
        ge=0,
        description="The most WebSocket connections. More get 503 `too_many_connections`. 0 for as many as the limit "
        "on file descriptors allows, which also caps this setting.",
    )
    address_connections_max: int = Field(
        2000,
        ge=0,
        description="The most WebSocket connections of one address (for IPv6 of one /64). More get 429 "
        "`too_many_of_address`. It is far more than a person needs, because a whole school or company may share one "
        "address. 0 for no limit.",
    )
    address_sockets_max: int = Field(
        1000,
        ge=0,
        description="The most sockets of one address that are not WebSockets, or not yet. Beyond it the gateway closes "
        "the oldest that waits for a request. A quarter of the limit on file descriptors caps it. Sockets of "
        "STUDYROOM_GATEWAY_TRUSTED_PROXIES do not count. 0 for that quarter alone.",
    )
    user_connections_max: int = Field(
        100,
        ge=0,
        description="The most WebSocket connections of one user on all tabs and devices. More get 429 "
        "`too_many_of_user`. It does not limit guests, who can be as many users as they like. 0 for no limit.",
    )
    handshakes_per_second: int = Field(
        1000,
        ge=0,
        description="Handshakes that the gateway accepts or refuses for their token, with bursts of twice as many. "
        "More get 503 `too_many_handshakes`, so that open connections do not suffer. 0 for no limit.",
    )
    address_handshakes_per_second: int = Field(
        500,
        ge=0,
        description="Handshakes of one address. More get 429 `too_many_of_address`. Half of the limit above caps it. "
        "It is high because a whole school may share one address and reconnect together. 0 for no limit, which also "
        "holds if there is no limit above.",
    )
    requests_per_second: int = Field(
        100,
        ge=0,
        description="HTTP requests to /api/ of one address, which may be your own backend. More get 429 "
        "`rate_limited`. 0 for no limit.",
    )

    @field_validator("hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not is_host(host):
                ascii_host = in_ascii(host) if not host.isascii() else None
                raise ValueError(
                    "a host is spelled like rooms.example.org, 127.0.0.1 or [::1], in lower case and without a port"
                    + (f"; browsers send this one as {ascii_host}" if ascii_host is not None else "")
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
                    "a network is spelled like 10.0.0.0/8 or fd00::/8, without bits after the prefix"
                ) from error
        return value

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != ANY and (problem := problem_of(origin)) is not None:
                shown = repr(origin) if "@" not in origin else "one"  # the part before the @ may be a password
                raise ValueError(
                    f"an origin is spelled https://host or https://host:port, in lower case: {shown} {problem}"
                )
        return value

    @property
    def handshakes_per_second_of_address(self) -> int:
        """The limit for one address; 0 for none."""
        share = max(self.handshakes_per_second // _ADDRESS_SHARE, _ADDRESS_HANDSHAKES_MIN)
        return min(self.address_handshakes_per_second, share) if self.handshakes_per_second else 0
