"""Settings of `connections`."""

from pydantic import Field

from studyroom.gateway.auth.settings import AuthSettings
from studyroom.gateway.connections.limits import JOIN_COST, Limits


class ConnectionSettings(AuthSettings):
    """The gateway: what one client may send, and how long it may be silent or slow."""

    headers_max_bytes: int = Field(65_536, ge=1024, description="Size of a request head.")
    handshake_seconds: float = Field(
        10.0, gt=0, description="From accept to a complete request head, and from there to the end of its body."
    )
    body_max_bytes: int = Field(65_536, ge=1024, description="Size of the body of one HTTP request.")
    message_max_bytes: int = Field(65_536, ge=1024, description="Size of one message, over all its fragments.")
    write_buffer_max_bytes: int = Field(
        8 * 1024 * 1024,
        ge=65_536,
        description="A client that leaves more than this unread is closed (4000); a full room's roster has to fit.",
    )
    write_buffers_max_bytes: int = Field(
        256 * 1024 * 1024,
        ge=1024 * 1024,
        description="What all clients together may leave unread; above it those who left most are closed (4000).",
    )
    messages_per_second: int = Field(
        100,
        ge=1,
        description="What one client may send; twice as much for a moment. Fragments, pings and pongs have as much for "
        "themselves. A client that goes on sending more than five times as much is read more slowly.",
    )
    bytes_per_second: int = Field(
        131_072, ge=1024, description="The same in bytes of message text; one message of the full size always passes."
    )
    flood_seconds: float = Field(
        10.0,
        gt=0,
        description="A client that has to be read more slowly for this long without a break is closed (4500).",
    )
    joins_per_minute: int = Field(
        60,
        ge=1,
        description="Joins of one connection, also of the room it is in; all at once after a minute without any.",
    )
    idle_seconds: float = Field(
        600.0,
        ge=0,
        description="A client that is in no room and says nothing, not even `Ping`, for this long is closed (4003). "
        "Pings and pongs of WebSocket itself are nothing said. 0 for never.",
    )
    ping_interval_seconds: float = Field(20.0, gt=0, description="A silent client is pinged this often.")
    ping_timeout_seconds: float = Field(
        45.0, gt=0, description="A client of which nothing was heard for this long is closed (4001)."
    )
    close_timeout_seconds: float = Field(
        5.0,
        gt=0,
        description="How long a client may take to answer a close frame before its socket is ended.",
    )
    slow_seconds: float = Field(
        15.0, gt=0, description="A client that leaves much unread and reads nothing for this long is closed (4000)."
    )
    turn_ms: float = Field(
        3.0,
        ge=0,
        le=20,
        description="Under load messages are read together that come within this time; 0 reads each at once.",
    )
    cursor_tick_ms: int = Field(
        50, ge=10, le=1000, description="How often a busy room sends the newest cursors and typing notices."
    )

    room_hints: bool = Field(
        False,
        description="The load balancer sends clients to gateways by the room in their address (`/ws?room=`). `Welcome` "
        "tells clients so, and they connect again when they change rooms.",
    )

    @property
    def limits(self) -> Limits:
        return Limits(
            messages_per_second=self.messages_per_second,
            bytes_per_second=self.bytes_per_second,
            bytes_burst=max(2 * self.bytes_per_second, self.message_max_bytes),
            write_buffer_max_bytes=self.write_buffer_max_bytes,
            join_parts_per_second=self.joins_per_minute,
            join_parts_burst=self.joins_per_minute * JOIN_COST,
        )
