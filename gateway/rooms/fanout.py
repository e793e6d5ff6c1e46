"""The local members of one room, and the writes to them.

Nothing here awaits. A frame is encoded once and collected in the outbox, and each member gets one write per flush. A
gateway spends most of its time here, so the loops over members in `Fanout.flush` and `Fanout.send_cursors` do as little
as possible.
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
    """How long a room rests after a flush, so that more frames go with the next one.

    Eight times as long as the flush took, but at most until 44 ms after its start, which nobody notices. At least three
    times as long, so that one room takes no more than a quarter of the event loop.
    """
    long_rest = min(_LONG_REST_FACTOR * flush_seconds, _LONG_PERIOD_SECONDS - flush_seconds)
    return max(_REST_FACTOR * flush_seconds, long_rest)


class Writable(Protocol):
    @property
    def write(self) -> Callable[[bytes], None]:
        """Takes encoded frames. Must not raise, and does nothing after the socket began to close."""


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


Cursor = tuple[bytes, int]
"""A framed `CursorUpdate`, and when the author's gateway read it (Unix microseconds)."""
Newest = Callable[[UserId, set[UserId]], list[Item]]
"""The notices that bring a user up to date who missed cursors, and typing notices of these users."""
_Joined = dict[tuple[int, bool, UserId | None], tuple[list[Item], bytes]]
"""Joined frames, by the number of frames to skip, whether only essential ones, and the author who gets none of its
own."""


class Fanout:
    def __init__(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics
        self._recipients: dict[Recipient, UserId] = {}
        self._by_user: dict[UserId, list[Recipient]] = {}
        self._newcomers: dict[Recipient, int] = {}
        """Members since the last flush, each with the number of frames that were in the outbox before."""
        self._lagging: dict[Recipient, set[UserId]] = {}
        """Slow consumers, which get no ephemeral frames, each with the users whose typing notices they missed."""
        self._outbox = Outbox()
        self._flush_handle: asyncio.Handle | None = None
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
        if self._recipients:
            self._outbox.add(item, not_to=not_to)
            self._flush_soon()

    def send_now(self, items: Iterable[tuple[UserId, Item]]) -> None:
        """Send each item to all but its author, at once unless the room rests."""
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
        """`send_now` for cursors of several authors. Most of a gateway's traffic are cursors."""
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
        if self._flush_handle is None:
            rest = self._rest_until - time.perf_counter()
            loop = asyncio.get_running_loop()
            self._flush_handle = loop.call_soon(self.flush) if rest <= 0 else loop.call_later(rest, self.flush)

    # --- slow consumers -----------------------------------------------------------------------------------

    def lag(self, recipient: Recipient) -> None:
        """Send the recipient no ephemeral frames until it catches up."""
        if recipient in self._recipients:
            self._lagging.setdefault(recipient, set())

    def catch_up(self, recipient: Recipient, newest: Newest) -> None:
        """The recipient has caught up. Send it the newest of what it missed."""
        typists = self._lagging.pop(recipient, None)
        if typists is None:
            return
        items = newest(recipient.user, typists)
        if items:
            recipient.deliver(b"".join([item.frame for item in items]))
            self._metrics.count_sent(items, 1)

    # --- flush --------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write the frames in the outbox, once to each member."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
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
        """Members that get only a part of the batch, each with the number of frames to skip."""
        if not self._newcomers and not self._lagging:
            return {}
        newcomers, self._newcomers = self._newcomers, {}
        return {**dict.fromkeys(self._lagging, 0), **newcomers}

    def _write_special(self, recipient: Recipient, since: int, batch: Batch, joined: _Joined) -> None:
        """`joined`: the frames written to others in this flush. Members that need the same frames share them."""
        if recipient not in self._recipients:
            return
        typists = self._lagging.get(recipient)
        key = since, typists is not None, recipient.user if recipient.user in batch.own else None
        if key not in joined:
            items = batch.select(recipient.user, since=since, essential_only=typists is not None)
            joined[key] = items, b"".join([item.frame for item in items])
        items, frames = joined[key]
        if typists is not None:
            typists.update(user for user, own in batch.own.items() if any(_is_typing(batch.items[i]) for i in own))
            skipped = sum(item.kind in EPHEMERAL for item in batch.items)
            self._metrics.dropped.labels(lane="ephemeral", reason="slow_consumer").inc(skipped)
        if items:
            recipient.deliver(frames)
            self._metrics.count_sent(items, 1)


def _is_typing(item: Item) -> bool:
    return item.kind is Kind.TYPING
