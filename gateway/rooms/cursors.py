"""Cursors and typing notices of one room: conflated to the newest of each member, and sent in batches.

A flush publishes the notices of local members, those connected to this gateway, to the other gateways of the room in
one message, and writes the undelivered notices of all members to the local ones. Batches carry client-ready messages.
"""

import time
from collections.abc import Callable, Iterable, Iterator, KeysView

from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.fanout import Fanout
from studyroom.gateway.rooms.neighbours import ExchangeSchedule, Neighbours
from studyroom.gateway.rooms.notices import encode_cursor, encode_typing
from studyroom.gateway.wire.framing import payload_of, text_frame
from studyroom.gateway.wire.items import Item, Kind
from studyroom.shared.chassis import logs
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ephemeral import (
    MalformedBatch,
    cursor_of,
    decode_batch,
    encode_batch,
    parse_stamp,
    repeated_at,
)
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.messages import CursorPosition

log = logs.get(__name__)

_OWN_TYPING_SECONDS = 10.0
_REMOTE_TYPING_SECONDS = 15.0
"""Longer than for local members, so that the typist's own gateway ends the notice first."""
_IS_TYPING = b"true}}"
Publish = Callable[[str, bytes], None]
"""Takes a subject and a payload."""
FramedNotices = dict[UserId, tuple[bytes, int]]
"""The newest notice of each member, framed for clients, with its ingress time (Unix microseconds)."""
_CURSOR, _TYPING = Kind.CURSOR, Kind.TYPING


