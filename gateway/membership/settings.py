"""Settings of `membership`."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from studyroom.shared.chassis.settings import Settings


class MembershipSettings(Settings):
    """The gateway: joins."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_GATEWAY_")

    join_deadline_seconds: float = Field(
        5.0, gt=0, description="The client gets `presence_unavailable` for a join that is not done after this time."
    )
