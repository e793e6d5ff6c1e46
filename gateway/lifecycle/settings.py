"""Settings for graceful drain and load shedding."""

from pydantic import Field

from studyroom.gateway.connections.settings import ConnectionSettings


class LifecycleSettings(ConnectionSettings):
    """The gateway: graceful drain and load shedding."""

    shed_per_second: int = Field(
        0,
        ge=0,
        description="While far above the mean of all gateways, ask so many clients a second to connect again; "
        "0 for none. Only behind a load balancer that knows who has the fewest connections.",
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