class Cursors:
    def __init__(
        self,
        room: RoomId,
        fanout: Fanout,
        publish: Publish,
        request_flush: Callable[[], None],
        metrics: GatewayMetrics,
        *,
        members: KeysView[UserId],
        neighbours: Neighbours,
    ) -> None:
        """`request_flush`: makes the room call `flush`, soon or later. `members`: a live view of the roster. Notices of
        other users are not delivered."""
        self._neighbours = neighbours
        self._fanout = fanout
        self._publish = publish
        self._request_flush = request_flush
        self._metrics = metrics
        self._members = members
        self._subjects = {Kind.CURSOR: subjects.room_cursor(room), Kind.TYPING: subjects.room_typing(room)}
        self._conflated = metrics.traffic.conflated
        self._cursors: FramedNotices = {}
        """Cursors that local members have been sent."""
        self._typing: dict[UserId, float] = {}
        """The users who are typing, with the time at which that expires (monotonic seconds)."""
        self._typing_here: set[UserId] = set()
        """Those of them whose last notice came from a client of this gateway."""
        self._unflushed_cursors: FramedNotices = {}
        self._unflushed_typing: FramedNotices = {}
        """Notices of local members that the next flush publishes."""
        self._undelivered_cursors: FramedNotices = {}
        self._undelivered_typing: FramedNotices = {}
        """Notices of all members that the next flush writes to local members."""
        self.version = 0
        """Grows whenever a result of `cursor` changes."""
        self._has_roster = False
        self._moved: set[UserId] = set()
        """Local members who moved after presence got their cursors."""
        self._recalled: set[UserId] = set()
        """Local members whose cursors presence may have lost."""
        self._exchange = ExchangeSchedule()
        self._moved_here: FramedNotices = {}
        """Cursors of local members who moved on this gateway, as of the last beat."""
        self._withheld: FramedNotices = {}
        """Cursors of users who are connected here and not in the roster until presence restores them."""

    # --- notices of local members -------------------------------------------------------------------------

    def move_cursor(self, user: UserId, frame: bytes, ingress_us: int) -> None:
        """`frame`: the framed `CursorUpdate`. `ingress_us`: when the gateway read it, in Unix microseconds."""
        unflushed = self._unflushed_cursors
        if user in unflushed:
            self._conflated[_CURSOR] += 1
        unflushed[user] = (frame, ingress_us)
        self._request_flush()

    def type(self, user: UserId, *, is_typing: bool, ingress_us: int) -> None:
        self._set_typing(user, is_typing=is_typing, expires_seconds=_OWN_TYPING_SECONDS)
        self._typing_here.add(user)
        if user in self._unflushed_typing:
            self._conflated[_TYPING] += 1
        self._unflushed_typing[user] = (text_frame(encode_typing(user, is_typing=is_typing)), ingress_us)
        self._request_flush()

    def left(self, user: UserId) -> None:
        """The user has no connection here any more. Ends its typing at once, before others learn that it left.

        A user who has moved may be typing on another gateway, which then ends it.
        """
        self._withheld.pop(user, None)
        if user in self._typing and user in self._typing_here:
            self.type(user, is_typing=False, ingress_us=0)
            self._publish_unflushed()
            self._collect()

    def flush(self) -> None:
        """Publish the unflushed notices, and write the undelivered ones and everything in the outbox to members."""
        self._publish_unflushed()
        if self._has_roster and not self._undelivered_typing:
            self._fanout.flush(self._take_undelivered())
        else:
            self._collect()
            self._fanout.flush()

    def _publish_unflushed(self) -> None:
        if self._unflushed_cursors:
            cursors, self._unflushed_cursors = self._unflushed_cursors, {}
            self._moved.update(cursors)
            self._send(_CURSOR, cursors)
            if self._undelivered_cursors:
                self._undelivered_cursors.update(cursors)
            else:
                self._undelivered_cursors = cursors
        if self._unflushed_typing:
            typing, self._unflushed_typing = self._unflushed_typing, {}
            self._send(_TYPING, typing)
            self._undelivered_typing.update(typing)

    def _send(self, kind: Kind, notices: FramedNotices) -> None:
        if self._neighbours:
            oldest = min([ingress_us for _, ingress_us in notices.values()])
            self._publish_notices(kind, oldest, [(user, payload_of(frame)) for user, (frame, _) in notices.items()])

    # --- delivery to local members ------------------------------------------------------------------------

    def roster_loaded(self) -> None:
        """Send the notices of members in the roster that arrived before it, or with it.

        A member that is admitted from now on gets these cursors with the roster.
        """
        self._has_roster = True
        self._collect()
        self._request_flush()

    def _take_undelivered(self) -> FramedNotices:
        """The cursors that members get now."""
        cursors = self._undelivered_cursors
        if cursors:
            self._undelivered_cursors = {}
            members = self._members
            for user in [user for user in cursors if user not in members]:
                cursor = cursors.pop(user)
                if self._fanout.has(user):
                    self._withheld[user] = cursor
            self._cursors.update(cursors)
            self.version += 1
        return cursors

    def _collect(self) -> None:
        """Put the undelivered notices into the outbox, unless there is no roster yet."""
        if not self._has_roster:
            return
        for user, (frame, ingress_us) in self._take_undelivered().items():
            self._fanout.collect(Item(frame, _CURSOR, ingress_us), not_to=user)
        typing, self._undelivered_typing = self._undelivered_typing, {}
        for user, (frame, ingress_us) in typing.items():
            if user in self._members:
                self._fanout.collect(Item(frame, _TYPING, ingress_us), not_to=user)

    # --- anti-entropy between gateways --------------------------------------------------------------------

    def sync_neighbours(self) -> None:
        """Another gateway has begun to host the room: send it all notices of local members, and request its cursors.

        This happens again a little later, because NATS may not know its subscription yet. The gateway may also be one
        that was taken for dead. Batches that it sent before its members were back in the roster were dropped.
        """
        self._exchange.exchange_soon()
        self._send_all()

    def beat(self) -> None:
        """Call it every second."""
        self._expire_typing()
        actions = self._exchange.beat(self._members)
        if actions.send_all:
            self._send_all()
        if actions.repeat_moved:
            self._repeat_moved()
        if actions.request and self._neighbours:
            self._publish_notices(_CURSOR, 0, [])

    def invalidate(self) -> None:
        """Batches may have been lost in both directions, since NATS keeps none for a gateway that it cannot reach.

        So this gateway soon sends its cursors and requests those of the others with an empty batch. It does so more
        than once, because either side may not have the members of the other in its roster yet.
        """
        self.recall_cursors()
        self._exchange.exchange_soon()

    def _send_all(self) -> None:
        if not self._neighbours:
            return
        cursors = list(self._newest_cursors(self._fanout.users))
        typing = [(user, encode_typing(user, is_typing=True)) for user in self._fanout.users if user in self._typing]
        for kind, notices in ((_CURSOR, cursors), (_TYPING, typing)):
            if notices:
                self._publish_notices(kind, 0, notices)

    def _repeat_moved(self) -> None:
        """Send the cursors of users who moved here last to other gateways."""
        for user in [user for user in self._moved_here if not self._moved_here_last(user)]:
            del self._moved_here[user]
        if not self._moved_here or not self._neighbours:
            return
        notices = [
            (user, payload_of(frame)) for user, (frame, _) in self._moved_here.items() if user not in self._neighbours
        ]
        if notices:
            self._publish_notices(_CURSOR, 0, notices)
        for user, (frame, moved_us) in self._moved_here.items():
            if user in self._neighbours:  # the user may also move on another gateway, and the later move counts
                self._publish_notices(_CURSOR, repeated_at(moved_us), [(user, payload_of(frame))])

    def _moved_here_last(self, user: UserId) -> bool:
        cursor = self._moved_here.get(user)
        return cursor is not None and self._newest_of(user) is cursor and self._fanout.has(user)

    def _moved_here_since(self, user: UserId, moved_us: int) -> bool:
        return self._moved_here_last(user) and self._moved_here[user][1] >= moved_us

    def _publish_notices(self, kind: Kind, ingress_us: int, notices: list[tuple[UserId, bytes]]) -> None:
        self._publish(self._subjects[kind], encode_batch(ingress_us, notices))

    # --- batches from other gateways ----------------------------------------------------------------------

    def receive(self, kind: Kind, data: bytes) -> None:  # noqa: C901 - one case for each way a notice may be outdated
        """Take a batch of another gateway. An empty batch requests the notices of local members."""
        try:
            stamp, notices = decode_batch(data)
        except MalformedBatch as error:
            log.error("malformed batch of notices", kind=kind, error=str(error))
            return
        ingress_us, moved_us = parse_stamp(stamp)
        here = self._fanout.users
        if not notices:
            self._exchange.answer_soon()
        elif ingress_us:
            self._exchange.received(ingress_us)
        for user, ready in notices:
            if self._has_roster and user not in self._members:
                self._exchange.dropped(user)
                self._metrics.dropped.labels(lane="ephemeral", reason="not_in_roster").inc()
            elif user in here and user not in self._neighbours:
                continue  # this gateway sent it on an earlier connection, and a frozen server delivers it only now
            elif kind is _CURSOR:
                if not ingress_us and (self._is_known(user, ready) or self._moved_here_since(user, moved_us)):
                    continue  # a repetition that is known, or older than a move on this gateway
                self._undelivered_cursors[user] = (text_frame(ready), ingress_us)
            else:
                is_typing = ready.endswith(_IS_TYPING)
                is_repeated = not ingress_us and is_typing and user in self._typing
                self._set_typing(user, is_typing=is_typing, expires_seconds=_REMOTE_TYPING_SECONDS)
                self._typing_here.discard(user)
                if not is_repeated:
                    self._undelivered_typing[user] = (text_frame(ready), ingress_us)
        if kind is _CURSOR:
            self._metrics.traffic.crossed_deliveries += len(notices) * len(self._fanout) * (ingress_us > 0)
        else:
            self._collect()  # the member may be about to leave
        self._request_flush()

    # --- newest cursors -----------------------------------------------------------------------------------

    def _is_known(self, user: UserId, ready: bytes) -> bool:
        known = self._newest_of(user)
        return known is not None and payload_of(known[0]) == ready

    def _newest_of(self, user: UserId) -> tuple[bytes, int] | None:
        """The newest cursor, delivered or not, framed, with its ingress time."""
        return self._undelivered_cursors.get(user) or self._cursors.get(user)

    def cursors(self) -> Iterator[tuple[UserId, bytes]]:
        """The members with a delivered cursor, with that as `CursorPosition` JSON."""
        return ((user, cursor_of(payload_of(frame))) for user, (frame, _) in self._cursors.items())

    def learn_cursor(self, user: UserId, position: CursorPosition) -> None:
        """Take a cursor from presence, unless another gateway or a client has sent one.

        The cursor may be old, from a replica that missed digests, so this also requests it from the user's gateway.
        """
        if self._newest_of(user) is None:
            self._undelivered_cursors[user] = (text_frame(encode_cursor(user, position)), 0)
            if user in self._neighbours:
                self._exchange.request_soon()

    def rejoined(self, user: UserId) -> None:
        """The user is in the roster. If presence had lost the user for a while, send everybody the cursor again."""
        withheld = self._withheld.pop(user, None)
        if withheld is not None and self._fanout.has(user) and user not in self._unflushed_cursors:
            self.move_cursor(user, *withheld)

    def forget(self, user: UserId) -> None:
        """The user has left the room, or presence has lost the user, who is still connected here."""
        newest = self._unflushed_cursors.get(user) or self._newest_of(user)
        if newest is not None and self._fanout.has(user):
            self._withheld[user] = newest
        self._cursors.pop(user, None)
        self.version += 1
        self._moved.discard(user)
        self._recalled.discard(user)
        self._typing.pop(user, None)
        self._typing_here.discard(user)
        for notices in (
            self._unflushed_cursors,
            self._unflushed_typing,
            self._undelivered_cursors,
            self._undelivered_typing,
            self._moved_here,
        ):
            notices.pop(user, None)

    def newest(self, user: UserId, typists: Iterable[UserId]) -> list[Item]:
        """For a member that missed notices: the cursors of all others, and whether each of `typists` is typing."""
        cursors = [Item(frame, Kind.CURSOR) for other, (frame, _) in self._cursors.items() if other != user]
        typing = [
            Item(text_frame(encode_typing(other, is_typing=other in self._typing)), Kind.TYPING)
            for other in typists
            if other != user and other in self._members
        ]
        return cursors + typing

    def _expire_typing(self) -> None:
        """End the typing of users whose notice has not been renewed in time."""
        now = time.monotonic()
        for user in [user for user, expires in self._typing.items() if expires <= now]:
            if self._fanout.has(user):
                self.type(user, is_typing=False, ingress_us=0)
            else:
                del self._typing[user]  # the user's own gateway would have ended it, so that gateway is gone
                self._fanout.send(Item(text_frame(encode_typing(user, is_typing=False)), Kind.TYPING), not_to=user)

    def _set_typing(self, user: UserId, *, is_typing: bool, expires_seconds: float) -> None:
        if is_typing:
            self._typing[user] = time.monotonic() + expires_seconds
        else:
            self._typing.pop(user, None)

    def recall_cursors(self) -> None:
        """Presence may have lost cursors: let `take_moved` return those of all local members."""
        self._recalled.update(user for user in self._fanout.users if user in self._cursors)

    def take_moved(self) -> list[tuple[UserId, bytes]]:
        """The cursors of local members that moved or were recalled since the last call, as `CursorPosition` JSON."""
        if self._moved:
            for user in self._moved:
                if (newest := self._newest_of(user)) is not None:
                    self._moved_here[user] = newest
            self._exchange.moved()
        moved, self._moved, self._recalled = self._moved | self._recalled, set(), set()
        return [(user, cursor_of(ready)) for user, ready in self._newest_cursors(moved)]

    def _newest_cursors(self, users: Iterable[UserId]) -> Iterator[tuple[UserId, bytes]]:
        for user in users:
            if (known := self._newest_of(user)) is not None:
                yield user, payload_of(known[0])
