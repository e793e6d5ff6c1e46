"""Cursors and typing of one room: the newest of each member, sent in batches.

What own members do is kept until the room's turn, newest per user, and then goes to the other members here and, in one
message, to the other gateways of the room. What comes from other gateways is client-ready.
"""

import time
from collections.abc import Callable, Iterable, Iterator, KeysView

from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.fanout import Fanout
from studyroom.gateway.rooms.flush_scheduler import NEVER, FlushScheduler
from studyroom.gateway.rooms.neighbours import LostBatches, Neighbours
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
"""Longer, so that the gateway of who types speaks first."""
_IS_TYPING = b"true}}"
Publish = Callable[[str, bytes], None]
Due = dict[UserId, tuple[bytes, int]]
"""The newest notice of each member, framed for clients, with its ingress."""
_CURSOR, _TYPING = Kind.CURSOR, Kind.TYPING


class Cursors:
    def __init__(
        self,
        room: RoomId,
        fanout: Fanout,
        publish: Publish,
        scheduler: FlushScheduler,
        metrics: GatewayMetrics,
        *,
        members: KeysView[UserId],
        neighbours: Neighbours,
    ) -> None:
        """`members`: of the room's roster here, always as it is; nobody is told of anyone else's cursor."""
        self._neighbours = neighbours
        self._fanout = fanout
        self._publish = publish
        self._scheduler = scheduler
        self._metrics = metrics
        self._members = members
        self._subjects = {Kind.CURSOR: subjects.room_cursor(room), Kind.TYPING: subjects.room_typing(room)}
        self._conflated = metrics.traffic.conflated
        self._cursors: Due = {}
        """As members here have been told."""
        self._typing: dict[UserId, float] = {}
        """Who is typing, and when that expires (monotonic seconds)."""
        self._due_cursors: Due = {}
        self._due_typing: Due = {}
        self._new_cursors: Due = {}
        self._new_typing: Due = {}
        """What members here are to be told next, of members on all gateways."""
        self.version = 0
        """Counts up with every change of what `cursor` tells."""
        self._asked = self._knows_members = False
        self._moved: set[UserId] = set()
        """Own members who have moved since presence got their cursors."""
        self._recalled: set[UserId] = set()
        """Own members whose cursors presence may have lost."""
        self._losses = LostBatches()
        self._own: Due = {}
        """Cursors of own members who have moved here, as of the last beat."""
        self._withheld: Due = {}
        """Cursors of own members who are connected, and not in the roster: presence will have them again."""
        self._answers = 0
        """Batches of other gateways since the last delivery."""
        self.flush_at = self.deliver_at = NEVER
        self.flushed_at = 0.0

    # --- own members --------------------------------------------------------------------------------------

    def move_cursor(self, user: UserId, frame: bytes, ingress_us: int) -> None:
        """`frame`: the framed `CursorUpdate`; `ingress_us`: Unix microseconds."""
        due = self._due_cursors
        if user in due:
            self._conflated[_CURSOR] += 1
        due[user] = (frame, ingress_us)
        if not self._asked:
            self._ask()

    def type(self, user: UserId, *, is_typing: bool, ingress_us: int) -> None:
        self._note_typing(user, is_typing=is_typing, expires_seconds=_OWN_TYPING_SECONDS)
        if user in self._due_typing:
            self._conflated[_TYPING] += 1
        self._due_typing[user] = (text_frame(encode_typing(user, is_typing=is_typing)), ingress_us)
        if not self._asked:
            self._ask()

    def left(self, user: UserId) -> None:
        """The own member has no connection here any more: end its typing at once, before others learn that it left."""
        self._withheld.pop(user, None)
        if user in self._typing:
            self.type(user, is_typing=False, ingress_us=0)
            self.flush()
            self.deliver()

    def _ask(self) -> None:
        self._asked = True
        self._scheduler.ask(self)

    def flush(self) -> None:
        """Send what is due: to other gateways at once, to the members here with what those gateways send."""
        self._asked = False
        if self._due_cursors:
            due, self._due_cursors = self._due_cursors, {}
            self._moved.update(due)
            self._send(_CURSOR, due)
            if self._new_cursors:
                self._new_cursors.update(due)
            else:
                self._new_cursors = due
        if self._due_typing:
            due, self._due_typing = self._due_typing, {}
            self._send(_TYPING, due)
            self._new_typing.update(due)
        self._deliver_when_answered()

    def _send(self, kind: Kind, due: Due) -> None:
        if self._neighbours:
            oldest = min([ingress_us for _, ingress_us in due.values()])
            self._publish_notices(kind, oldest, [(user, payload_of(frame)) for user, (frame, _) in due.items()])

    def members_known(self) -> None:
        """The room has its first roster: what was heard before can be told."""
        if not self._knows_members:
            self._knows_members = True
            self.deliver()

    def _deliver_when_answered(self) -> None:
        if not self._knows_members:
            return
        if self._answers >= len(self._neighbours):
            self.deliver()
        else:
            self._scheduler.ask_delivery(self)

    def deliver(self) -> None:
        """Tell the members here what is new."""
        self._answers = 0
        self.deliver_at = NEVER
        if self._new_cursors:
            cursors, self._new_cursors = self._new_cursors, {}
            for stranger in cursors.keys() - self._members:
                cursor = cursors.pop(stranger)
                if self._fanout.has(stranger):
                    self._withheld[stranger] = cursor
            self._cursors.update(cursors)
            self.version += 1
            self._fanout.send_cursors(cursors)
        if self._new_typing:
            typing, self._new_typing = self._new_typing, {}
            self._fanout.send_now(
                (user, Item(frame, _TYPING, ingress_us))
                for user, (frame, ingress_us) in typing.items()
                if user in self._members
            )

    def sync_neighbours(self) -> None:
        """A gateway has begun to host the room: it is told how it stands with the members here.

        And again a little later, since our server may not know yet that it listens. It may also be one that was taken
        for dead. What it sent before its members were in the roster again was dropped, so it is asked for its cursors.
        """
        self._losses.exchange_soon()
        self._send_all()

    def beat(self) -> None:
        """To be called every second."""
        self._expire_typing()
        due = self._losses.beat(self._members)
        if due.send_all:
            self._send_all()
        if due.repeat_own:
            self._repeat_own()
        if due.ask and self._neighbours:
            self._publish_notices(_CURSOR, 0, [])

    def invalidate(self) -> None:
        """Notices may have been lost, in both directions: nothing is kept for who cannot be reached.

        Soon the others get our cursors, and an empty batch asks them for theirs. Both happen more than once, since they
        may not have our members in their rosters yet, nor we theirs.
        """
        self.recall_cursors()
        self._losses.exchange_soon()

    def _send_all(self) -> None:
        if not self._neighbours:
            return
        cursors = list(self._newest_cursors(self._fanout.users))
        typing = [(user, encode_typing(user, is_typing=True)) for user in self._fanout.users if user in self._typing]
        for kind, notices in ((_CURSOR, cursors), (_TYPING, typing)):
            if notices:
                self._publish_notices(kind, 0, notices)

    def _repeat_own(self) -> None:
        """Send other gateways the cursors of those who moved here last."""
        for user in [user for user in self._own if not self._moved_here_last(user)]:
            del self._own[user]
        if not self._own or not self._neighbours:
            return
        notices = [(user, payload_of(frame)) for user, (frame, _) in self._own.items() if user not in self._neighbours]
        if notices:
            self._publish_notices(_CURSOR, 0, notices)
        for user, (frame, moved_us) in self._own.items():
            if user in self._neighbours:  # it may have moved elsewhere too: the time decides
                self._publish_notices(_CURSOR, repeated_at(moved_us), [(user, payload_of(frame))])

    def _moved_here_last(self, user: UserId) -> bool:
        own = self._own.get(user)
        return own is not None and self._newest_of(user) is own and self._fanout.has(user)

    def _moved_here_since(self, user: UserId, moved_us: int) -> bool:
        return self._moved_here_last(user) and self._own[user][1] >= moved_us

    def _publish_notices(self, kind: Kind, ingress_us: int, notices: list[tuple[UserId, bytes]]) -> None:
        self._publish(self._subjects[kind], encode_batch(ingress_us, notices))

    def receive(self, kind: Kind, data: bytes) -> None:  # noqa: C901 - one case for each way a notice may be old news
        """A batch of another gateway."""
        try:
            stamp, notices = decode_batch(data)
        except MalformedBatch as error:
            log.error("a batch of notices is not ours", kind=kind, error=str(error))
            return
        ingress_us, moved_us = parse_stamp(stamp)
        here = self._fanout.users
        if not notices:
            self._losses.answer_soon()
        elif ingress_us:
            self._losses.received(ingress_us)
        for user, ready in notices:
            if self._knows_members and user not in self._members:
                self._losses.dropped(user)
                self._metrics.dropped.labels(lane="ephemeral", reason="not_in_roster").inc()
            elif user in here and user not in self._neighbours:
                continue  # from an earlier connection of this gateway: a server that was frozen delivers it now
            elif kind is _CURSOR:
                if not ingress_us and (self._is_known(user, ready) or self._moved_here_since(user, moved_us)):
                    continue  # repeated, and was not missed; or it has moved here since
                self._new_cursors[user] = (text_frame(ready), ingress_us)
            else:
                is_typing = ready.endswith(_IS_TYPING)
                is_repeated = not ingress_us and is_typing and user in self._typing
                self._note_typing(user, is_typing=is_typing, expires_seconds=_REMOTE_TYPING_SECONDS)
                if not is_repeated:
                    self._new_typing[user] = (text_frame(ready), ingress_us)
        if kind is _TYPING and self._knows_members:
            self.deliver()  # rare, and its member may be about to leave
            return
        self._answers += 1
        self._scheduler.join(self)
        if self._new_cursors:
            self._deliver_when_answered()

    def _is_known(self, user: UserId, ready: bytes) -> bool:
        known = self._newest_of(user)
        return known is not None and payload_of(known[0]) == ready

    def _newest_of(self, user: UserId) -> tuple[bytes, int] | None:
        """The newest cursor, which members here may not have been told yet, framed, with its ingress."""
        return self._new_cursors.get(user) or self._cursors.get(user)

    def cursor(self, user: UserId) -> bytes | None:
        """The `CursorPosition` JSON that members here have been told."""
        known = self._cursors.get(user)
        return None if known is None else cursor_of(payload_of(known[0]))

    def learn_cursor(self, user: UserId, position: CursorPosition) -> None:
        """Presence knows a cursor; what was heard directly is newer.

        It may be an old one, from a replica that missed digests. So the gateway of the user is asked too.
        """
        if user not in self._cursors:
            self._cursors[user] = (text_frame(encode_cursor(user, position)), 0)
            self.version += 1
            if user in self._neighbours:
                self._losses.ask_soon()

    def rejoined(self, user: UserId) -> None:
        """The user is in the roster. If presence had lost the user for a while, everybody gets the cursor again."""
        withheld = self._withheld.pop(user, None)
        if withheld is not None and self._fanout.has(user) and user not in self._due_cursors:
            self.move_cursor(user, *withheld)

    def forget(self, user: UserId) -> None:
        """The user has left the room, or is taken for gone while connected here."""
        newest = self._due_cursors.get(user) or self._newest_of(user)
        if newest is not None and self._fanout.has(user):
            self._withheld[user] = newest
        self._cursors.pop(user, None)
        self.version += 1
        self._moved.discard(user)
        self._recalled.discard(user)
        self._typing.pop(user, None)
        for notices in (self._due_cursors, self._due_typing, self._new_cursors, self._new_typing, self._own):
            notices.pop(user, None)

    def newest(self, user: UserId, typists: Iterable[UserId]) -> list[Item]:
        """For a member that missed notices: every other member's cursor, and how it stands with `typists`."""
        cursors = [Item(frame, Kind.CURSOR) for other, (frame, _) in self._cursors.items() if other != user]
        typing = [
            Item(text_frame(encode_typing(other, is_typing=other in self._typing)), Kind.TYPING)
            for other in typists
            if other != user and other in self._members
        ]
        return cursors + typing

    def _expire_typing(self) -> None:
        """Whoever has not said for a while that they are still typing has stopped."""
        now = time.monotonic()
        for user in [user for user, expires in self._typing.items() if expires <= now]:
            if self._fanout.has(user):
                self.type(user, is_typing=False, ingress_us=0)
            else:
                del self._typing[user]  # its own gateway would have said so, and is gone
                self._fanout.send(Item(text_frame(encode_typing(user, is_typing=False)), Kind.TYPING), not_to=user)

    def _note_typing(self, user: UserId, *, is_typing: bool, expires_seconds: float) -> None:
        if is_typing:
            self._typing[user] = time.monotonic() + expires_seconds
        else:
            self._typing.pop(user, None)

    def recall_cursors(self) -> None:
        """Presence may not have them: take all cursors of own members as moved."""
        self._recalled.update(user for user in self._fanout.users if user in self._cursors)

    def take_moved(self) -> list[tuple[UserId, bytes]]:
        """Cursors of own members that moved or were recalled since the last call, as `CursorPosition` JSON."""
        if self._moved:
            for user in self._moved:
                if (newest := self._newest_of(user)) is not None:
                    self._own[user] = newest
            self._losses.moved()
        moved, self._moved, self._recalled = self._moved | self._recalled, set(), set()
        return [(user, cursor_of(ready)) for user, ready in self._newest_cursors(moved)]

    def _newest_cursors(self, users: Iterable[UserId]) -> Iterator[tuple[UserId, bytes]]:
        for user in users:
            if (known := self._newest_of(user)) is not None:
                yield user, payload_of(known[0])
