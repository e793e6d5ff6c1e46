"""The client's side of the protocol, over all its connections. Calls, messages and times go in.

The messages that it sends are in `outbox`, the news for the program in `events`, and the outcomes of own chat in
`outcomes`. Its owner takes them after every call. `poll` does everything that is due, and returns the time of its next
call.
"""

import math

from studyroom.client.core.backoff import Random
from studyroom.client.core.changes import Changes
from studyroom.client.core.entry import Entry
from studyroom.client.core.limits import excess, stated_limits
from studyroom.client.core.own_typing import OwnTyping
from studyroom.client.core.room import Me, Room
from studyroom.client.core.throttle import Throttle
from studyroom.client.core.wire import Refusal
from studyroom.client.events import ChatFailed, Connected, Disconnected, ErrorReceived, Event
from studyroom.client.values import ChatMessage, Failure, Limits, Presence, RoomStatus
from studyroom.shared.contract import messages as wire
from studyroom.shared.contract.chat_messages import (
    ChangeOfChat,
    ChatDeleted,
    ChatEdited,
    ChatReaction,
    ChatSend,
    ChatSendPayload,
    id_for_errors,
)
from studyroom.shared.contract.custom_presence import UpdatePresence, UpdatePresencePayload
from studyroom.shared.contract.identification import Rename, RenamePayload
from studyroom.shared.contract.ids import MessageId, RoomId, UserId

LEFT = Failure("left", "the room was left")
_RENAME_SECONDS = 1.0
"""The server takes two names in a row, and then one a second."""
_NOT_ABOUT_CHAT = frozenset(
    {
        "unauthorized",
        "keys_unavailable",
        "removed",
        "broadcast_not_allowed",
        "broadcast_too_large",
        "presence_too_large",
        "rename_not_allowed",
    }
)
"""Errors that name no message and are not about chat. Moderators, events and presence cause them."""


