"""One client's connection: validates its messages, lets the session decide, and carries them out."""

import time

from studyroom.gateway.auth.identity import GUEST_NAME, Identity
from studyroom.gateway.auth.key_ring import KeysUnavailable
from studyroom.gateway.auth.names import presentable
from studyroom.gateway.connections.client_socket import NOWHERE, Socket, log_connected, log_disconnected
from studyroom.gateway.connections.cursor_move import update_prefix
from studyroom.gateway.connections.hub import Hub
from studyroom.gateway.connections.limits import RENAMES_PER_SECOND, Allowances
from studyroom.gateway.connections.metered import RateLimited
from studyroom.gateway.connections.replies import PONG_FRAME, authenticated_frame, error_frame
from studyroom.gateway.connections.session import CONFLATED, InRoom, Joining, Refusal, Session, State, Waiting
from studyroom.gateway.rooms.notices import encode_cursor
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.wire.credentials import Unauthorized
from studyroom.gateway.wire.framing import text_frame
from studyroom.gateway.wire.items import Kind
from studyroom.shared.contract.broadcasts import BroadcastSend, BroadcastSendPayload, data_bytes, encode_broadcast
from studyroom.shared.contract.chat_messages import ChatSend, DeleteChat, EditChat, ReactToChat, id_for_errors
from studyroom.shared.contract.close_codes import FINAL_CODES, CloseCode
from studyroom.shared.contract.custom_presence import UpdatePresence
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.identification import Authenticate, Rename
from studyroom.shared.contract.ids import (
    ConnectionId,
    MembershipId,
    MessageId,
    RoomId,
    new_connection_id,
    new_membership_id,
)
from studyroom.shared.contract.messages import (
    ClientMessage,
    CursorMove,
    InvalidMessage,
    JoinRoom,
    LeaveRoom,
    Ping,
    Typing,
    decode_client_message,
)
from studyroom.shared.contract.presence import Profile, RoomConnection

_BACKLOG_MAX = 64
_AUTHENTICATE_COST = 20  # verifying a signature costs as much as so many messages, and counts as such
_KNOWN_CODES = frozenset(CloseCode)  # clients may close with thousands of others, which get no label of metrics


