"""Settings for admission: addresses, origins, proxies and limits."""

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from studyroom.gateway.edge.addresses import parse_network
from studyroom.gateway.edge.origins import ANY, problem_of
from studyroom.gateway.wire.hosts import in_ascii, is_host
from studyroom.shared.chassis.settings import CommaSeparated, Settings

_ADDRESS_SHARE, _ADDRESS_HANDSHAKES_MIN = 2, 5
"""One address may have half of all handshakes, so that others get the other half whatever it does."""


class EdgeSettings(Settings):
    """The gateway: who is let in, and from where."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_GATEWAY_")

    host: str = Field("127.0.0.1", description="Address of the public port.")
    port: int = Field(8080, ge=0, le=65535, description="Public port: WebSocket at /ws, HTTP beside it.")
    origins: CommaSeparated = Field(
        (),
        examples=["https://app.example.org"],
        description="Web pages that may connect beside the gateway's own (and those of this machine to this machine): "
        "origins such as https://app.example.org, https://*.example.org (all subdomains) or, of apps, "
        "capacitor://localhost, separated by commas; * for all.",
    )
    hosts: CommaSeparated = Field(
        (),
        examples=["rooms.example.org"],
        description="Names by which the gateway may be reached, as in rooms.example.org, 127.0.0.1 or [::1], without "
        "ports, separated by commas; requests for others are answered 421, but for /health. Without it any name will "
        "do, also one that was made to point here (DNS rebinding).",
    )
    trusted_proxies: CommaSeparated = Field(
        (),
        examples=["10.0.0.0/8"],
        description="Networks such as 10.0.0.0/8, separated by commas, whose X-Forwarded-For is believed: those of the "
        "load balancers in front. Without it all who come through one count as one address.",
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

    @field_validator("hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not is_host(host):
                ascii_host = in_ascii(host) if not host.isascii() else None
                raise ValueError(
                    "hosts are spelled rooms.example.org, 127.0.0.1 or [::1]: in lower case, without a port"
                    + (f", and this one as browsers send it: {ascii_host}" if ascii_host is not None else "")
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
                    "networks are spelled 10.0.0.0/8 or fd00::/8, with no bits set after the prefix"
                ) from error
        return value

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != ANY and (problem := problem_of(origin)) is not None:
                shown = repr(origin) if "@" not in origin else "one"  # the part before the @ may be a password
                raise ValueError(
                    f"origins are spelled https://host or https://host:port, in lower case: {shown} {problem}"
                )
        return value

    @property
    def handshakes_per_second_of_address(self) -> int:
        """0 for no limit."""
        share = max(self.handshakes_per_second // _ADDRESS_SHARE, _ADDRESS_HANDSHAKES_MIN)
        return min(self.address_handshakes_per_second, share) if self.handshakes_per_second else 0
