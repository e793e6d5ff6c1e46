"""The local members of one room, the writes to them, and what a room reports of itself.

Nothing here awaits. A frame is encoded once and collected in the outbox, and each member gets one write per flush. A
gateway spends most of its time here, so the loops over members in `Fanout.flush` and `Fanout._write_cursors` do as
little as possible.
"""

from collections.abc import Callable, Iterator, KeysView, Mapping
from typing import TYPE_CHECKING, Protocol

from studyroom.gateway.broadcasts.waiting import Event, Missed, event_of
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.history import Stored
from studyroom.gateway.rooms.outbox import Batch, Outbox
from studyroom.gateway.wire.framing import payload_of
from studyroom.gateway.wire.items import EPHEMERAL, Item, Kind
from studyroom.gateway.wire.websocket import Writable, write_frames
from studyroom.shared.contract.ids import ConnectionId, MembershipId, UserId
from studyroom.shared.contract.presence import Profile, RoomConnection

if TYPE_CHECKING:
    from studyroom.gateway.rooms.room import Room


class Recipient(Protocol):
    """A connection as its room sees it."""

    @property
    def socket(self) -> Writable: ...
    @property
    def user(self) -> UserId: ...
    @property
    def profile(self) -> Profile: ...
    @property
    def id(self) -> ConnectionId: ...
    @property
    def membership_id(self) -> MembershipId:
        """The id of its membership in this room."""

    @property
    def lagging(self) -> bool:
        """The client is a slow consumer."""

    def deliver(self, frames: bytes) -> None:
        """Write frames, and handle a client that leaves too much unread. Must not raise."""


class Repairs(Protocol):
    """Rooms report here what they cannot repair by themselves."""

    def connection_is_missing(self, recipient: Recipient) -> None:
        """Presence does not have a connection that is in a room here, or has an old profile for it."""

    def connection_is_present(self, membership: RoomConnection) -> None:
        """Presence has a connection of this gateway in a room. It may have left."""

    def roster_is_suspect(self, room: "Room") -> None:
        """The roster may be wrong."""

    def cannot_be_hosted(self, room: "Room", reason: str) -> None:
        """NATS sends no messages of the room any more, so its members must leave it."""

    def chat_is_missing(self, room: "Room", *, announced: int = 0) -> None:
        """Messages before a new one are missing, it may be of another stream, or others `announced` a newer one."""

    def chat_is_rewritten(self, room: "Room") -> None:
        """A new message of the room has an old sequence, so the stream has lost its tail."""

    def chat_is_deleted(self, room: "Room", tombstone: Stored) -> None:
        """The message that the tombstone deletes may still be stored."""

    def edits_may_be_late(self, room: "Room", edits: list[Stored]) -> None:
        """These edits are of messages that the room does not remember, which may be deleted."""

    def chat_must_begin_again(self, room: "Room") -> None:
        """A tombstone deletes what members cannot take back, so they need the chat again."""


Cursor = tuple[bytes, int]
"""A framed `CursorUpdate`, and when the author's gateway read it (Unix microseconds)."""
_NO_CURSORS: Mapping[UserId, Cursor] = {}
Newest = Callable[[UserId, set[UserId]], list[Item]]
"""The notices that bring a user up to date who missed cursors, and typing notices of these users."""
_Joined = dict[tuple[int, bool, UserId | None], tuple[list[Item], bytes]]
"""Joined frames, by the number of frames to skip, whether only essential ones, and the author who gets none of its
own."""


