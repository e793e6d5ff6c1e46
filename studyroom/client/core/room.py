"""The state of one room: its members, its chat, and the user's own messages that are not stored yet."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from studyroom.client.core.backoff import Random
from studyroom.client.core.chat_queue import ChatQueue, Failed
from studyroom.client.core.folding import NewestReactions, edited, message_of, reacted
from studyroom.client.core.history import History
from studyroom.client.core.own_presence import OwnPresence
from studyroom.client.core.roster import Roster, member_of, with_presence
from studyroom.client.core.wire import Refusal
from studyroom.client.events import (
    BroadcastReceived,
    ChatEdited,
    ChatFailed,
    ChatReacted,
    ChatReceived,
    ChatRemoved,
    CursorMoved,
    Event,
    HistoryReset,
    Joined,
    MemberJoined,
    MemberLeft,
    MemberUpdated,
    PresenceUpdated,
    TypingChanged,
)
from studyroom.client.values import ChatMessage, Cursor, Member
from studyroom.shared.contract import chat_messages as wire_chat
from studyroom.shared.contract import messages as wire
from studyroom.shared.contract.broadcasts import Broadcast
from studyroom.shared.contract.custom_presence import PresenceChanged


@dataclass
class Me:
    """The user's id, and all ids that this client has had. A guest may get another id with a new connection."""

    user_id: str = ""
    ids: set[str] = field(default_factory=set)


