"""One hosted room: its roster, its chat, and its local members, to whom it sends every change.

Only `wait_for_change` awaits.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from pydantic import ValidationError

from studyroom.gateway.broadcasts.broadcasts import Broadcasts
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.change_log import ChangeLog, CommittedChange
from studyroom.gateway.rooms.cursors import Cursors, Publish
from studyroom.gateway.rooms.fanout import Fanout, Recipient, Repairs
from studyroom.gateway.rooms.flush_scheduler import Collection, FlushScheduler
from studyroom.gateway.rooms.history import ChatView, History, Resumption, Stored, Verdict, with_changes
from studyroom.gateway.rooms.neighbours import Neighbours
from studyroom.gateway.rooms.notices import ShownMembers, encode_joined_room, encode_notice
from studyroom.gateway.rooms.roster import Change, Notice, Roster
from studyroom.gateway.wire.framing import text_frame
from studyroom.gateway.wire.items import MESSAGE_TYPES, Item, Kind
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Message
from studyroom.shared.chassis.tracing.spans import Deliveries, Tracer
from studyroom.shared.contract import subjects
from studyroom.shared.contract.custom_presence import difference
from studyroom.shared.contract.headers import INGRESS, LAST_SEQUENCE, SEQUENCE, TIME, TRACEPARENT, is_removal
from studyroom.shared.contract.ids import GatewayId, RoomId, UserId
from studyroom.shared.contract.messages import ChatReset, ChatResetPayload, JoinedRoomPayload, encode
from studyroom.shared.contract.presence import LEASE_SECONDS, Entry, RoomConnection, RoomState, RosterReply

log = logs.get(__name__)


class Room:
    def __init__(
        self,
        room: RoomId,
        gateway: GatewayId,
        publish: Publish,
        scheduler: FlushScheduler,
        metrics: GatewayMetrics,
        chat: ChatView,
        repairs: Repairs,
        tracer: Tracer | None = None,
    ) -> None:
        self.id = room
        self._deliveries = Deliveries(tracer) if tracer is not None else None
        self._gateway = gateway
        self._metrics = metrics
        self._chat = chat
        self._repairs = repairs
        self._roster = Roster()
        self.shown = ShownMembers()
        self._change_log = ChangeLog()
        self.history = History(chat.history_kept)
        self._position_known = False
        """Local members may know a position in the chat."""
        self._positions_of = ""
        """The epoch of presence that positions in the chat are named by (see `_name_positions`)."""
        collection = Collection(scheduler)
        request_flush, flush_with = collection.request_flush, collection.request_flush_with
        self.fanout = Fanout(metrics, request_flush)
        self.neighbours = Neighbours(gateway)
        self.members = self._roster.members
        self.parts = 1
        """Into how many parts with a home of their own the room is divided (see `Spread`)."""
        self.cursors = Cursors(
            room, self.fanout, publish, request_flush, metrics, members=self.members, neighbours=self.neighbours
        )
        flush = self.cursors.flush
        collection.flush = flush if self._deliveries is None else self._deliveries.ended_by(flush)
        self.broadcasts = Broadcasts(
            room, gateway, self.fanout, publish, flush_with, metrics, self._roster, self._change_log
        )
        self.pending_roster: asyncio.Future[None] | None = None
        """Set while a roster is fetched that is newer than the last `invalidate`. Done when the attempt has ended."""
        self._settles_at = 0.0
        """When members of a former epoch are gone if they are not restored (monotonic seconds); 0 if there are none."""
        self._kind_at = len(subjects.room_events(room)) - 1

    # --- members ------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.fanout)

    def __contains__(self, recipient: Recipient) -> bool:
        return recipient in self.fanout

    def admit(self, recipient: Recipient, resumption: Resumption, room_hint: RoomId | None = None) -> None:
        """Send `JoinedRoom` and the chat that belongs to it. `room_hint`: for its next connection, unless it is the id.

        From now on the recipient gets every event that is newer than the roster, and every message after that chat.
        """
        history = self.history
        if resumption.recovered:
            lines = [stored for stored in resumption.missed if history.passed(stored.sequence)]
            lines = with_changes(history.without_deleted(lines + history.after(resumption.since)))
        else:
            lines = self._chat.newest(history)
        payload = JoinedRoomPayload.model_construct(
            room_id=self.id,
            users=[],
            epoch=self.chat_epoch,
            recovered=resumption.recovered,
            history=sum(stored.is_message for stored in lines),
            last_seq=history.position,
            room_hint=room_hint,
        )
        users = self.shown.users(self.cursors.version, self.cursors.cursors)
        frames = [text_frame(encode_joined_room(payload, users))]
        frames += [text_frame(stored.ready) for stored in lines]
        self.fanout.admit(recipient, b"".join(frames))
        self._metrics.traffic.replies_sent["JoinedRoom"] += 1
        self._metrics.traffic.replies_sent.update(MESSAGE_TYPES[stored.kind] for stored in lines)

    def dismiss(self, recipient: Recipient) -> None:
        """Send the recipient no events any more. Does nothing if it is not in the room."""
        if self.fanout.dismiss(recipient) and not self.fanout.has(recipient.user):
            self.broadcasts.flush()  # before others learn that the user has left
            self.cursors.left(recipient.user)
            if recipient.user not in self._roster:
                self.shown.forget(recipient.user)

    def catch_up(self, recipient: Recipient) -> None:
        """A slow consumer has caught up. Send it the newest cursors and the typing notices that it missed."""
        self.fanout.catch_up(recipient, self.cursors.newest)

    # --- the roster and the join barrier ------------------------------------------------------------------

    @property
    def epoch(self) -> str:
        """The epoch of the presence stream; empty before the first roster."""
        return self._roster.epoch

    @property
    def consistent(self) -> bool:
        """The roster is loaded, and no change since then is missing."""
        return self._change_log.consistent

    @property
    def is_stale(self) -> bool:
        """Changes may be missing, and since then no roster was loaded or confirmed."""
        return self._change_log.loaded is None

    def confirm(self, revision: int) -> None:
        """Presence has the same members as of `revision`. Later changes may be missing, so a join needs a roster."""
        self._change_log.confirm(revision)

    @property
    def state(self) -> RoomState:
        return RoomState.model_construct(revision=self._change_log.revision, digest=self._roster.digest)

    def revisions(self) -> Iterator[tuple[UserId, int]]:
        return self._roster.revisions()

    def misses_changes(self, reply: RosterReply) -> bool:
        """Whether a reply without members shows that a change of the room was lost.

        Only rosters as of the same change can be compared, so this returns False while others join and leave.
        """
        last = self._change_log.last
        return 0 < reply.room_revision == last <= reply.revision and reply.room_digest != self._roster.digest

    def knows(self, revision: int) -> bool:
        """Whether the roster includes the change with this revision, unless that was lost silently."""
        return self._change_log.revision >= revision

    def invalidate(self) -> None:
        """Changes may be missing. The roster stays in use until a new one is loaded."""
        self._change_log.invalidate()
        self.cursors.invalidate()
        self.pending_roster = None

    @contextmanager
    def fetching_roster(self) -> Iterator[None]:
        """Set `pending_roster` during the block, so that others who need a roster can wait for this one."""
        pending = self.pending_roster = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            pending.set_result(None)
            if self.pending_roster is pending:
                self.pending_roster = None

    @property
    def unsettled(self) -> bool:
        """Members of a former epoch had time to be restored, so the roster must be loaded again without the others."""
        return 0 < self._settles_at <= time.monotonic()

    def load(self, reply: RosterReply) -> int:
        """Take a roster from presence, and send the changes to local members. Returns the number of changes."""
        members = reply.members or []
        replaced = reply.epoch if self._roster.epoch not in {"", reply.epoch} else None
        if replaced:
            self._settles_at = time.monotonic() + LEASE_SECONDS + reply.guard_seconds
        settled = not replaced and self._settles_at <= time.monotonic()
        notices = self._roster.load(reply.epoch, reply.revision, members, settled=settled)
        self._name_positions()
        for notice in notices:
            self._announce(notice)
        if not self._roster.unconfirmed:
            self._settles_at = 0.0
        for member in members:
            if member.cursor is not None and member.user in self._roster:
                self.cursors.learn_cursor(member.user, member.cursor)
            self._locate(member.user, member.revision, member.gateways)
        self.cursors.roster_loaded()
        for change in self._change_log.load(reply.revision, replaced=replaced):
            self._apply(change)
        self._change_log.wake_waiters()
        return len(notices)

    async def wait_for_change(self, sequence: int) -> None:
        """Returns when the roster is consistent and includes the change with this stream sequence."""
        await self._change_log.includes(sequence)

    def receive(self, message: Message) -> None:
        """Take a message from the room's subscription."""
        match message.subject[self._kind_at : self._kind_at + 4]:
            case "curs":
                self.cursors.receive(Kind.CURSOR, message.data)
            case "chat":
                self._receive_chat(message)
            case "pres":
                self._receive_change(message)
            case "typi":
                self.cursors.receive(Kind.TYPING, message.data)
            case "broa":
                self.broadcasts.receive(message.data)
            case "newe":
                if missing := self.history.announce(message.data):
                    self._repairs.chat_is_missing(self, announced=missing)
            case _:  # a newer gateway may publish kinds that this version does not know
                log.debug("unknown kind of room event", subject=message.subject)

    def _receive_change(self, message: Message) -> None:
        headers = message.headers or {}
        sequence = int(headers[SEQUENCE])
        user = subjects.room_event_user(message.subject)
        entry: Entry | None = None
        if not is_removal(headers):
            try:
                entry = Entry.decode(message.data)
            except ValidationError:
                # Presence treats a malformed entry as a removal too.
                log.error("malformed presence entry", subject=message.subject, sequence=sequence)
        change = CommittedChange(user, sequence, entry, headers[TIME])
        self._change_log.record(change)
        if self._roster.epoch:
            self._apply(change)
        self._change_log.wake_waiters()

    def _apply(self, change: CommittedChange) -> None:
        user, entry = change.user, change.entry
        if entry is None:
            notice = self._roster.remove(user, change.sequence)
        else:
            notice = self._roster.put(user, entry.profile, change.sequence, entry.fields)
            self._locate(user, change.sequence, entry.connections.values())
            if self._roster.is_newest(user, change.sequence):
                self._check_local(user, entry)
        if notice is not None:
            self._announce(notice)

    def _check_local(self, user: UserId, entry: Entry) -> None:
        """A committed entry must have exactly the connections that are in the room here, with one of their profiles."""
        local = self.fanout.of(user)
        for recipient in local:
            if recipient.membership_id not in entry.connections:
                self._repairs.connection_is_missing(recipient)
        all_local = entry.connections.keys() <= {recipient.membership_id for recipient in local}
        if local and all_local and all(recipient.profile != entry.profile for recipient in local):
            self._repairs.connection_is_missing(local[-1])  # the profile is that of a connection that has left
        for membership_id, gateway in entry.connections.items():
            if gateway == self._gateway:
                membership = RoomConnection.model_construct(room=self.id, user=user, connection=membership_id)
                self._repairs.connection_is_present(membership)

    def _locate(self, user: UserId, revision: int, gateways: Iterable[GatewayId]) -> None:
        if self._roster.is_newest(user, revision) and self.neighbours.locate(user, gateways):
            self.cursors.sync_neighbours()

    @property
    def chat_epoch(self) -> str:
        """The epoch that clients see. Positions in the chat belong to it."""
        return self._chat.epoch(self._positions_of)

    def _name_positions(self) -> None:
        """Take over the epoch of presence for the chat, unless the stream may have lost messages unseen.

        Otherwise this gateway and one that has found out would name different messages alike.
        """
        epoch = self._roster.epoch
        if epoch == self._positions_of or (self._positions_of and not self._chat.sure):
            return
        self._positions_of = epoch
        if self.history.position is not None:
            self._send_reset()

    def _receive_chat(self, message: Message) -> None:
        headers = message.headers or {}
        sequence = int(headers[SEQUENCE])
        stored = Stored.of(sequence, message.data, headers[TIME], int(headers.get(INGRESS, 0)))
        verdict = self.history.receive(stored, int(headers[LAST_SEQUENCE]), sure=self._chat.sure)
        if self._deliveries is not None and TRACEPARENT in headers:
            about = {"studyroom.room": self.id, "studyroom.chat.verdict": verdict.value, "studyroom.members": len(self)}
            self._deliveries.received(headers, "deliver chat", about, waits=verdict is Verdict.NEXT)
        if verdict is Verdict.NEXT:
            self._send_stored(stored)
            if stored.deletes:
                self._repairs.chat_is_deleted(self, stored)
                self._check_reset([stored])
            elif stored.changes:
                self._repairs.edits_may_be_late(self, self.history.edits_of_unknown([stored]))
        elif verdict is Verdict.AFTER_GAP:
            self._repairs.chat_is_missing(self)
        else:
            self._metrics.chat_repeats.inc()
            if self.history.is_rewritten(stored):
                self._repairs.chat_is_rewritten(self)

    def begin_chat(self, reach: int, newest: list[Stored]) -> None:
        """Start the chat after the sequence `reach` with its newest messages. Local members get them."""
        self._name_positions()
        self.history.begin(reach)
        if self._position_known:
            self._send_reset()
        self._position_known = True
        self._fill(newest, newest[-1].sequence if newest else reach)

    def take_missed(self, missed: list[Stored], up_to: int) -> int:
        """Fill a gap from the stream (see `History.fill`), send what can be delivered, and return how much it was."""
        self._name_positions()
        self._check_reset(delivered := self._fill(missed, up_to))
        self._repairs.edits_may_be_late(self, self.history.edits_of_unknown(missed))
        return len(delivered)

    def _fill(self, missed: list[Stored], up_to: int) -> list[Stored]:
        deliverable = self.history.fill(missed, up_to)
        still_stored = {stored.sequence for stored in missed}
        for tombstone in {stored.deletes: stored for stored in missed if stored.deletes in still_stored}.values():
            self._repairs.chat_is_deleted(self, tombstone)
        for stored in deliverable:
            self._send_stored(stored)
        return deliverable

    def _check_reset(self, delivered: list[Stored]) -> None:
        if any(stored.resets for stored in delivered):
            self._repairs.chat_must_begin_again(self)

    def _send_stored(self, stored: Stored) -> None:
        self.fanout.send(Item(text_frame(stored.ready), stored.kind, stored.ingress_us))

    def forget_chat(self) -> None:
        """The stream is another one, or too many messages are missing. Members get a `ChatReset` later."""
        self.history.forget()
        self._position_known = True

    def _send_reset(self) -> None:
        payload = ChatResetPayload.model_construct(
            room_id=self.id, epoch=self.chat_epoch, last_seq=self.history.position or 0
        )
        self.fanout.send(Item(text_frame(encode(ChatReset.model_construct(payload=payload))), Kind.RESET))

    # --- notices to local members -------------------------------------------------------------------------

    def _announce(self, notice: Notice) -> None:
        if notice.change is Change.LEFT:
            self.cursors.forget(notice.user)
            self.broadcasts.left(notice.user)
            self.neighbours.remove(notice.user)
            for recipient in self.fanout.of(notice.user):
                self._repairs.connection_is_missing(recipient)
        # A user gets no notices of its own joins and leaves. While it is connected, it counts itself as a member.
        excluded = notice.user if notice.change in {Change.JOINED, Change.LEFT} else None
        is_local = self.fanout.has(notice.user)
        known = self.shown.fields(notice.user)
        item = self.shown.take(notice, is_local=is_local)
        self.fanout.send(item, not_to=excluded)
        if is_local and excluded and (changed := difference(known, self.shown.fields(notice.user))):
            # It was away from the roster, and came back with other fields.
            own = encode_notice(replace(notice, change=Change.FIELDS, changed=changed), b"")
            self.fanout.send_own(notice.user, Item(text_frame(own), Kind.PRESENCE))
        if notice.change is Change.JOINED:
            self.cursors.rejoined(notice.user)
            self.broadcasts.joined(notice.user)