class Session:
    def __init__(self, *, history_limit: int, cursor_interval_seconds: float, random: Random) -> None:
        self._history_limit = history_limit
        self._random = random
        self._connected = False
        self._retry_window_seconds = 0.0
        self._ask_at = math.inf
        """The time at which to send `JoinRoom` again."""
        self._hint: str | None = None
        """The server's value for `?room=`, because a large room lives on several gateways."""
        self._name: str | None = None
        """The name that the user has taken after the client was made."""
        self._names: Throttle[str] = Throttle(_RENAME_SECONDS)
        self._typing = OwnTyping()
        self._cursor: Throttle[wire.CursorPosition] = Throttle(cursor_interval_seconds)
        self._position: wire.CursorPosition | None = None
        """The user's cursor. It is sent again after every join, because the server may not know it."""
        self.me = Me()
        self.protocol = 1
        self.limits = Limits()
        self._limits_known = False
        """Whether the server has named its limits. Before, no message is too long."""
        self.entry = Entry(random)
        self.outbox: list[wire.ClientMessage] = []
        self.events: list[Event] = []
        self.outcomes: list[tuple[str, ChatMessage | Failure]] = []
        """Own messages by id, as they are stored, or why they are not."""
        self.changes = Changes()
        self.changed: list[tuple[str, Failure | None]] = []
        """Own edits, deletions and reactions by id: None for those that are stored, or why they are not."""
        self.room = self._new_room()

    # --- calls of the program -------------------------------------------------------------------------------

    def join(self, room_id: str) -> None:
        same = self.entry.wanted == room_id
        if same and self.entry.state.status is not RoomStatus.REFUSED:
            return
        if self.entry.wanted is not None and not same:
            self._forget_room(LEFT)
        self.entry.want(room_id)
        self._ask()

    def leave(self) -> None:
        if self.entry.inside or self.entry.pending:
            self._send(wire.LeaveRoom())
        self._forget_room(LEFT)
        self.entry.unwant()

    def write(self, message_id: str, content: str, reply_to: str | None = None, mentions: tuple[str, ...] = ()) -> None:
        """Queue an own message. Raises ValueError if a message with this id is in the queue already."""
        if self.room.queue.find(message_id) is not None:
            raise ValueError(f"a message with the id {message_id} is on its way")
        username = self.room.self.username if self.room.self is not None else ""
        written = ChatMessage(
            message_id, self.me.user_id, username, content, own=True, reply_to=reply_to, mentions=mentions
        )
        self.room.queue.add(written)

    def change(self, message: ChangeOfChat) -> str:
        """Edit, delete or react. Return the id of the change in `changed`."""
        change_id = str(id_for_errors(message))
        too_long = excess(message, self.limits) if self._limits_known else None
        if too_long is not None:
            self.changed.append((change_id, Failure("chat_too_long", too_long)))
        else:
            self.changes.add(change_id, message)
        return change_id

    def move_cursor(self, position: wire.CursorPosition) -> None:
        if self.entry.wanted is not None:
            self._position = position
            self._cursor.put(position)

    def set_typing(self, now: float, *, is_typing: bool) -> None:
        if self.entry.inside:
            self._send_typing(self._typing.set(now, is_typing=is_typing))

    def send_in_room(self, message: wire.ClientMessage) -> bool:
        """Return false, and send nothing, if the client is not in a room or the message is too long."""
        return self.entry.inside and excess(message, self.limits) is None and self._send(message)

    def update_presence(self, change: Presence) -> None:
        if self.entry.wanted is not None:
            self.room.presence.update(change)

    @property
    def address_room(self) -> str | None:
        """The value for `?room=` with the next connection."""
        return self._hint or self.entry.wanted

    def rename(self, username: str) -> None:
        """Show the user under another name. It is sent again on the next connection."""
        self._name = username
        self._names.put(username)

    # --- events of the connection ---------------------------------------------------------------------------

    def opened(self, welcome: wire.WelcomePayload) -> None:
        self._connected = True
        self.me.user_id = welcome.user_id
        self.me.ids.add(welcome.user_id)
        self._retry_window_seconds = float(welcome.chat_retry_seconds or 0)
        self.protocol = welcome.protocol or 1
        self.limits, self._limits_known = stated_limits(welcome), True
        self.room.queue.limit(self._check)
        # The address of this connection may be older than the name.
        if self._name is not None:
            self._names.put(self._name)
        self._emit(Connected(welcome.user_id, welcome.connection_id))
        self._ask()

    def closed(self, event: Disconnected, room_hint: str | None) -> None:
        """`room_hint`: that of the close reason."""
        # A hint belongs to the room that the connection was in.
        if self.entry.inside and room_hint is not None:
            self._hint = room_hint
        self._connected = False
        self.outbox.clear()
        self.entry.lost()
        self.room.lost()
        self._typing.forget()
        self._ask_at = math.inf
        self._emit(event)

    def received(self, message: wire.ServerMessage | Refusal, now: float) -> None:
        match message:
            case wire.JoinedRoom(payload=joined):
                self._joined(joined)
            case Refusal():
                self._refused(message, now)
            case _ if self.entry.inside:
                self._answered(message)
                self.room.happened(message)
                if isinstance(message, wire.ChatReset):
                    self._ask()
            case _:
                pass  # of the room before

    def _joined(self, joined: wire.JoinedRoomPayload) -> None:
        if not self.entry.joined(joined.room_id):
            return
        self._ask_at = math.inf
        self._hint = joined.room_hint
        self.room.joined(joined, self.limits.history_length)
        if self._position is not None:
            self._cursor.put(self._position)

    def _answered(self, message: wire.ServerMessage) -> None:
        match message:
            case ChatEdited(payload=payload) | ChatReaction(payload=payload) | ChatDeleted(payload=payload):
                if self.changes.stored(payload.id):
                    self.changed.append((payload.id, None))
            case _:
                pass

    def _refused(self, refusal: Refusal, now: float) -> None:
        code = refusal.failure.code
        self._emit(ErrorReceived(refusal.failure))
        if code == "presence_too_large":
            self.room.presence.refused(self.room.self.presence if self.room.self is not None else {})
        if refusal.id is not None and refusal.id in self.changes:
            if self.changes.refused(refusal.id, refusal.failure, now):
                self.changed.append((refusal.id, refusal.failure))
        elif refusal.id is not None or not (self.entry.pending or code in _NOT_ABOUT_CHAT):
            self.room.refused(refusal, now)
        else:
            self._ask_at = min(self._ask_at, now + self.entry.refused(refusal.failure))

    # --- after every call and event -------------------------------------------------------------------------

    def poll(self, now: float, closed: Failure | None = None) -> float:
        """Do everything that is due. Return the time of the next call at the latest.

        `closed`: why there will be no other connection.
        """
        if now >= self._ask_at:
            self._ask()
        self._send_typing(self._typing.poll(now))
        self._send_queued(now, closed)
        self._send_changes(now, closed)
        times = [self._ask_at, self._typing.wake_at, self.room.queue.wake_at, self.changes.wake_at]
        if self._connected:
            if (username := self._names.take(now)) is not None:
                self._send(Rename(payload=RenamePayload(username=username)))
            times.append(self._names.wake_at)
        if self.entry.inside:
            if (position := self._cursor.take(now)) is not None:
                self._send(wire.CursorMove(payload=position))
            times.append(self._cursor.wake_at)
        if self.entry.inside and not self.entry.pending:
            if (fields := self.room.presence.take(now)) is not None:
                self._send(UpdatePresence(payload=UpdatePresencePayload(fields=fields)))
            times.append(self.room.presence.wake_at)
        return min(times)

    def _send_changes(self, now: float, closed: Failure | None) -> None:
        if (hopeless := self._hopeless(closed)) is not None:
            self._fail_changes(hopeless)
        if self.entry.inside and not self.entry.pending:
            self.changes.open(self._retry_window_seconds)
        else:
            self.changes.hold()
        messages, failed = self.changes.poll(now)
        self.changed += failed
        for message in messages:
            self._send(message)

    def _fail_changes(self, failure: Failure) -> None:
        self.changed += [(change_id, failure) for change_id in self.changes.fail_all()]

    def _hopeless(self, closed: Failure | None) -> Failure | None:
        """Why nothing will be sent before another call of the program."""
        return self.entry.state.failure if self.entry.state.status is RoomStatus.REFUSED else closed

    def _send_queued(self, now: float, closed: Failure | None) -> None:
        queue = self.room.queue
        if (hopeless := self._hopeless(closed)) is not None:
            self.room.failed(queue.fail_all(hopeless))
        # Missed messages come first, because queued messages may be among them. The rest is sent after them.
        if self.entry.inside and not self.entry.pending and self.room.history.complete:
            queue.open(self._retry_window_seconds, self.me.user_id)
        else:
            queue.hold()
        message, failed = queue.poll(now)
        self.room.failed(failed)
        if message is not None:
            self._send(_sent(message))

    def _ask(self) -> None:
        """Join the wanted room, or join it again."""
        self._ask_at = math.inf
        wanted = self.entry.wanted
        if wanted is None or self.entry.state.status is RoomStatus.REFUSED:
            return
        since, epoch = self.room.history.resume
        payload = wire.JoinRoomPayload(room_id=RoomId(wanted), since=since, epoch=epoch)
        if self._send(wire.JoinRoom(payload=payload)):
            self.entry.asked()

    def _send(self, message: wire.ClientMessage) -> bool:
        if self._connected:
            self.outbox.append(message)
        return self._connected

    def _send_typing(self, is_typing: bool | None) -> None:
        if is_typing is not None:
            self._send(wire.Typing(payload=wire.TypingPayload(is_typing=is_typing)))

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, ChatFailed):
            self.outcomes.append((event.message.id, event.failure))

    # --- the room -------------------------------------------------------------------------------------------

    def _new_room(self) -> Room:
        def stored(message: ChatMessage) -> None:
            self.outcomes.append((message.id, message))

        room = Room(self.me, self._history_limit, self._random, self._emit, stored)
        room.queue.limit(self._check)
        return room

    def _check(self, message: ChatMessage) -> Failure | None:
        too_long = excess(_sent(message), self.limits) if self._limits_known else None
        return None if too_long is None else Failure("chat_too_long", too_long)

    def _forget_room(self, failure: Failure) -> None:
        self.room.failed(self.room.queue.fail_all(failure))
        self._fail_changes(failure)
        self.room = self._new_room()
        self._cursor.clear()
        self._typing.forget()
        self._position = None
        self._hint = None
        self._ask_at = math.inf


def _sent(message: ChatMessage) -> ChatSend:
    return ChatSend(
        payload=ChatSendPayload(
            content=message.content,
            id=MessageId(message.id),
            reply_to=None if message.reply_to is None else MessageId(message.reply_to),
            mentions=[UserId(user_id) for user_id in message.mentions] or None,
        )
    )
