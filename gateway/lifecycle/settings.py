"""Settings for graceful drain and load shedding."""

from pydantic import Field

from studyroom.gateway.connections.settings import ConnectionSettings
from studyroom.shared.contract.room_hints import Spread


class LifecycleSettings(ConnectionSettings):
    """The gateway: graceful drain and load shedding."""

    shed_per_second: int = Field(
        0,
        ge=0,
        description="How many clients a second the gateway asks to reconnect while it has far more than the mean of "
        "all gateways, or while their room has its home on another one (STUDYROOM_GATEWAY_ROOM_HINTS). 0 for none. Use "
        "it only with a load balancer that chooses the gateway with the fewest connections, or by the room.",
    )
    room_part_members: int = Field(
        100,
        ge=0,
        description="The most members of a room with one home. A larger one is divided into 2, 4, 8 or more parts, "
        "each with a home of its own. 0 for no limit. Set it only with STUDYROOM_GATEWAY_ROOM_HINTS, and alike on all "
        "gateways.",
    )
    drain_delay_seconds: float = Field(
        0.0, ge=0, description="The wait before the first close of a drain, so that load balancers notice it."
    )
    drain_spread_seconds: float = Field(
        2.0, ge=0, description="The time over which a drain closes the connections, if there are many."
    )
    move_within_ms: int = Field(
        8000,
        ge=0,
        description="The time that a client has to open another connection after `Moving`, before the gateway closes "
        "this one. Clients that do not know that message are closed at once, and with 0 all clients are. Set 0 if this "
        "is the only gateway.",
    )
    reconnect_spread_ms: int = Field(
        2000,
        ge=0,
        description="A drain asks each client to wait a random time up to this before it reconnects. Its user stays a "
        "member for longer.",
    )
    reconnect_allowance_seconds: int = Field(
        15,
        ge=5,
        description="How long after that wait the user of a drained client stays a member. It allows for a storm of "
        "reconnections.",
    )

    @property
    def spread(self) -> Spread:
        return Spread(self.room_part_members if self.room_hints else 0)
