"""One socket of an editor, for one document of y-websocket or several of Hocuspocus."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from studyroom.gateway.auth.bans import Bans
from studyroom.gateway.auth.documents import DocumentRight
from studyroom.gateway.auth.identity import NO_EXPIRY, Identity
from studyroom.gateway.connections.client_socket import NOWHERE, Socket, log_connected, log_disconnected
from studyroom.gateway.connections.limits import refilled
from studyroom.gateway.connections.registry import Registry
from studyroom.gateway.documents import awareness, messages
from studyroom.gateway.documents.hosting import DocumentHosting
from studyroom.gateway.documents.messages import Close, FromClient, Token
from studyroom.gateway.documents.metrics import EDIT, MALFORMED, DocumentMetrics
from studyroom.gateway.documents.session import DELETED, Client, Session
from studyroom.gateway.wire.framing import PING_FRAME, Opcode, encode_frame
from studyroom.gateway.wire.handshake import Refused
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract.close_codes import CloseCode
from studyroom.shared.contract.document_names import DocumentName, document_name
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import ConnectionId, RoomId, UserId, new_connection_id, new_user_id
from studyroom.shared.contract.lib0 import Malformed

_DOCUMENTS_MAX = 64
"""The most documents of one socket."""
_BURST_SECONDS = 2
_COST_OF_A_SYNC = 10
"""A step 1 or a token counts as so many messages."""
_ALIVE_BEATS = 15
"""Clients end a socket from which no message comes for 30 s. Pings do not count for them."""


@dataclass(frozen=True, slots=True)
class DocumentPath:
    """Where the client has connected."""

    room: RoomId
    name: DocumentName | None
    """None for Hocuspocus, whose messages name their document."""


def may_write(identity: Identity, room: RoomId, bans: Bans) -> bool | Refused:
    """Whether the user may change documents of the room, or why it may not open them."""
    if not identity.may_enter(room):
        return Refused(403, ErrorCode.ROOM_NOT_ALLOWED, "the access token does not allow this room")
    if bans.ban_of(identity.user, room) is not None:
        return Refused(403, ErrorCode.BANNED_FROM_ROOM, "this user is banned from the room")
    right = identity.documents.of(room)
    if right not in {DocumentRight.READ, DocumentRight.WRITE}:
        return Refused(403, ErrorCode.DOCUMENT_NOT_ALLOWED, "the access token does not allow documents of this room")
    return right is DocumentRight.WRITE


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """The limits of one socket. Times are in beats of about a second."""

    message_max_bytes: int
    messages_per_second: int
    bytes_per_second: int
    merge_seconds: float
    write_buffer_max_bytes: int
    ping_beats: int
    timeout_beats: int
    slow_beats: int
    proof_beats: int
    """A client of Hocuspocus must have opened a document after this time."""
    close_seconds: float


@dataclass(frozen=True, slots=True)
class DocumentHub:
    """The parts of the gateway that all sockets of editors share."""

    hosting: DocumentHosting
    limits: DocumentLimits
    bans: Bans
    tasks: Tasks
    metrics: DocumentMetrics
    connections: "Registry[DocumentConnection]"


def _no_token(_token: str) -> Refused:
    return Refused(403, ErrorCode.UNAUTHORIZED, "the client was identified when it connected")


class DocumentConnection(Client):
    """The gateway's side of the socket."""

    kind = "editor"

    def __init__(
        self,
        hub: DocumentHub,
        path: DocumentPath,
        identity: Identity | None,
        address: bytes,
        identify: Callable[[str], Identity | Refused] = _no_token,
    ) -> None:
        """`identity`: None for a client of Hocuspocus, which sends its token later. `identify` verifies that."""
        self.id: ConnectionId = new_connection_id()
        self.connected_at = time.monotonic()
        self.binary_max_bytes = hub.limits.message_max_bytes
        self.silent_beats = 0
        self.user: UserId = identity.user if identity is not None else new_user_id()
        self.address = address
        self.expires_at = identity.expires_at if identity is not None else NO_EXPIRY
        self.room: RoomId = path.room
        self._path = path
        self._hub = hub
        self._identity = identity
        self._identify = identify
        self.socket: Socket = NOWHERE
        self._sessions: tuple[Session, ...] = ()
        """The open documents."""
        self._only: Session | None = None
        """The open document, if there is only one."""
        limits = hub.limits
        self._messages_left: float = _BURST_SECONDS * limits.messages_per_second
        self._bytes_left: float = self._bytes_burst
        self._refilled_at = time.monotonic()
        self._held = False
        self.is_slow = False
        self._slow_beats = 0
        self._progress_bytes = 0
        self._quiet_beats = 0
        """Beats since the client got a message."""
        self._beats_without_document = 0

    @property
    def _bytes_burst(self) -> int:
        limits = self._hub.limits
        return max(_BURST_SECONDS * limits.bytes_per_second, limits.message_max_bytes)

    # --- the socket ---------------------------------------------------------------------------------------

    def opened(self, socket: Socket) -> None:
        self.socket = socket
        self._hub.connections.add(self)
        log_connected(self, self.room)
        if self._path.name is not None and self._identity is not None:
            self._open("", b"", self._path.name, self._identity)

    def closed(self, code: int) -> None:
        log_disconnected(self, code, self.room)
        self.socket = NOWHERE
        for session in self._sessions:
            self._close_document(session)
        self._hub.connections.remove(self)

    def congested(self) -> None:
        self._set_slow(True)
        self._progress_bytes = self.socket.progress_bytes

    def relieved(self) -> None:
        self._set_slow(False)
        for session in self._sessions:
            session.caught_up()

    def _set_slow(self, is_slow: bool) -> None:
        self.is_slow, self._slow_beats = is_slow, 0

    def received_overhead(self) -> None:
        self._messages_left -= 1

    def close(self, code: int, reason: str) -> None:
        self.socket.close(code, reason)

    def close_slow(self, reason: str) -> None:
        self.close(CloseCode.SLOW_CONSUMER, reason)

    def abort(self) -> None:
        self.socket.abort()

    def write(self, frame: bytes) -> None:
        self._quiet_beats = 0
        self.socket.write(frame)
        if self.is_slow and self.socket.buffered_bytes > self._hub.limits.write_buffer_max_bytes:
            self.close_slow("you left too many bytes unread")

    # --- messages of the client ---------------------------------------------------------------------------

    def received(self, payload: bytes) -> None:
        self._bytes_left -= len(payload)
        self._messages_left -= 1
        if self._messages_left < 0 or self._bytes_left < 0:
            self._slow_down()
        name, only = "", self._only
        try:
            if only is not None and (update := messages.short_edit(payload, only.prefix)) is not None:
                name = only.name
                self._hub.metrics.messages[EDIT] += 1
                only.edit(update)
                return
            if self._path.name is None:
                name, payload = messages.split_name(payload)
            message = messages.read(payload)
            self._hub.metrics.messages[type(message).__name__] += 1
            self._receive(name, message)
        except Malformed as error:
            self._hub.metrics.messages[MALFORMED] += 1
            self._refuse_malformed(name, str(error))

    def _receive(self, name: str, message: FromClient) -> None:
        """Raises Malformed."""
        if isinstance(message, messages.SyncStep1 | Token):
            self._messages_left -= _COST_OF_A_SYNC
        if self._path.name is None and isinstance(message, Token):
            self._prove(name, message.token)
        elif (session := self._session(name)) is None:
            return
        elif self._path.name is None and isinstance(message, Close):
            self._close_document(session)
        else:
            session.receive(message)

    def _session(self, name: str) -> Session | None:
        """Return the open document that the client gives this name; "" for y-websocket."""
        return next((session for session in self._sessions if session.name == name), None)

    def _refuse_malformed(self, name: str, reason: str) -> None:
        """Refuse a message. Other documents of the socket stay open."""
        if self._path.name is not None:
            self._send(b"", messages.permission_denied(reason))
        elif (session := self._session(name)) is not None:
            self._close_document(session)
            self._send(session.prefix, messages.closed(reason))

    def _prove(self, name: str, token: str) -> None:
        """A client of Hocuspocus opens a document, or renews its token."""
        identity = self._identify(token)
        reason = ""
        if isinstance(identity, Refused):
            reason = identity.message
        elif self._identity is not None and identity.user != self.user and token:
            reason = "the access token belongs to another user than that of this connection"
        if reason or isinstance(identity, Refused):
            self._close_named(name)
            self._send(_prefix(name), messages.denied(reason))
            return
        if self._identity is None or token:
            self._become(identity)
        self._open_named(name, self._identity or identity)

    def _become(self, identity: Identity) -> None:
        connections = self._hub.connections
        connections.remove(self)
        self._identity, self.user, self.expires_at = identity, identity.user, identity.expires_at
        connections.add(self)

    def _open_named(self, name: str, identity: Identity) -> None:
        try:
            document = document_name(messages.document_of(name))
        except ValueError as error:
            self._send(_prefix(name), messages.denied(str(error)))
            return
        session = self._session(name)
        if len(self._sessions) >= _DOCUMENTS_MAX and session is None:
            self._send(_prefix(name), messages.denied(f"more than {_DOCUMENTS_MAX} documents on one connection"))
            return
        right = may_write(identity, self.room, self._hub.bans)
        if isinstance(right, Refused):
            self._close_named(name)
            self._send(_prefix(name), messages.denied(right.message))
            return
        self._send(_prefix(name), messages.authenticated(may_write=right))
        if session is not None:
            session.may_write = right
        else:
            self._open(name, _prefix(name), document, identity)

    def _open(self, name: str, prefix: bytes, document: DocumentName, identity: Identity) -> None:
        right = may_write(identity, self.room, self._hub.bans)
        session = Session(
            self._hub.hosting.enter(self.room, document),
            self,
            self._hub.tasks,
            self.user,
            name=name,
            prefix=prefix,
            may_write=right is True,
            has_status=self._path.name is None,
            merge_seconds=self._hub.limits.merge_seconds,
        )
        self._sessions += (session,)
        self._find_only()

    def _close_named(self, name: str) -> None:
        session = self._session(name)
        if session is not None:
            self._close_document(session)

    def _close_document(self, session: Session) -> None:
        self._sessions = tuple(other for other in self._sessions if other is not session)
        self._find_only()
        session.close()
        self._hub.hosting.leave(session.document)

    def _find_only(self) -> None:
        self._only = self._sessions[0] if len(self._sessions) == 1 else None

    def _send(self, prefix: bytes, message: bytes) -> None:
        self.write(encode_frame(Opcode.BINARY, prefix + message))

    # --- for sessions -------------------------------------------------------------------------------------

    def refuse(self, session: Session, kind: str, reason: str) -> None:
        """For Hocuspocus, `denied` would end the document."""
        has_status = self._path.name is None
        refusal = messages.refusal(kind, reason) if has_status else messages.permission_denied(reason)
        self._send(session.prefix, refusal)

    def restart(self) -> None:
        self.close(CloseCode.SERVICE_RESTART, "connect again")

    def end(self, session: Session) -> None:
        """Clients of Hocuspocus may have other documents on this socket."""
        if self._path.name is not None:
            self.close(CloseCode.DOCUMENT_DELETED, DELETED)
        elif session in self._sessions:
            self._close_document(session)
            self._send(session.prefix, messages.deleted(DELETED))
            self._send(session.prefix, messages.denied(DELETED))

    # --- the beat -----------------------------------------------------------------------------------------

    def _slow_down(self) -> None:
        """Read nothing for a while. Messages of the client wait in its socket, so no edit is lost."""
        self._refill(time.monotonic())
        if not self._held and (self._messages_left < 0 or self._bytes_left < 0):
            self._held = True
            self.socket.hold()

    def _refill(self, now: float) -> None:
        limits, elapsed = self._hub.limits, now - self._refilled_at
        self._refilled_at = now
        rate = limits.messages_per_second
        self._messages_left = refilled(self._messages_left, elapsed, per_second=rate, burst=_BURST_SECONDS * rate)
        rate = limits.bytes_per_second
        self._bytes_left = refilled(self._bytes_left, elapsed, per_second=rate, burst=self._bytes_burst)

    def beat(self, now: float, expired_by: float) -> None:
        """Check the timeouts. Call it about every second.

        `now`: monotonic seconds. `expired_by`: tokens that expire then or earlier have expired (Unix seconds).
        """
        limits, closing_since = self._hub.limits, self.socket.closing_since
        self._refill(now)
        if self._held and self._messages_left >= 0 and self._bytes_left >= 0:
            self._held = False
            self.socket.release()
        self.silent_beats = 0 if self._held else self.silent_beats + 1
        self._beats_without_document = 0 if self._sessions else self._beats_without_document + 1
        if closing_since is not None:
            if now - closing_since > limits.close_seconds:
                self.abort()
        elif self.expires_at <= expired_by:
            self.close(CloseCode.TOKEN_EXPIRED, "the access token has expired")
        elif self._beats_without_document >= limits.proof_beats:
            self.close(CloseCode.IDLE, "you have no document open")
        elif self._reads_nothing():
            self.close_slow("you read nothing for too long")
        elif self.silent_beats >= limits.timeout_beats:
            self.close(CloseCode.PING_TIMEOUT, "you sent nothing and answered no ping")
        else:
            self._keep_alive()

    def _reads_nothing(self) -> bool:
        if not self.is_slow:
            return False
        progress = self.socket.progress_bytes
        self._slow_beats = self._slow_beats + 1 if progress == self._progress_bytes else 0
        self._progress_bytes = progress
        return self._slow_beats > self._hub.limits.slow_beats

    def _keep_alive(self) -> None:
        if self.silent_beats == self._hub.limits.ping_beats:
            self.socket.write(PING_FRAME)
        self._quiet_beats += 1
        if self._quiet_beats >= _ALIVE_BEATS and not self.is_slow:
            for session in self._sessions[:1]:
                self._send(session.prefix, messages.awareness(awareness.encode([])))


def _prefix(name: str) -> bytes:
    return messages.named(name, b"")
