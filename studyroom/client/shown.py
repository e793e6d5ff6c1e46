"""The values that a client shows: connection, room, members and chat."""

from collections.abc import Mapping, Sequence

from studyroom.client.core.session import Session
from studyroom.client.identity import Identity
from studyroom.client.values import ChatMessage, ConnectionState, Cursor, Limits, Member, Presence, RoomState


class Shown:
    """The part of `Client` that is read. The values change with every event."""

    _session: Session
    _identity: Identity
    _state: ConnectionState

    @property
    def state(self) -> ConnectionState:
        """The state of the connection, with the reason if there is none."""
        return self._state

    @property
    def room(self) -> RoomState:
        """The wanted room, and whether the user is in it."""
        return self._session.entry.state

    @property
    def user_id(self) -> str | None:
        """The user's id, from the first `Welcome` on."""
        return self._session.me.user_id or None

    @property
    def me(self) -> Member | None:
        """The user as a member of the room."""
        return self._session.room.self

    @property
    def members(self) -> tuple[Member, ...]:
        """The other members, in the order of arrival. They stay while the connection is lost."""
        return self._session.room.roster.members

    @property
    def presence(self) -> Presence:
        """The user's own fields, with changes that are not stored yet."""
        room = self._session.room
        return room.presence.shown(room.self.presence if room.self is not None else {})

    @property
    def cursors(self) -> Mapping[str, Cursor]:
        """The last cursor of each other member that has moved, by user id."""
        return dict(self._session.room.cursors)

    @property
    def typing(self) -> tuple[Member, ...]:
        """The others that are typing."""
        return self._session.room.roster.typing

    @property
    def messages(self) -> Sequence[ChatMessage]:
        """Stored messages in their order, then the user's own messages that are not stored yet."""
        return (*self._session.room.history.messages, *self._session.room.queue.messages)

    @property
    def has_more(self) -> bool:
        """Whether there seem to be messages before the first of `messages`, which `load_earlier` gets."""
        return self._session.room.history.has_more

    @property
    def limits(self) -> Limits:
        """The limits of the server, from the first `Welcome` on."""
        return self._session.limits

    @property
    def protocol(self) -> int:
        """The version of the server's protocol, from the first `Welcome` on. It is 1 for a server that names none."""
        return self._session.protocol

    @property
    def guest_token(self) -> str | None:
        """The token by which the server recognises a guest. Keep it, and the next client is the same guest."""
        return self._identity.guest_token
