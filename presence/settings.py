"""Settings of the presence service."""

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from studyroom.shared.chassis.settings import Settings
from studyroom.shared.contract.subjects import SHARDS


class PresenceSettings(Settings):
    """The presence service."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_PRESENCE_")

    shards: str = Field(
        f"0-{SHARDS - 1}",
        description="Shards this replica serves, such as 0-31 or 0-7,40; replicas serve the same or disjoint ones.",
    )
    grace_seconds: int = Field(
        5, ge=0, description="How long a lost connection keeps its user's place in the room; 0 for not at all."
    )
    guard_seconds: float = Field(
        4.0,
        ge=1,
        description="A silent gateway is given up only when NATS has taken writes for this long without a break.",
    )
    room_capacity: int = Field(2000, ge=1, description="Members of one room, users not connections; more are refused.")
    request_deadline_seconds: float = Field(
        2.0, gt=0, description="A request that cannot be carried out in this time is answered `unavailable`."
    )
    concurrent_requests: int = Field(
        1024,
        ge=1,
        description="Requests worked on at once, beside a few of each shard; more wait in the order they came.",
    )

    @field_validator("shards")
    @classmethod
    def _check_shards(cls, value: str) -> str:
        parse_shards(value)
        return value


def parse_shards(text: str) -> frozenset[int]:
    """Ranges and numbers, separated by commas. Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not (first.isascii() and first.isdigit() and (not last or (last.isascii() and last.isdigit()))):
            raise ValueError(f"{part.strip()!r} is no shard and no range of shards such as 0-31")
        shards = range(int(first), int(last or first) + 1)
        if not shards or shards[-1] >= SHARDS:
            raise ValueError(f"{part.strip()!r} is not within 0-{SHARDS - 1}, lower number first")
        if not found.isdisjoint(shards):
            raise ValueError(f"{part.strip()!r} names shards again")
        found.update(shards)
    return frozenset(found)
