"""Settings of the presence service."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.settings import Settings


class PresenceSettings(Settings):
    """The presence service."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_PRESENCE_")

    grace_seconds: int = Field(
        5, ge=0, description="How long a lost connection keeps its user's place in the room; 0 for not at all."
    )
    guard_seconds: float = Field(
        5.0,
        ge=1,
        description="A gateway whose lease has ended is given up only after this, counted while NATS is well.",
    )
    room_capacity: int = Field(2000, ge=1, description="Members of one room, users not connections; more are refused.")
    request_deadline_seconds: float = Field(
        2.0, gt=0, description="A request that cannot be carried out in this time is answered `unavailable`."
    )
    concurrent_requests: int = Field(
        1024, ge=1, description="Requests worked on at once; more wait in the order they came."
    )