class Room:
    def __init__(
        self, me: Me, history_limit: int, random: Random, emit: Callable[[Event], None],
        stored: Callable[[ChatMessage], None],
    ) -> None:  # fmt: skip
        """`emit` gets the events, and `stored` the own messages that the server has stored."""
        self._me = me
        self._emit = emit
        self._stored = stored
        self.roster = Roster()
        self.queue = ChatQueue(random)
        self.history = History(history_limit)
        self.presence = OwnPresence()
        self._newest = NewestReactions()
        self.cursors: dict[str, Cursor] = {}
        """The cursors of members, by user id."""
        self.self: Member | None = None

    def joined(self, joined: wire.JoinedRoomPayload, history_length: int) -> None:
        """`history_length`: how many messages a newcomer gets at most."""
        again = self.history.begun
        replaced = self.history.joined(joined, history_length)
        if not joined.recovered:
            self._newest.begin(joined.last_seq or 0)
        others = [user for user in joined.users if not self._is_me(user)]
        self.presence.joined(self.self.presence if self.self is not None else {})
        came, changed, left = self.roster.load(others)
        self._emit(Joined(joined.room_id, joined.recovered))
        for member in left:
            self._left(member)
        # At the first join the program reads the roster. Later it gets the difference.
        if again:
            for member in came:
                self._emit(MemberJoined(member))
            for member in changed:
                self._emit(MemberUpdated(member))
        for user in others:
            self._placed(user)
        if replaced:
            self._emit(HistoryReset())

    def happened(self, message: wire.ServerMessage) -> None:
        """Handle an event of the room."""
        match message:
            case wire_chat.Chat(payload=payload):
                self._chat(payload)
            case wire_chat.ChatDeleted(payload=payload):
                self._deleted(payload)
            case wire_chat.ChatEdited(payload=payload):
                self._edited(payload)
            case wire_chat.ChatReaction(payload=payload):
                self._reacted(payload)
            case wire.ChatReset(payload=payload):
                self.history.reset(payload.epoch)
                self._newest.begin(0)
            case _:
                self._happened_to_member(message)

    def _happened_to_member(self, message: wire.ServerMessage) -> None:
        match message:
            case wire.UserJoined(payload=payload) | wire.UserUpdated(payload=payload):
                self._put(payload.user)
            case wire.UserLeft(payload=payload):
                self._left(self.roster.remove(payload.user_id))
            case wire.CursorUpdate(payload=payload):
                self._moved(payload.user_id, Cursor(payload.x, payload.y, payload.element_id))
            case wire.TypingStatus(payload=payload):
                if self.roster.set_typing(payload.user_id, is_typing=payload.is_typing):
                    self._emit(TypingChanged(payload.user_id, payload.is_typing))
            case Broadcast(payload=payload):
                self._emit(BroadcastReceived(payload.user_id, payload.event, payload.data, payload.key))
            case PresenceChanged(payload=payload):
                self._changed(payload.user_id, payload.fields)
            case _:
                pass  # Pong and Authenticated are not about a room

    def refused(self, refusal: Refusal, now: float) -> None:
        """Handle the refusal of an own message. Without an id, it is the one under way."""
        if refusal.id is not None:
            failed = self.queue.refused(refusal.id, refusal.failure, now)
        else:
            failed = self.queue.refused_under_way(refusal.failure, now)
        if failed is not None:
            self.failed([failed])

    def failed(self, failed: list[Failed]) -> None:
        for message, failure in failed:
            self._emit(ChatFailed(message, failure))

    def lost(self) -> None:
        """Handle the loss of the connection. Roster and messages stay."""
        self.history.interrupted()
        for member in self.roster.typing:
            self._emit(TypingChanged(member.user_id, is_typing=False))
        self.roster.nobody_types()
        self.queue.hold()

    def _put(self, user: wire.UserPresence) -> None:
        if self._is_me(user):
            return
        is_new = user.user_id not in self.roster
        member = self.roster.put(user)
        if member is not None:
            self._emit(MemberJoined(member) if is_new else MemberUpdated(member))
        self._placed(user)

    def _is_me(self, user: wire.UserPresence) -> bool:
        """Return whether this is the user of this client, and update `self`."""
        if user.user_id == self._me.user_id:
            self.self = member_of(user)
        return user.user_id in self._me.ids

    def _left(self, member: Member | None) -> None:
        if member is not None:
            self.cursors.pop(member.user_id, None)
            self._emit(MemberLeft(member))

    def _placed(self, user: wire.UserPresence) -> None:
        if user.cursor is not None:
            self._moved(user.user_id, Cursor(user.cursor.x, user.cursor.y, user.cursor.element_id))

    def _moved(self, user_id: str, cursor: Cursor) -> None:
        # A cursor may arrive before its member has joined or after the member has left.
        if user_id in self.roster and self.cursors.get(user_id) != cursor:
            self.cursors[user_id] = cursor
            self._emit(CursorMoved(user_id, cursor))

    def _changed(self, user_id: str, fields: dict[str, object]) -> None:
        member = self.roster.change_presence(user_id, fields)
        if member is not None:
            self._emit(MemberUpdated(member))
        if self.self is not None and self.self.user_id == user_id:
            self.presence.changed(fields)
            self.self = with_presence(self.self, fields)
            self._emit(PresenceUpdated(fields))

    def _chat(self, chat: wire_chat.ChatPayload) -> None:
        message = self.shown(chat)
        answered = message.own and self.queue.stored(message.id)
        if message.own:
            self._stored(message)
        live = self.history.complete
        if self.history.add(message, chat.seq, in_order=not answered):
            self._emit(ChatReceived(message, live))

    def shown(self, chat: wire_chat.ChatPayload) -> ChatMessage:
        return message_of(chat, self._me.ids)

    def _deleted(self, deleted: wire_chat.ChatDeletedPayload) -> None:
        # A moderator may delete an own message before it comes back. It was stored.
        own = self.queue.find(deleted.id)
        self.queue.stored(deleted.id)
        if own is not None:
            self._stored(replace(own, seq=deleted.deleted_seq))
        self.history.remove(deleted.deleted_seq, deleted.seq)
        self._emit(ChatRemoved(deleted.id, deleted.deleted_seq))

    def _edited(self, edit: wire_chat.ChatEditedPayload) -> None:
        message = self.history.change(edit.target_seq, lambda before: edited(before, edit))
        if message is not None:
            self._emit(ChatEdited(message))

    def _reacted(self, change: wire_chat.ChatReactionPayload) -> None:
        if not self._newest.is_newer(change):
            return
        message = self.history.change(change.target_seq, lambda before: reacted(before, change, self._me.ids))
        if message is not None:
            self._emit(ChatReacted(message, change.user_id, change.reaction, change.is_on))
