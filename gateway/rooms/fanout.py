"""The members of one room on this gateway, and what is written to them.

Nothing here awaits. A frame is encoded once, collected in the outbox, and each member gets one write per flush. This is
where most of a gateway's time goes: what is done once per member is spelled out in `Fanout.flush`, in as few steps as
there are.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping
from typing import Protocol

from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.outbox import Batch, Outbox
from studyroom.gateway.wire.items import EPHEMERAL, Item, Kind
from studyroom.shared.contract.ids import ConnectionId, MembershipId, UserId
from studyroom.shared.contract.presence import Profile

_LONG_REST_FACTOR, _LONG_PERIOD_SECONDS = 8.0, 0.044
_REST_FACTOR = 3.0


def rest_seconds(flush_seconds: float) -> float:
    """How long a room rests after a flush, so that more is collected for the next one.

    Eight times as long as the flush took while nobody could see that, which is when the next one begins within 44 ms;
    never less than three times, so that one room takes no more than a quarter of the loop.
    """
    long_rest = min(_LONG_REST_FACTOR * flush_seconds, _LONG_PERIOD_SECONDS - flush_seconds)
    return max(_REST_FACTOR * flush_seconds, long_rest)


class Writable(Protocol):
    @property
    def write(self) -> Callable[[bytes], None]:
        """Encoded frames. Must not raise, and does nothing once the socket is closing."""


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
        """Of its being in this room."""

    @property
    def lagging(self) -> bool:
        """It reads more slowly than it is written to."""

    def deliver(self, frames: bytes) -> None:
        """Must not raise. Whoever leaves too much unread is dealt with there."""


Cursor = tuple[bytes, int]
"""A framed `CursorUpdate`, and when its gateway read it from its author (Unix microseconds)."""
Newest = Callable[[UserId, set[UserId]], list[Item]]
"""What a user has missed who got no notices for a while, and none of the typing of these users."""
_Joined = dict[tuple[int, bool, UserId | None], tuple[list[Item], bytes]]
"""Frames by the place they begin at, whether only essential ones are due, and the author who does not get its own."""


class Fanout:
    def __init__(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics
        self._recipients: dict[Recipient, UserId] = {}
        self._by_user: dict[UserId, list[Recipient]] = {}
        self._newcomers: dict[Recipient, int] = {}
        """Members since the last flush, with the number of frames that were waiting before them."""
        self._lagging: dict[Recipient, set[UserId]] = {}
        """Members that go without ephemeral frames, and whose typing notices they have missed."""
        self._outbox = Outbox()
        self._flush_due: asyncio.Handle | None = None
        self._rest_until = 0.0

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
        """Write `welcome`; from now on the recipient gets all that is said."""
        if recipient in self._recipients:
            # It joined again: what waits for it belongs before the new roster.
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
        """Nothing reaches the recipient any more. False when it was not here."""
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
        """To everyone but `not_to`, soon."""
        if self._recipients:
            self._outbox.add(item, not_to=not_to)
            self._flush_soon()

    def send_now(self, items: Iterable[tuple[UserId, Item]]) -> None:
        """To everyone but each item's author, in this turn of the loop unless the room rests."""
        if not self._recipients:
            return
        add = self._outbox.add
        for author, item in items:
            add(item, not_to=author)
        if self._rest_until <= time.perf_counter():
            self.flush()
        else:
            self._flush_soon()

    def send_cursors(self, cursors: Mapping[UserId, Cursor]) -> None:
        """The same for cursors of several authors, which is most of what is ever said."""
        if not cursors or not self._recipients:
            return
        began = time.perf_counter()
        if len(self._outbox) or self._newcomers or self._lagging or self._rest_until > began:
            self.send_now(
                (author, Item(frame, Kind.CURSOR, ingress_us)) for author, (frame, ingress_us) in cursors.items()
            )
            return
        everything = b"".join([frame for frame, _ in cursors.values()])
        spans, start = {}, 0
        for author, (frame, _) in cursors.items():
            spans[author] = start, (start := start + len(frame))
        span_of = spans.get
        not_sent = not_sent_bytes = 0
        recipients = list(self._recipients.items())
        for recipient, user in recipients:
            own = span_of(user)
            if own is None:
                recipient.socket.write(everything)
            else:
                first, end = own
                not_sent += 1
                not_sent_bytes += end - first
                if len(spans) > 1:
                    recipient.socket.write(everything[:first] + everything[end:])
        self._metrics.traffic.sent_bytes += len(everything) * len(recipients) - not_sent_bytes
        self._metrics.count_cursors(cursors.values(), len(recipients), not_sent)
        ended = time.perf_counter()
        self._rest_until = ended + rest_seconds(ended - began)

    def _flush_soon(self) -> None:
        if self._flush_due is None:
            rest = self._rest_until - time.perf_counter()
            loop = asyncio.get_running_loop()
            self._flush_due = loop.call_soon(self.flush) if rest <= 0 else loop.call_later(rest, self.flush)

    # --- slow members -------------------------------------------------------------------------------------

    def lag(self, recipient: Recipient) -> None:
        """The recipient goes without ephemeral frames until it has caught up."""
        if recipient in self._recipients:
            self._lagging.setdefault(recipient, set())

    def catch_up(self, recipient: Recipient, newest: Newest) -> None:
        """The recipient reads again, and gets what it needs to know of what it missed."""
        typists = self._lagging.pop(recipient, None)
        if typists is None:
            return
        items = newest(recipient.user, typists)
        if items:
            recipient.deliver(b"".join([item.frame for item in items]))
            self._metrics.count_sent(items, 1)

    # --- flush --------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what waits, once to each member."""
        if self._flush_due is not None:
            self._flush_due.cancel()
            self._flush_due = None
        if not len(self._outbox):
            return
        began = time.perf_counter()
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
                recipient.socket.write(everything)
            else:
                frames = without_own(indexes)
                if frames:
                    recipient.socket.write(frames)
                not_sent += indexes
                sent_bytes += len(frames) - len(everything)
        self._metrics.traffic.sent_bytes += sent_bytes
        self._metrics.count_flush(batch.items, len(recipients) - len(special), not_sent)
        joined: _Joined = {}
        for recipient in special:
            self._write_special(recipient, special[recipient], batch, joined)
        ended = time.perf_counter()
        self._rest_until = ended + rest_seconds(ended - began)

    def _take_special(self) -> dict[Recipient, int]:
        """Members that do not get the whole batch, and from where in it."""
        if not self._newcomers and not self._lagging:
            return {}
        newcomers, self._newcomers = self._newcomers, {}
        return {**dict.fromkeys(self._lagging, 0), **newcomers}

    def _write_special(self, recipient: Recipient, since: int, batch: Batch, joined: _Joined) -> None:
        """`joined`: what others were written in this flush, so that those who are due the same share it."""
        if recipient not in self._recipients:
            return
        typists = self._lagging.get(recipient)
        due = since, typists is not None, recipient.user if recipient.user in batch.own else None
        if due not in joined:
            items = batch.select(recipient.user, since=since, essential_only=typists is not None)
            joined[due] = items, b"".join([item.frame for item in items])
        items, frames = joined[due]
        if typists is not None:
            typists.update(user for user, own in batch.own.items() if any(_is_typing(batch.items[i]) for i in own))
            skipped = sum(item.kind in EPHEMERAL for item in batch.items)
            self._metrics.dropped.labels(lane="ephemeral", reason="slow_consumer").inc(skipped)
        if items:
            recipient.deliver(frames)
            self._metrics.count_sent(items, 1)


def _is_typing(item: Item) -> bool:
    return item.kind is Kind.TYPING
