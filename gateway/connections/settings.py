"""Settings for connections: sizes, rates and timeouts."""

from pydantic import Field

from studyroom.gateway.auth.settings import AuthSettings
from studyroom.gateway.connections.limits import JOIN_COST, Limits


class ConnectionSettings(AuthSettings):
    """The gateway: limits on what one client sends, and on how long it is silent or slow."""

    headers_max_bytes: int = Field(65_536, ge=1024, description="The largest head of a request.")
    handshake_seconds: float = Field(
        10.0, gt=0, description="The deadline for a complete request head, and then for the body of a request."
    )
    body_max_bytes: int = Field(65_536, ge=1024, description="The largest body of an HTTP request.")
    message_max_bytes: int = Field(65_536, ge=1024, description="The largest message, with all its fragments.")
    write_buffer_max_bytes: int = Field(
        8 * 1024 * 1024,
        ge=65_536,
        description="The gateway closes a client that leaves more than this unread (4000). The roster of a full room "
        "must fit.",
    )
    write_buffers_max_bytes: int = Field(
        256 * 1024 * 1024,
        ge=1024 * 1024,
        description="The most that all clients together may leave unread. Beyond it the gateway closes those that "
        "leave the most (4000).",
    )
    channels_max: int = Field(
        16,
        ge=0,
        description="The most channels of one connection, so that it can be in as many rooms besides its own. Each "
        "counts as a connection of its user and its address. 0 for no channels.",
    )
    messages_per_second: int = Field(
        100,
        ge=1,
        description="Messages that one client may send, with bursts of twice as many. Fragments, pings and pongs have "
        "an equal allowance of their own. The gateway slows the reading of a client that keeps sending more than five "
        "times as many.",
    )
    bytes_per_second: int = Field(
        131_072,
        ge=1024,
        description="Bytes of message text that one client may send, with bursts of twice as many or of one message "
        "of the largest size.",
    )
    flood_seconds: float = Field(
        10.0,
        gt=0,
        description="The gateway closes a client whose reading it has slowed for this long without a break (4500).",
    )
    broadcasts_per_second: int = Field(
        30,
        ge=1,
        description="Broadcast events that one connection may send, with bursts of twice as many. They count as "
        "messages too.",
    )
    broadcast_max_bytes: int = Field(
        8192,
        ge=1,
        description="The largest data of a broadcast event, as compact JSON. `max_payload` of NATS caps it.",
    )
    presence_updates_per_second: int = Field(
        10,
        ge=1,
        description="Changes of its custom presence that one connection may send, with bursts of twice as many. They "
        "count as messages too.",
    )
    joins_per_minute: int = Field(
        60,
        ge=1,
        description="Joins that one connection may send, also of the room that it is in. After a minute without any, "
        "all of them may come at once.",
    )
    idle_seconds: float = Field(
        600.0,
        ge=0,
        description="The gateway closes a client that is outside rooms and sends nothing for this long, not even a "
        "`Ping` (4003). Pings and pongs of WebSocket itself do not count. 0 for never.",
    )
    ping_interval_seconds: float = Field(20.0, gt=0, description="How often the gateway pings a silent client.")
    ping_timeout_seconds: float = Field(
        45.0, gt=0, description="The gateway closes a client from which nothing arrives for this long (4001)."
    )
    close_timeout_seconds: float = Field(
        5.0,
        gt=0,
        description="The time that a client has to answer a close frame, before the gateway aborts the connection.",
    )
    slow_seconds: float = Field(
        15.0,
        gt=0,
        description="The gateway closes a client that leaves much unread and reads nothing for this long (4000).",
    )
    collect_max_ms: int = Field(
        60,
        ge=0,
        le=1000,
        description="The longest time for which a busy gateway collects cursors and messages, so that it sends them "
        "together. It chooses the time by its load, from STUDYROOM_GATEWAY_COLLECT_MIN_MS to this.",
    )
    collect_min_ms: int = Field(
        0,
        ge=0,
        le=1000,
        description="The time for which a room collects even if the gateway has time to spare. More saves CPU at light "
        "load, and makes cursors and messages so much older. 0 for the least delay.",
    )

    room_hints: bool = Field(
        False,
        description="Set this if the room in the address (`/ws?room=`) decides which gateway or worker a client gets. "
        "`Welcome` then has `room_hints`, and clients reconnect when they change rooms.",
    )

    @property
    def limits(self) -> Limits:
        return Limits(
            messages_per_second=self.messages_per_second,
            bytes_per_second=self.bytes_per_second,
            bytes_burst=max(2 * self.bytes_per_second, self.message_max_bytes),
            write_buffer_max_bytes=self.write_buffer_max_bytes,
            broadcasts_per_second=self.broadcasts_per_second,
            updates_per_second=self.presence_updates_per_second,
            join_parts_per_second=self.joins_per_minute,
            join_parts_burst=self.joins_per_minute * JOIN_COST,
        )
