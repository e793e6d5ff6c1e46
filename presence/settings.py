"""Settings of the presence service."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.settings import Settings


class PresenceSettings(Settings):
    """The presence service."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_PRESENCE_")

    request_deadline_seconds: float = Field(
        2.0, gt=0, description="A request that cannot be carried out in this time is answered `unavailable`."
    )
    concurrent_requests: int = Field(
        1024, ge=1, description="Requests worked on at once; more wait in the order they came."
    )
