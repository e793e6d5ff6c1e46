"""Settings of `chat`."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from studyroom.shared.chassis.settings import Settings


class ChatSettings(Settings):
    """The gateway: chat and its history."""

    model_config = SettingsConfigDict(env_prefix="STUDYROOM_GATEWAY_")

    chat_max_chars: int = Field(4000, ge=1, description="The longest chat message, in characters.")
    chat_deadline_seconds: float = Field(
        5.0, gt=0, description="The author gets `chat_unavailable` for chat that is not stored after this time."
    )
    living_chat: bool = Field(
        True,
        description="Whether members may edit and delete their own chat messages, react to messages, reply and "
        "mention. False for plain chat.",
    )
    chat_edit_seconds: int = Field(
        0, ge=0, description="How long authors may edit and delete a message after it was stored. 0 for ever."
    )
    history_on_join: int = Field(50, ge=0, le=1000, description="How many of the newest chat messages a newcomer gets.")
    resume_max_messages: int = Field(
        1000, ge=1, le=10_000, description="A client that has missed more chat than this gets the newest chat instead."
    )