class Fanout:
    def __init__(self, metrics: GatewayMetrics, request_flush: Callable[[], None]) -> None:
        """`request_flush`: called when there is something to send. It makes the room call `flush`, soon or later."""
        self._metrics = metrics
        self._traffic = metrics.traffic
        self._request_flush = request_flush
        self._recipients: dict[Recipient, UserId] = {}
        self._by_user: dict[UserId, list[Recipient]] = {}
        self._newcomers: dict[Recipient, int] = {}
        """Members since the last flush, each with the number of frames that were in the outbox before."""
        self._lagging: dict[Recipient, Missed] = {}
        """Slow consumers, which get no ephemeral frames, each with those that they missed."""
        self._outbox = Outbox()

    def __len__(self) -> int:
        return len(self._recipients)

    def __contains__(self, recipient: Recipient) -> bool:
        return recipient in self._recipients

    def __iter__(self) -> Iterator[Recipient]:
        return iter(list(self._recipients))

    def of(self, user: UserId) -> list[Recipient]:
        """The user's connections that are in the room."""
        return list(self._by_user.get(user, ()))

    def has(self, user: UserId) -> bool:
        return user in self._by_user

    @property
    def users(self) -> KeysView[UserId]:
        return self._by_user.keys()

    def admit(self, recipient: Recipient, welcome: bytes) -> None:
        """Write the frames in `welcome`. From now on the recipient gets every frame."""
        if recipient in self._recipients:
            # It joined again, and frames in the outbox belong before the new roster.
            self.flush()
        else:
            self._recipients[recipient] = recipient.user
            self._by_user.setdefault(recipient.user, []).append(recipient)
        recipient.deliver(welcome)
        if len(self._outbox):
            self._newcomers[recipient] = len(self._outbox)
        if recipient.lagging:
            self.lag(recipient)

    def dismiss(self, recipient: Recipient) -> bool:
        """Send the recipient nothing any more. False if it was not in the room."""
        if recipient not in self._recipients:
            return False
        del self._recipients[recipient]
        self._newcomers.pop(recipient, None)
        self._lagging.pop(recipient, None)
        own = self._by_user[recipient.user]
        own.remove(recipient)
        if not own:
            del self._by_user[recipient.user]
        return True

    def send(self, item: Item, *, not_to: UserId | None = None) -> None:
        """Send to all but the connections of `not_to`, with the next flush."""
        self.collect(item, not_to=not_to)
        self._request_flush()

    def collect(self, item: Item, *, not_to: UserId | None = None) -> None:
        """Like `send`, for a caller that requests the flush itself."""
        if self._recipients:
            self._outbox.add(item, not_to=not_to)

    def send_own(self, user: UserId, item: Item) -> None:
        """Send to the connections of one user, at once, after all that was collected before."""
        self.flush()
        for recipient in self.of(user):
            recipient.deliver(item.frame)
            self._traffic.count_sent([item], 1)

    def _write_cursors(self, cursors: Mapping[UserId, Cursor]) -> None:
        """`flush` for cursors alone, and members that all get everything. Most of a gateway's traffic are cursors."""
        everything = b"".join([frame for frame, _ in cursors.values()])
        spans, start = {}, 0
        for author, (frame, _) in cursors.items():
            end = start + len(frame)
            spans[author] = start, end
            start = end
        span_of = spans.get
        not_sent = not_sent_bytes = 0
        recipients = list(self._recipients.items())
        for recipient, user in recipients:
            own = span_of(user)
            if own is None:
                write_frames(recipient.socket, everything)
            else:
                first, end = own
                not_sent += 1
                not_sent_bytes += end - first
                if len(spans) > 1:
                    write_frames(recipient.socket, everything[:first] + everything[end:])
        self._traffic.sent_bytes += len(everything) * len(recipients) - not_sent_bytes
        self._traffic.count_cursors(cursors.values(), len(recipients), not_sent)

    # --- slow consumers -----------------------------------------------------------------------------------

    def lag(self, recipient: Recipient) -> None:
        """Send the recipient no ephemeral frames until it catches up."""
        if recipient in self._recipients:
            self._lagging.setdefault(recipient, Missed())

    def catch_up(self, recipient: Recipient, newest: Newest) -> None:
        """The recipient has caught up. Send it the newest of what it missed."""
        missed = self._lagging.pop(recipient, None)
        if missed is None:
            return
        items = newest(recipient.user, missed.typists)
        items += [event.item for event in missed.events.take()]
        if items:
            recipient.deliver(b"".join([item.frame for item in items]))
            self._traffic.count_sent(items, 1)

    # --- flush --------------------------------------------------------------------------------------------

    def flush(self, cursors: Mapping[UserId, Cursor] = _NO_CURSORS) -> None:
        """Write the frames in the outbox and then the cursors, in one write to each member.

        Members do not get their own cursor.
        """
        if cursors and self._recipients:
            if not len(self._outbox) and not self._newcomers and not self._lagging:
                self._write_cursors(cursors)
                return
            for author, (frame, ingress_us) in cursors.items():
                self._outbox.add(Item(frame, Kind.CURSOR, ingress_us), not_to=author)
        if not len(self._outbox):
            return
        batch = self._outbox.take()
        special = self._take_special()
        recipients = list(self._recipients.items())
        own, everything, without_own = batch.own, batch.everything, batch.without_own
        not_sent: list[int] = []
        sent_bytes = len(everything) * (len(recipients) - len(special))
        own_of = own.get
        for recipient, user in recipients:
            if special and recipient in special:
                continue
            indexes = own_of(user)
            if indexes is None:
                write_frames(recipient.socket, everything)
            else:
                frames = without_own(indexes)
                if frames:
                    write_frames(recipient.socket, frames)
                not_sent += indexes
                sent_bytes += len(frames) - len(everything)
        self._traffic.sent_bytes += sent_bytes
        self._traffic.count_flush(batch.items, len(recipients) - len(special), not_sent)
        joined: _Joined = {}
        events = _events_of(batch) if self._lagging else {}
        for recipient in special:
            self._write_special(recipient, special[recipient], batch, joined, events)

    def _take_special(self) -> dict[Recipient, int]:
        """Members that get only a part of the batch, each with the number of frames to skip."""
        if not self._newcomers and not self._lagging:
            return {}
        newcomers, self._newcomers = self._newcomers, {}
        return {**dict.fromkeys(self._lagging, 0), **newcomers}

    def _write_special(
        self, recipient: Recipient, since: int, batch: Batch, joined: _Joined, events: Mapping[int, Event]
    ) -> None:
        """`joined`: the frames written to others in this flush. Members that need the same frames share them.

        `events`: the broadcast events of the batch, by their indexes."""
        if recipient not in self._recipients:
            return
        missed = self._lagging.get(recipient)
        key = since, missed is not None, recipient.user if recipient.user in batch.own else None
        if key not in joined:
            items = batch.select(recipient.user, since=since, essential_only=missed is not None)
            joined[key] = items, b"".join([item.frame for item in items])
        items, frames = joined[key]
        if missed is not None:
            self._remember(missed, recipient.user, since, batch, events)
        if items:
            recipient.deliver(frames)
            self._traffic.count_sent(items, 1)

    def _remember(self, missed: Missed, user: UserId, since: int, batch: Batch, events: Mapping[int, Event]) -> None:
        """Add the ephemeral frames of a batch to those that a slow consumer has missed."""
        dropped, authors = 0, batch.authors
        for index in range(since, len(batch.items)):
            kind, author = batch.items[index].kind, authors.get(index)
            if author is None or author == user:
                continue
            if kind is Kind.BROADCAST:
                self._metrics.traffic.conflated[kind] += missed.events.add(events[index])
            elif kind is Kind.LEFT:
                dropped += missed.events.forget(author)
            elif kind in EPHEMERAL:
                dropped += 1
                if kind is Kind.TYPING:
                    missed.typists.add(author)
        dropped += missed.events.trim()
        self._metrics.dropped.labels(lane="ephemeral", reason="slow_consumer").inc(dropped)


def _events_of(batch: Batch) -> dict[int, Event]:
    return {
        index: event_of(payload_of(item.frame), item.ingress_us)
        for index, item in enumerate(batch.items)
        if item.kind is Kind.BROADCAST
    }
