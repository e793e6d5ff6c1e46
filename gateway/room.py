"""One room on this gateway: its connections, its roster, and the fan-out to its members.

Nothing here awaits. A frame is encoded once, collected in the outbox, and each member gets one write per flush.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from pydantic import ValidationError

from gateway.framing import text_frame
from gateway.hearing import Heard, Hearing
from gateway.metrics import GatewayMetrics
from gateway.notices import encode_cursor, encode_notice, encode_typing
from gateway.outbox import Item, Kind, Outbox
from gateway.roster import Change, Notice, Roster
from services import logs
from services.bus import Message
from shared import subjects
from shared.chat import with_sequence
from shared.ephemeral import MalformedBatch, cursor_of, decode_batch, encode_batch
from shared.headers import INGRESS, SEQUENCE, TIME, is_removal
from shared.ids import ConnectionId, RoomId, UserId
from shared.messages import CursorPosition, JoinedRoom, JoinedRoomPayload, UserPresence, encode
from shared.presence import LEASE_SECONDS, Entry, RoomState, RosterReply

log = logs.get(__name__)

_REST_FACTOR = 3.0
"""A room rests this many times the duration of its last flush, so that it never takes over a quarter of the loop."""

_KINDS = {Change.JOINED: Kind.JOINED, Change.UPDATED: Kind.UPDATED, Change.LEFT: Kind.LEFT}

_OWN_TYPING_SECONDS = 10.0
_REMOTE_TYPING_SECONDS = 15.0
"""Longer, so that the gateway of who types speaks first."""
_IS_TYPING = b"true}}"


class Recipient(Protocol):
    """A connection as its room sees it."""

    @property
    def user(self) -> UserId: ...
    @property
    def id(self) -> ConnectionId: ...
    def deliver(self, frames: bytes) -> None:
        """Must not raise. Whoever reads too slowly is dealt with there."""


Publish = Callable[[str, bytes], None]


class Surroundings(Protocol):
    """What a room asks of its gateway."""

    def epoch(self, presence_epoch: str) -> str:
        """The epoch that clients see, made from the one of the presence stream."""

    def connection_is_missing(self, recipient: "Recipient") -> None:
        """Presence does not have a connection that is in a room here."""


class Room:
    def __init__(self, room: RoomId, publish: Publish, metrics: GatewayMetrics, surroundings: Surroundings) -> None:
        self.id = room
        self._publish = publish
        self._metrics = metrics
        self._surroundings = surroundings
        self._recipients: dict[Recipient, None] = {}
        self._by_user: dict[UserId, list[Recipient]] = {}
        self._newcomers: dict[Recipient, int] = {}
        """Members since the last flush, with the number of frames that were waiting before them."""
        self._outbox = Outbox()
        self._flush_due: asyncio.Handle | None = None
        self._rest_until = 0.0
        self._cursors: dict[UserId, bytes] = {}
        self._moved: set[UserId] = set()
        self._typing: dict[UserId, float] = {}
        """Who is typing, and when that expires (monotonic seconds)."""
        self._roster = Roster()
        self._hearing = Hearing()
        self._settles_at = 0.0
        """When whoever is missing in a new epoch is gone for good (monotonic seconds)."""
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._cursor_subject = subjects.room_cursor(room)
        self._typing_subject = subjects.room_typing(room)
        self._kind_at = len(subjects.room_events(room)) - 1

    # --- members ------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._recipients)

    def __contains__(self, recipient: Recipient) -> bool:
        return recipient in self._recipients

    def admit(self, recipient: Recipient) -> None:
        """Send `JoinedRoom`; from now on the recipient gets every event that is newer than its roster."""
        if recipient in self._recipients:
            # It joined again: what waits for it belongs before the new roster.
            self.flush()
        payload = JoinedRoomPayload.model_construct(
            room_id=self.id, users=self._users(), epoch=self._surroundings.epoch(self._roster.epoch)
        )
        recipient.deliver(text_frame(encode(JoinedRoom.model_construct(payload=payload))))
        self._metrics.traffic.messages_sent["JoinedRoom"] += 1
        if recipient not in self._recipients:
            self._recipients[recipient] = None
            self._by_user.setdefault(recipient.user, []).append(recipient)
        self._newcomers[recipient] = len(self._outbox)

    def dismiss(self, recipient: Recipient) -> None:
        """No event reaches the recipient any more. Unknown recipients are fine."""
        if recipient not in self._recipients:
            return
        del self._recipients[recipient]
        self._newcomers.pop(recipient, None)
        own = self._by_user[recipient.user]
        own.remove(recipient)
        if not own:
            del self._by_user[recipient.user]
            if recipient.user in self._typing:
                self.type(recipient.user, is_typing=False, ingress_us=0)

    def recipients(self) -> list[Recipient]:
        return list(self._recipients)

    # --- the roster and the join barrier ------------------------------------------------------------------

    @property
    def epoch(self) -> str:
        """Of the presence stream; empty before the first roster."""
        return self._roster.epoch

    @property
    def consistent(self) -> bool:
        """The roster is loaded, and every change since has been heard."""
        return self._hearing.consistent

    @property
    def state(self) -> RoomState:
        return RoomState.model_construct(revision=self._hearing.revision, digest=self._roster.digest)

    def knows(self, revision: int) -> bool:
        return self._hearing.revision >= revision

    def doubt(self) -> None:
        """Changes may have been missed. The roster stays until a new one is loaded."""
        self._hearing.doubt()

    @property
    def unsettled(self) -> bool:
        """Members of a former epoch are waited for, and their time is up: the roster is to be taken anew."""
        return 0 < self._settles_at <= time.monotonic()

    def load(self, reply: RosterReply) -> int:
        """Take a roster from presence; members are told what it changes. How many changes that were."""
        members = reply.members or []
        replaced = reply.epoch if self._roster.epoch not in {"", reply.epoch} else None
        if replaced:
            self._settles_at = time.monotonic() + LEASE_SECONDS + reply.guard_seconds
        settled = not replaced and self._settles_at <= time.monotonic()
        notices = self._roster.load(reply.epoch, reply.revision, members, settled=settled)
        for notice in notices:
            self._announce(notice)
        if not self._roster.unconfirmed:
            self._settles_at = 0.0
        for member in members:
            if member.cursor is not None and member.user in self._roster and member.user not in self._cursors:
                self._cursors[member.user] = encode_cursor(member.user, member.cursor)
        for change in self._hearing.load(reply.revision, replaced=replaced):
            self._change(change)
        self._settle()
        return len(notices)

    def has_member(self, user: UserId) -> bool:
        return user in self._roster

    async def heard(self, sequence: int) -> None:
        """Returns when the roster is consistent and contains the change with this stream sequence."""
        if self.consistent and self._hearing.last >= sequence:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((sequence, future))
        await future

    # --- events from the bus ------------------------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """A message of the room's subscription."""
        match message.subject[self._kind_at : self._kind_at + 4]:
            case "curs":
                self._receive_notices(message, Kind.CURSOR)
            case "chat":
                self._receive_chat(message)
            case "pres":
                self._receive_change(message)
            case "typi":
                self._receive_notices(message, Kind.TYPING)
            case _:
                log.error("a room event of unknown kind", subject=message.subject)

    def _receive_change(self, message: Message) -> None:
        headers = message.headers or {}
        sequence = int(headers[SEQUENCE])
        user = subjects.room_event_user(message.subject)
        entry: Entry | None = None
        if not is_removal(headers):
            try:
                entry = Entry.decode(message.data)
            except ValidationError:
                # Presence takes it for a removal too.
                log.error("a presence event is not ours", subject=message.subject, sequence=sequence)
        change = Heard(user, sequence, entry, headers[TIME])
        self._hearing.hear(change)
        if self._roster.epoch:
            self._change(change)
        self._settle()

    def _change(self, change: Heard) -> None:
        user, entry = change.user, change.entry
        if entry is None:
            notice = self._roster.remove(user, change.sequence)
        else:
            notice = self._roster.put(user, entry.profile, change.sequence)
            for recipient in self._by_user.get(user, ()):
                if recipient.id not in entry.connections and self._roster.is_newest(user, change.sequence):
                    self._surroundings.connection_is_missing(recipient)
        if notice is not None:
            self._announce(notice)

    def _settle(self) -> None:
        if not self._waiting or not self.consistent:
            return
        still_waiting = []
        for sequence, future in self._waiting:
            if sequence > self._hearing.last:
                still_waiting.append((sequence, future))
            elif not future.done():
                future.set_result(None)
        self._waiting = still_waiting

    def _receive_chat(self, message: Message) -> None:
        headers = message.headers or {}
        ready = with_sequence(message.data, int(headers[SEQUENCE]))
        self._say(Item(text_frame(ready), Kind.CHAT, int(headers.get(INGRESS, 0))))

    def _receive_notices(self, message: Message, kind: Kind) -> None:
        try:
            ingress_us, notices = decode_batch(message.data)
        except MalformedBatch as error:
            log.error("a batch of notices is not ours", subject=message.subject, error=str(error))
            return
        for user, ready in notices:
            if user not in self._roster:
                self._metrics.dropped.labels(lane="ephemeral", reason="not_in_roster").inc()
                continue
            if kind is Kind.CURSOR:
                self._cursors[user] = ready
            else:
                self._note_typing(user, is_typing=ready.endswith(_IS_TYPING), expires_seconds=_REMOTE_TYPING_SECONDS)
            self._say(Item(text_frame(ready), kind, ingress_us), not_to=user)

    # --- events from own members --------------------------------------------------------------------------

    def move_cursor(self, user: UserId, position: CursorPosition, ingress_us: int) -> None:
        ready = encode_cursor(user, position)
        self._cursors[user] = ready
        self._moved.add(user)
        self._notify(user, ready, Kind.CURSOR, self._cursor_subject, ingress_us)

    def type(self, user: UserId, *, is_typing: bool, ingress_us: int) -> None:
        """An own member types, or has stopped."""
        self._note_typing(user, is_typing=is_typing, expires_seconds=_OWN_TYPING_SECONDS)
        self._notify(user, encode_typing(user, is_typing=is_typing), Kind.TYPING, self._typing_subject, ingress_us)

    def expire_typing(self) -> None:
        """Whoever has not said for a while that they are still typing has stopped."""
        now = time.monotonic()
        for user in [user for user, expires in self._typing.items() if expires <= now]:
            if user in self._by_user:
                self.type(user, is_typing=False, ingress_us=0)
            else:
                # Its own gateway would have said so, and is gone.
                del self._typing[user]
                self._say(Item(text_frame(encode_typing(user, is_typing=False)), Kind.TYPING), not_to=user)

    def _note_typing(self, user: UserId, *, is_typing: bool, expires_seconds: float) -> None:
        if is_typing:
            self._typing[user] = time.monotonic() + expires_seconds
        else:
            self._typing.pop(user, None)

    def recall_cursors(self) -> None:
        """Presence may not have them: take all cursors of own members as moved."""
        self._moved.update(user for user in self._by_user if user in self._cursors)

    def take_moved(self) -> list[tuple[UserId, bytes]]:
        """Cursors of own members that moved since the last call, as `CursorPosition` JSON."""
        moved = [(user, cursor_of(self._cursors[user])) for user in self._moved if user in self._cursors]
        self._moved.clear()
        return moved

    def _notify(self, user: UserId, ready: bytes, kind: Kind, subject: str, ingress_us: int) -> None:
        self._publish(subject, encode_batch(ingress_us, [(user, ready)]))
        if user in self._roster:
            self._say(Item(text_frame(ready), kind, ingress_us), not_to=user)

    # --- fan-out ------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what waits, once to each member."""
        if self._flush_due is not None:
            self._flush_due.cancel()
            self._flush_due = None
        if not len(self._outbox):
            return
        began = time.perf_counter()
        batch, newcomers = self._outbox.take(), self._newcomers
        self._newcomers = {}
        recipients = list(self._recipients)
        sent = self._metrics.traffic.messages_sent
        for recipient in recipients:
            since = newcomers.get(recipient, 0)
            frames = batch.for_member(recipient.user, since=since)
            if frames is not batch.everything:
                for item in batch.withheld(recipient.user, since=since):
                    sent[item.kind] -= 1
            if frames:
                recipient.deliver(frames)
        for item in batch.items:
            sent[item.kind] += len(recipients)
        ended = time.perf_counter()
        self._rest_until = ended + _REST_FACTOR * (ended - began)
        self._observe(batch.items)

    def _announce(self, notice: Notice) -> None:
        if notice.change is Change.LEFT:
            self._cursors.pop(notice.user, None)
            self._moved.discard(notice.user)
            self._typing.pop(notice.user, None)
            for recipient in self._by_user.get(notice.user, ()):
                self._surroundings.connection_is_missing(recipient)
        # Nobody is told of their own coming and going; whoever is connected is here, as far as they can tell.
        own = None if notice.change is Change.UPDATED else notice.user
        self._say(Item(text_frame(encode_notice(notice)), _KINDS[notice.change]), not_to=own)

    def _say(self, item: Item, *, not_to: UserId | None = None) -> None:
        if not self._recipients:
            return
        self._outbox.add(item, not_to=not_to)
        if self._flush_due is None:
            rest = self._rest_until - time.perf_counter()
            loop = asyncio.get_running_loop()
            self._flush_due = loop.call_soon(self.flush) if rest <= 0 else loop.call_later(rest, self.flush)

    def _observe(self, items: list[Item]) -> None:
        now_us = int(time.time() * 1_000_000)
        self._metrics.flush_batch_size.observe(len(items))
        for item in items:
            if item.ingress_us:
                self._metrics.delivery_latency[item.kind].observe(max(0, now_us - item.ingress_us) / 1_000_000)

    def _users(self) -> list[UserPresence]:
        users = self._roster.users()
        for index, user in enumerate(users):
            ready = self._cursors.get(user.user_id)
            if ready is not None:
                position = CursorPosition.model_validate_json(cursor_of(ready))
                users[index] = user.model_copy(update={"cursor": position})
        return users