class Connection(RateLimited):
    __slots__ = (
        "_allowances",
        "_avatar_url",
        "_guest_token",
        "_hub",
        "_is_guest",
        "_joins_under_old_name",
        "_memberships",
        "_username",
        "address",
        "connected_at",
        "expires_at",
        "hint",
        "id",
        "keep_seconds",
        "moves",
        "opened_beat",
    )
    binary_max_bytes, kind = 0, "connection"

    def __init__(
        self, hub: "Hub[Connection]", identity: Identity, *, address: bytes, hint: RoomId | None, chat_max_chars: int
    ) -> None:
        """`address`: the key of the client's address in limits. `hint`: the room in the address that it asked for."""
        session: Session[Room] = Session(
            chat_max_chars=chat_max_chars,
            backlog_max=_BACKLOG_MAX,
            join_parts=hub.limits.join_parts_burst,
            rooms=identity.rooms,
            events=identity.events,
        )
        super().__init__(identity.user, hub.limits, session, hub.metrics)
        self._hub = hub
        self.id: ConnectionId = new_connection_id()
        self.connected_at = time.monotonic()
        self._memberships = 0
        self._allowances = Allowances()
        self._username, self._avatar_url = identity.username, identity.avatar_url
        self._guest_token, self._is_guest = identity.guest_token, identity.is_guest
        self._joins_under_old_name = False
        """The user was renamed during the join in progress, which may have been asked for under the old name."""
        self.address, self.hint = address, hint
        self.moves = False  # set it for a client that knows `Moving`
        self.expires_at = identity.expires_at  # when the token expires, in Unix seconds
        self.keep_seconds = 0
        """The least grace period of the user after this connection; above 0 if the client was asked to reconnect."""
        self.active_beat = self.opened_beat = hub.pulse.beat

    @property
    def membership_id(self) -> MembershipId:
        """The id of the membership in the present room, or in the next one."""
        return new_membership_id(self.id, self._memberships)

    @property
    def profile(self) -> Profile:
        """Created on demand, because it would take half a kilobyte for each connection."""
        return Profile.model_construct(username=self._username, avatar_url=self._avatar_url)

    def membership_in(self, room: RoomId) -> RoomConnection:
        return RoomConnection.model_construct(room=room, user=self.user, connection=self.membership_id)

    def end_membership(self) -> None:
        """The connection has left the room, or does so now. Its next join is another membership."""
        self._memberships += 1

    # --- the state of the session -------------------------------------------------------------------------

    @property
    def room(self) -> Room | None:
        """The room that delivers to this connection."""
        return self._session.room

    @property
    def open(self) -> bool:
        return self._session.open

    @property
    def gone_for_good(self) -> bool:
        return self._session.gone_for_good

    @property
    def is_member(self) -> bool:
        """The connection is open, and no closing handshake is in progress."""
        return self._session.open and self.closing_since is None

    @property
    def in_or_joining(self) -> RoomId | None:
        state = self._session.state
        return state.joining or state.room_id

    def claims(self, membership: RoomConnection) -> bool:
        state = self._session.state
        return membership.connection == self.membership_id and membership.room in {state.room_id, state.joining}

    # --- the socket ---------------------------------------------------------------------------------------

    def opened(self, socket: Socket) -> None:
        self.socket = socket
        self._hub.connections.add(self)
        self.deliver(self._welcome())
        self._guest_token = None
        self._traffic.replies_sent["Welcome"] += 1
        log_connected(self, self.hint)

    def _welcome(self) -> bytes:
        return self._hub.welcome(self.id, self.user, self._guest_token, self.expires_at)

    def _read(self, payload: bytes) -> None:
        message = self._decode(str(payload, "utf-8"))
        if message is not None:
            self._receive(message)

    def closed(self, code: int) -> None:
        log_disconnected(self, code, self.in_or_joining)
        room = self._session.close(for_good=code in FINAL_CODES)
        self.socket = NOWHERE
        self._count_end(code)
        self._hub.connections.remove(self)
        self._leave(room, lost=code not in FINAL_CODES)

    def _count_end(self, code: int) -> None:
        self._metrics.disconnects.labels(code=code if code in _KNOWN_CODES else "other").inc()

    def deliver(self, frames: bytes) -> None:
        """Write encoded frames. Closes a client that leaves too much of them unread."""
        self._traffic.sent_bytes += len(frames)
        self.socket.write(frames)
        if self.lagging_since is not None:
            self._hub.pulse.more_unread(len(frames))
            if self.socket.buffered_bytes > self._hub.limits.write_buffer_max_bytes:
                self.close_slow("you left too many bytes unread")

    def congested(self) -> None:
        """The client is a slow consumer, and gets no ephemeral frames until it catches up."""
        self._begin_to_lag(self._hub.pulse.beat)
        if (room := self._session.state.room) is not None:
            room.fanout.lag(self)

    def relieved(self) -> None:
        """The client has caught up."""
        self.lagging_since = None
        if (room := self._session.state.room) is not None:
            room.catch_up(self)

    def close_slow(self, reason: str) -> None:
        """Close with a code that asks the client to reconnect and resume."""
        self._metrics.dropped.labels(lane="essential", reason="slow_consumer").inc()
        self.close(CloseCode.SLOW_CONSUMER, reason)

    def close(self, code: int, reason: str) -> None:
        self.socket.close(code, reason)

    # --- rate limits --------------------------------------------------------------------------------------

    def refill(self, beat: int, now: float) -> None:
        """Refill the allowances. The heartbeat calls it every beat. `now`: monotonic seconds."""
        if self._session.state.room is not None or self._is_active:
            self.active_beat = beat
        self._refill_with_beat(now)
        if self._excess is not None:
            self._use_excess()

    # --- messages of the client ---------------------------------------------------------------------------

    def _decode(self, text: str) -> ClientMessage | None:
        """The message; None if it is not valid, and the client got an error."""
        received = self._traffic.messages_received
        try:
            message = decode_client_message(text)
        except InvalidMessage as invalid:
            received["invalid"] += 1
            self.send_error(invalid.code, str(invalid), about=invalid.about)
            return None
        received[message.type] += 1
        return message

    def _receive(self, message: ClientMessage) -> None:  # noqa: C901, PLR0912 - one case per message type
        room = self._session.state.room
        decision = self._session.receive(message)
        if isinstance(decision, Waiting):
            if decision is CONFLATED:
                self._traffic.conflated[Kind.CURSOR] += 1
            return
        if isinstance(decision, Refusal):
            self._refuse(decision.code, decision.message, decision.about)
            return
        match decision:
            case CursorMove(payload=position):
                if room is not None:
                    frame = text_frame(encode_cursor(self.user, position))
                    room.cursors.move_cursor(self.user, frame, time.time_ns() // 1000)
            case Typing(payload=typing):
                if room is not None:
                    room.cursors.type(self.user, is_typing=typing.is_typing, ingress_us=time.time_ns() // 1000)
            case BroadcastSend(payload=event):
                if room is not None:
                    self._broadcast(room, event, decision)
            case UpdatePresence(payload=update):
                if room is not None and self._is_within_rate(decision, self._hub.limits.updates_per_second):
                    self._hub.updates.update(self, room, update.fields)
            case ChatSend(payload=chat):
                if room is not None:
                    self._hub.authors.publish(self, room, chat)
            case EditChat() | DeleteChat() | ReactToChat():
                if room is not None:
                    self._hub.changes.change(self, room, decision)
            case JoinRoom(payload=join):
                self._cursors = None
                if room is not None and room.id != join.room_id:
                    self._leave(room, lost=False, at_once=False)
                self._hub.joins.begin(self, join)
            case LeaveRoom():
                self._leave(room, lost=False, at_once=False)
            case Ping():
                self.deliver(PONG_FRAME)
                self._traffic.replies_sent["Pong"] += 1
            case Authenticate(payload=proof):
                self._authenticate(proof.token)
            case Rename(payload=wanted):
                if not self._is_guest:
                    self._refuse(ErrorCode.RENAME_NOT_ALLOWED, "the access token names the user", decision)
                elif self._is_within_rate(decision, RENAMES_PER_SECOND):
                    self._take_name(presentable(wanted.username) or GUEST_NAME)

    def _broadcast(self, room: Room, event: BroadcastSendPayload, message: ClientMessage) -> None:
        if not self._is_within_rate(message, self._hub.limits.broadcasts_per_second):
            return
        encoded, most = encode_broadcast(self.user, event), self._hub.broadcast_max_bytes()
        if (size := data_bytes(encoded)) > most:
            self._refuse(ErrorCode.BROADCAST_TOO_LARGE, f"the data has {size} bytes, the maximum is {most}", message)
            return
        room.broadcasts.send(encoded, time.time_ns() // 1000)

    def _is_within_rate(self, message: ClientMessage, per_second: int) -> bool:
        """Use the allowance for this type of message. Refuses the message if it is used up."""
        if self._allowances.take(message.type, per_second, time.monotonic()):
            return True
        self._refuse(ErrorCode.RATE_LIMITED, f"more than {per_second} {message.type} messages a second", message)
        return False

    def _authenticate(self, token: str) -> None:
        """Use a newer token from now on. If it is not valid, nothing changes."""
        self.charge(_AUTHENTICATE_COST)
        try:
            identity = self._hub.authenticator.renew(self.user, token)
        except (Unauthorized, KeysUnavailable) as error:
            unknown = isinstance(error, KeysUnavailable)
            self.send_error(ErrorCode.KEYS_UNAVAILABLE if unknown else ErrorCode.UNAUTHORIZED, str(error))
            return
        self.deliver(authenticated_frame(identity.expires_at))
        self._traffic.replies_sent["Authenticated"] += 1
        self._renew(identity)

    def charge(self, messages: int) -> None:
        """Count a costly message as so many more."""
        self._messages_left -= messages

    def _renew(self, identity: Identity) -> None:
        """Use the rights of a newer token of the same user, and its name and avatar if it has a name."""
        self.expires_at = identity.expires_at
        self._session.rooms, self._session.events = identity.rooms, identity.events
        self._is_guest = identity.is_guest
        if identity.is_named:
            self._show_as(identity.username, identity.avatar_url)
        room_id = self._session.state.room_id
        if room_id is not None and not self._session.may_join(room_id):
            self._receive(LeaveRoom())  # messages that come after this must not reach the room
            self.close(CloseCode.TOKEN_EXPIRED, "the newer access token does not grant the room")

    def _take_name(self, username: str) -> None:
        """Show a guest under this name."""
        self._show_as(username, self._avatar_url)

    def _show_as(self, username: str, avatar_url: str | None) -> None:
        if (self._username, self._avatar_url) == (username, avatar_url):
            return
        self._username, self._avatar_url = username, avatar_url
        self._joins_under_old_name = self._session.joining is not None
        if self.room is not None:
            self._hub.profiles.restore(self)

    def _leave(self, room: Room | None, *, lost: bool, at_once: bool = True) -> None:
        """`room`: the room that the session has just left, if any."""
        self._cursors = None
        if room is not None:
            self._hub.leaves.leave(self, room, lost=lost, at_once=at_once)
            self.end_membership()

    def _refuse(self, code: ErrorCode, reason: str, message: ClientMessage) -> None:
        self.send_error(code, reason, about=id_for_errors(message))

    # --- decisions of the gateway -------------------------------------------------------------------------

    def expel(self, code: CloseCode, reason: str) -> None:
        """Close the connection. The user leaves at once, even if the client does not answer the close frame."""
        self._leave(self._session.expel(), lost=False)
        self.close(code, reason)

    def remove_from(self, room: RoomId) -> bool:
        """Leave the room, now or after the join in progress. False if the connection is elsewhere."""
        state = self._session.state
        if isinstance(state, Joining) and state.joining == room:
            state.removed = True
            return True
        if state.room_id != room:
            return False
        self._leave(self._session.leave(), lost=False)
        self.send_error(ErrorCode.REMOVED, "a moderator has removed you from the room")
        return True

    def joined(self, room: Room) -> None:
        """The join succeeded, and the room delivers to this connection."""
        self._resume(self._session.state, self._session.joined(room))

    def join_failed(self, code: ErrorCode, message: str) -> None:
        self.send_error(code, message)
        self._resume(self._session.state, self._session.join_failed())

    def _resume(self, join: State[Room], waiting: list[ClientMessage]) -> None:
        """`join`: the state before the join ended."""
        if isinstance(join, Joining) and join.removed:
            self.remove_from(join.joining)
        if self._joins_under_old_name:
            self._joins_under_old_name = False
            if self.room is not None:
                self._hub.profiles.restore(self)
        try:
            for message in waiting:
                self._receive(message)
        except Exception:
            self.close(CloseCode.INTERNAL_ERROR, "internal error")  # later messages are lost
            raise
        if isinstance(state := self._session.state, InRoom):
            self._update_prefix = update_prefix(self.user)
            self._cursors = state.room.cursors

    def send_error(self, code: ErrorCode, message: str, *, about: MessageId | None = None) -> None:
        self.deliver(error_frame(code, message, about))
        self._metrics.error_sent(code)

    def send_ready(self, message: bytes) -> None:
        """A client-ready `Chat` for this connection alone."""
        self.deliver(text_frame(message))
        self._traffic.replies_sent["Chat"] += 1
