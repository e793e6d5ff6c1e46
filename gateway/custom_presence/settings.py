"""Settings for custom presence."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from studyroom.shared.chassis.settings import Settings


class CustomPresenceSettings(Settings):
    """The gateway: the fields that members show to each other."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_GATEWAY_")

    presence_max_bytes: int = Field(
        2048, ge=64, le=16_384, description="The most that all fields of a member may take, as compact JSON."
    )
    presence_write_ms: int = Field(
        250,
        ge=0,
        le=5000,
        description="The least time between two changes of a connection's custom presence that the gateway stores. It "
        "stores those that come meanwhile together.",
    )
