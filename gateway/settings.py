"""Settings of the gateway, which combine those of its packages."""

from pydantic import ValidationInfo, field_validator

from studyroom.gateway.auth.settings import AuthSettings
from studyroom.gateway.chat.settings import ChatSettings
from studyroom.gateway.connections.limits import StatedLimits
from studyroom.gateway.connections.settings import ConnectionSettings
from studyroom.gateway.custom_presence.settings import CustomPresenceSettings
from studyroom.gateway.documents.connection import DocumentLimits
from studyroom.gateway.documents.settings import DocumentSettings
from studyroom.gateway.edge.origins import ANY
from studyroom.gateway.edge.settings import EdgeSettings
from studyroom.gateway.http.settings import HttpSettings
from studyroom.gateway.lifecycle.settings import LifecycleSettings
from studyroom.gateway.membership.settings import MembershipSettings
from studyroom.gateway.wire.upgrade import WireLimits


class GatewaySettings(
    HttpSettings,
    LifecycleSettings,
    MembershipSettings,
    ChatSettings,
    CustomPresenceSettings,
    DocumentSettings,
    ConnectionSettings,
    AuthSettings,
    EdgeSettings,
):
    """The gateway."""

    @field_validator("jwt_cookie")
    @classmethod
    def _needs_known_origins(cls, value: str | None, others: ValidationInfo) -> str | None:
        """Check the origins, which must keep other pages out: browsers send cookies with requests of any page."""
        if value is not None and ANY in others.data.get("origins", ()):
            raise ValueError("must not be set with STUDYROOM_GATEWAY_ORIGINS=*")
        return value

    @property
    def wire_limits(self) -> WireLimits:
        return WireLimits(
            self.message_max_bytes,
            self.headers_max_bytes,
            self.body_max_bytes,
            document_max_bytes=self.document_body_max_bytes if self.documents else 0,
        )

    @property
    def document_limits(self) -> DocumentLimits:
        return DocumentLimits(
            message_max_bytes=self.document_message_max_bytes,
            messages_per_second=self.messages_per_second,
            bytes_per_second=self.document_bytes_per_second,
            merge_seconds=self.document_merge_ms / 1000,
            write_buffer_max_bytes=self.write_buffer_max_bytes,
            ping_beats=max(1, round(self.ping_interval_seconds)),
            timeout_beats=max(2, round(self.ping_timeout_seconds)),
            slow_beats=max(1, round(self.slow_seconds)),
            proof_beats=max(1, round(self.handshake_seconds)),
            close_seconds=self.close_timeout_seconds,
        )

    @property
    def stated_limits(self) -> StatedLimits:
        return StatedLimits(self.message_max_bytes, self.chat_max_chars, self.history_on_join, self.living_chat)
