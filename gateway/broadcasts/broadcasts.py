"""The broadcast events of one room: from local members to all others, and from other gateways to local members.

Events are ephemeral: nothing stores them, and a message between gateways may be lost. But members get the events of a
sender in order, none twice, and only between its `UserJoined` and its `UserLeft`.
"""

from collections.abc import Callable, KeysView
from itertools import count
from typing import Protocol

from studyroom.gateway.broadcasts.waiting import WAITING_MAX_BYTES, Event, Waiting, event_of
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.wire.framing import payload_of
from studyroom.gateway.wire.items import Item, Kind
from studyroom.shared.chassis import logs
from studyroom.shared.contract import subjects
from studyroom.shared.contract.broadcasts import BroadcastBatch, decode_broadcasts
from studyroom.shared.contract.ephemeral import MalformedBatch
from studyroom.shared.contract.ids import GatewayId, RoomId, UserId

log = logs.get(__name__)

_EARLY_BEATS = 10
"""How long events wait for the join of their sender. The join travels by another way, which may take longer."""
_GATEWAYS_REMEMBERED = 256
_numbers = count(1)
"""The numbers of batches grow for as long as the process has its gateway id, also if a room comes and goes."""


class Outlet(Protocol):
    """The part of the fan-out that takes events."""

    def collect(self, item: Item, *, not_to: UserId | None = None) -> None:
        """Send to all local members but `not_to` with the next flush."""


class Membership(Protocol):
    """The room's roster, as far as events need it."""

    @property
    def members(self) -> KeysView[UserId]: ...
    def has_left(self, user: UserId, revision: int) -> bool:
        """Whether a user who is not in the roster has left it after that revision, or at it."""


class Changes(Protocol):
    """The changes of the roster."""

    @property
    def revision(self) -> int:
        """The sequence up to which the roster has all changes."""


class Broadcasts:
    def __init__(
        self,
        room: RoomId,
        gateway: GatewayId,
        outlet: Outlet,
        publish: Callable[[str, bytes], None],
        request_flush: Callable[[Callable[[], None]], None],
        metrics: GatewayMetrics,
        roster: Membership,
        changes: Changes,
    ) -> None:
        """`request_flush`: makes the room call a function, soon or later, before it sends."""
        self._gateway = gateway
        self._outlet = outlet
        self._publish = publish
        self._subject = subjects.room_broadcast(room)
        self._request_flush = request_flush
        self._metrics = metrics
        self._roster = roster
        self._changes = changes
        self._waiting = Waiting()
        """Events that the next flush sends."""
        self._early: dict[UserId, tuple[int, Waiting]] = {}
        """Events of users who are not in the roster yet, with the beat at which they are dropped."""
        self._beat = 0
        self._newest: dict[GatewayId, int] = {}
        """The number of the newest batch of each other gateway."""

    def send(self, message: bytes, ingress_us: int) -> None:
        """Send the client-ready event of a local member to the others."""
        self._take(event_of(message, ingress_us, is_local=True))

    def flush(self) -> None:
        """Publish the events of local members, and put all that wait into the outbox."""
        if not self._waiting:
            return
        events = self._waiting.take()
        local = [event for event in events if event.is_local]
        # Also if no other gateway is known to host the room: a member may have joined there a moment ago.
        if local:
            oldest = min(event.ingress_us for event in local)
            messages = [payload_of(event.frame) for event in local]
            batch = BroadcastBatch(oldest, next(_numbers), self._changes.revision, self._gateway, messages)
            self._publish(self._subject, batch.encode())
        for event in events:
            self._outlet.collect(event.item, not_to=event.sender)

    def receive(self, data: bytes) -> None:
        """Take a batch of another gateway.

        A frozen server may deliver a batch late, after newer ones of the same gateway, or one that this gateway itself
        has sent on an earlier connection.
        """
        try:
            batch = decode_broadcasts(data)
        except MalformedBatch as error:
            log.error("malformed batch of events", error=str(error))
            return
        if not self._is_in_order(batch):
            self._drop("out_of_order", len(batch.messages))
            return
        for message in batch.messages:
            event = event_of(message, batch.ingress_us)
            if event.sender in self._roster.members or not self._roster.has_left(event.sender, batch.revision):
                self._take(event)
            else:
                self._drop("not_in_roster", 1)

    def _is_in_order(self, batch: BroadcastBatch) -> bool:
        """Parts of one batch have the same number."""
        newest = self._newest.pop(batch.gateway, 0)
        self._newest[batch.gateway] = max(newest, batch.number)
        if len(self._newest) > _GATEWAYS_REMEMBERED:
            del self._newest[next(iter(self._newest))]
        return batch.gateway != self._gateway and batch.number >= newest

    def joined(self, user: UserId) -> None:
        """Local members get the `UserJoined` of this user. Send the events that came before it."""
        _, early = self._early.pop(user, (0, None))
        for event in early.take() if early is not None else ():
            self._take(event)

    def left(self, user: UserId) -> None:
        """Local members are about to get the `UserLeft` of this user."""
        self.flush()
        _, early = self._early.pop(user, (0, None))
        self._drop("not_in_roster", len(early) if early is not None else 0)

    def beat(self) -> None:
        """Call it every second."""
        self._beat += 1
        for user in [user for user, (expires, _) in self._early.items() if expires <= self._beat]:
            _, early = self._early.pop(user)
            self._drop("not_in_roster", len(early))

    def _take(self, event: Event) -> None:
        if event.sender in self._roster.members:
            if self._waiting.add(event):
                self._metrics.traffic.conflated[Kind.BROADCAST] += 1
            self._request_flush(self.flush)
            return
        _, early = self._early.setdefault(event.sender, (self._beat + _EARLY_BEATS, Waiting(WAITING_MAX_BYTES)))
        early.add(event)
        self._drop("not_in_roster", early.trim())

    def _drop(self, reason: str, events: int) -> None:
        self._metrics.dropped.labels(lane="ephemeral", reason=reason).inc(events)
