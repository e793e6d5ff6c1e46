"""Settings of the presence service."""

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from studyroom.shared.chassis.settings import Settings
from studyroom.shared.chassis.shards import ALL_SHARDS, parse_shards


class PresenceSettings(Settings):
    """The presence service."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_PRESENCE_")

    shards: str = Field(
        ALL_SHARDS,
        description="The shards that this replica serves, such as 0-31 or 0-7,40. Two replicas must serve the same or "
        "disjoint shards.",
    )
    grace_seconds: int = Field(
        5, ge=0, description="The grace period: how long a user stays a member after a lost connection. 0 for none."
    )
    guard_seconds: float = Field(
        4.0,
        ge=1,
        description="Presence drops a silent gateway only if NATS accepted writes for this long without a break.",
    )
    room_capacity: int = Field(
        2000, ge=1, description="The most members of one room. Users count once, however many connections they have."
    )
    request_deadline_seconds: float = Field(
        2.0, gt=0, description="Presence answers `unavailable` to a request that it cannot carry out in this time."
    )
    concurrent_requests: int = Field(
        1024,
        ge=1,
        description="Requests that presence works on at once, besides a few of each shard. More wait in their order.",
    )

    @field_validator("shards")
    @classmethod
    def _check_shards(cls, value: str) -> str:
        parse_shards(value)
        return value
