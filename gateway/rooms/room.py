"""One room on this gateway: its members, its roster, and what they are told.

Nothing here awaits but the wait for a change to be heard.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from pydantic import ValidationError

from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.change_log import ChangeLog, CommittedChange
from studyroom.gateway.rooms.cursors import Cursors, Publish
from studyroom.gateway.rooms.fanout import Fanout, Recipient
from studyroom.gateway.rooms.flush_scheduler import FlushScheduler
from studyroom.gateway.rooms.history import ChatView, History, Resumption, Stored, Verdict
from studyroom.gateway.rooms.neighbours import Neighbours
from studyroom.gateway.rooms.notices import encode_joined_room, encode_member, encode_members, encode_notice
from studyroom.gateway.rooms.roster import Change, Notice, Roster
from studyroom.gateway.wire.framing import text_frame
from studyroom.gateway.wire.items import Item, Kind
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Message
from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import INGRESS, LAST_SEQUENCE, SEQUENCE, TIME, is_removal
from studyroom.shared.contract.ids import GatewayId, RoomId, UserId
from studyroom.shared.contract.messages import ChatReset, ChatResetPayload, JoinedRoomPayload, encode
from studyroom.shared.contract.presence import LEASE_SECONDS, Entry, RoomConnection, RoomState, RosterReply

log = logs.get(__name__)

_KINDS = {Change.JOINED: Kind.JOINED, Change.UPDATED: Kind.UPDATED, Change.LEFT: Kind.LEFT}


class Repairs(Protocol):
    """Where a room reports what it finds wrong, and cannot repair by itself."""

    def connection_is_missing(self, recipient: "Recipient") -> None:
        """Presence does not have a connection that is in a room here."""

    def connection_is_present(self, place: RoomConnection) -> None:
        """Presence has a connection of this gateway in a room."""

    def roster_is_suspect(self, room: "Room") -> None:
        """The roster may be wrong."""

    def cannot_be_hosted(self, room: "Room", reason: str) -> None:
        """NATS sends nothing of the room any more: its members have to leave it."""

    def chat_is_missing(self, room: "Room") -> None:
        """A message was not heard, or comes too early to be judged."""

    def chat_is_rewritten(self) -> None:
        """A new message has an old sequence: the stream has lost others."""

    def chat_is_deleted(self, room: "Room", tombstone: Stored) -> None:
        """What the tombstone deletes may be stored all the same."""


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
    ) -> None:
        self.id = room
        self._gateway = gateway
        self._metrics = metrics
        self._chat = chat
        self._repairs = repairs
        self._roster = Roster()
        self._shown: dict[UserId, bytes] = {}
        """The members of the roster as JSON, without their cursors."""
        self._encoded_users = (-1, b"")
        self._change_log = ChangeLog()
        self.history = History(chat.history_kept)
        self._chat_begun = False
        """Members may have been told a position in the stream of chat."""
        self.fanout = Fanout(metrics)
        self._neighbours = Neighbours(gateway)
        self.cursors = Cursors(
            room,
            self.fanout,
            publish,
            scheduler,
            metrics,
            members=self._roster.members,
            neighbours=self._neighbours,
        )
        self.pending_roster: asyncio.Future[None] | None = None
        """Done when a roster that was asked for since the last doubt is here, or will not come."""
        self._settles_at = 0.0
        """When whoever is missing in a new epoch is gone for good (monotonic seconds)."""
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._kind_at = len(subjects.room_events(room)) - 1

    # --- members ------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.fanout)

    def __contains__(self, recipient: Recipient) -> bool:
        return recipient in self.fanout

    def admit(self, recipient: Recipient, resumption: Resumption) -> None:
        """Send `JoinedRoom` and the chat that belongs to it.

        From now on the recipient gets every event that is newer than the roster, and every message behind that chat.
        """
        history = self.history
        if resumption.recovered:
            lines = [stored for stored in resumption.missed if history.passed(stored.sequence)]
            lines = history.without_deleted(lines + history.behind(resumption.since))
        else:
            lines = self._chat.newest(history)
        shown = sum(not stored.deletes for stored in lines)
        payload = JoinedRoomPayload.model_construct(
            room_id=self.id,
            users=[],
            epoch=self.chat_epoch,
            recovered=resumption.recovered,
            history=shown,
            last_seq=history.position,
        )
        frames = [text_frame(encode_joined_room(payload, self._users()))]
        frames += [text_frame(stored.ready) for stored in lines]
        self.fanout.admit(recipient, b"".join(frames))
        self._metrics.traffic.replies_sent["JoinedRoom"] += 1
        self._metrics.traffic.replies_sent["Chat"] += shown
        self._metrics.traffic.replies_sent["ChatDeleted"] += len(lines) - shown

    def dismiss(self, recipient: Recipient) -> None:
        """No event reaches the recipient any more. Unknown recipients are fine."""
        if self.fanout.dismiss(recipient) and not self.fanout.has(recipient.user):
            self.cursors.left(recipient.user)

    def catch_up(self, recipient: Recipient) -> None:
        """The recipient reads again: it gets the newest of what it missed."""
        self.fanout.catch_up(recipient, self.cursors.newest)

    # --- the roster and the join barrier ------------------------------------------------------------------

    @property
    def epoch(self) -> str:
        """Of the presence stream; empty before the first roster."""
        return self._roster.epoch

    @property
    def consistent(self) -> bool:
        """The roster is loaded, and every change since has been heard."""
        return self._change_log.consistent

    @property
    def is_stale(self) -> bool:
        """Changes may have been missed, and no roster was taken or confirmed since."""
        return self._change_log.loaded is None

    def confirm(self, revision: int) -> None:
        """Presence has the same members as of `revision`. What comes behind is not proven: newcomers need a roster."""
        self._change_log.confirm(revision)

    @property
    def state(self) -> RoomState:
        return RoomState.model_construct(revision=self._change_log.revision, digest=self._roster.digest)

    def misses_changes(self, reply: RosterReply) -> bool:
        """Whether a change of the room was lost on its way, as far as a reply without members can show.

        Both sides have to be as of the same change: while others come and go nothing can be said.
        """
        last = self._change_log.last
        return 0 < reply.room_revision == last <= reply.revision and reply.room_digest != self._roster.digest

    def knows(self, revision: int) -> bool:
        return self._change_log.revision >= revision

    def invalidate(self) -> None:
        """Changes may have been missed. The roster stays until a new one is loaded."""
        self._change_log.invalidate()
        self.cursors.invalidate()
        self.pending_roster = None

    @contextmanager
    def taking_roster(self) -> Iterator[None]:
        """Others who need a roster meanwhile may wait for this one."""
        pending = self.pending_roster = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            pending.set_result(None)
            if self.pending_roster is pending:
                self.pending_roster = None

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
        if replaced and self.history.position is not None:
            self._send_reset()
        for notice in notices:
            self._announce(notice)
        if not self._roster.unconfirmed:
            self._settles_at = 0.0
        for member in members:
            if member.cursor is not None and member.user in self._roster:
                self.cursors.learn_cursor(member.user, member.cursor)
            self._place(member.user, member.revision, member.gateways)
        self.cursors.roster_loaded()
        for change in self._change_log.load(reply.revision, replaced=replaced):
            self._change(change)
        self._settle()
        return len(notices)

    def has_member(self, user: UserId) -> bool:
        return user in self._roster

    async def wait_for_change(self, sequence: int) -> None:
        """Returns when the roster is consistent and contains the change with this stream sequence."""
        if self.consistent and self._change_log.last >= sequence:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((sequence, future))
        await future

    def receive(self, message: Message) -> None:
        """A message of the room's subscription."""
        match message.subject[self._kind_at : self._kind_at + 4]:
            case "curs":
                self.cursors.receive(Kind.CURSOR, message.data)
            case "chat":
                self._receive_chat(message)
            case "pres":
                self._receive_change(message)
            case "typi":
                self.cursors.receive(Kind.TYPING, message.data)
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
        change = CommittedChange(user, sequence, entry, headers[TIME])
        self._change_log.record(change)
        if self._roster.epoch:
            self._change(change)
        self._settle()

    def _change(self, change: CommittedChange) -> None:
        user, entry = change.user, change.entry
        if entry is None:
            notice = self._roster.remove(user, change.sequence)
        else:
            notice = self._roster.put(user, entry.profile, change.sequence)
            self._place(user, change.sequence, entry.connections.values())
            if self._roster.is_newest(user, change.sequence):
                self._check_own(user, entry)
        if notice is not None:
            self._announce(notice)

    def _check_own(self, user: UserId, entry: Entry) -> None:
        """Whoever is connected here must be in a committed entry, and nobody else of this gateway may be."""
        own = self.fanout.of(user)
        for recipient in own:
            if recipient.membership_id not in entry.connections:
                self._repairs.connection_is_missing(recipient)
        all_here = entry.connections.keys() <= {recipient.membership_id for recipient in own}
        if own and all_here and all(recipient.profile != entry.profile for recipient in own):
            self._repairs.connection_is_missing(own[-1])  # the profile is that of a connection that has left
        for membership_id, gateway in entry.connections.items():
            if gateway == self._gateway:
                place = RoomConnection.model_construct(room=self.id, user=user, connection=membership_id)
                self._repairs.connection_is_present(place)

    def _place(self, user: UserId, revision: int, gateways: Iterable[GatewayId]) -> None:
        if self._roster.is_newest(user, revision) and self._neighbours.place(user, gateways):
            self.cursors.sync_neighbours()

    def _settle(self) -> None:
        if not self._waiting or not self.consistent:
            return
        still_waiting = []
        for sequence, future in self._waiting:
            if future.done():  # whoever waited has given up
                continue
            if sequence > self._change_log.last:
                still_waiting.append((sequence, future))
            else:
                future.set_result(None)
        self._waiting = still_waiting

    @property
    def chat_epoch(self) -> str:
        """The epoch that clients see; positions in the chat are of it."""
        return self._chat.epoch(self._roster.epoch)

    def _receive_chat(self, message: Message) -> None:
        headers = message.headers or {}
        sequence = int(headers[SEQUENCE])
        stored = Stored.of(sequence, message.data, headers[TIME], int(headers.get(INGRESS, 0)))
        verdict = self.history.receive(stored, int(headers[LAST_SEQUENCE]), sure=self._chat.sure)
        if verdict is Verdict.NEXT:
            self._send_stored(stored)
            if stored.deletes:
                self._repairs.chat_is_deleted(self, stored)
        elif verdict is Verdict.BEHIND_GAP:
            self._repairs.chat_is_missing(self)
        else:
            self._metrics.chat_repeats.inc()
            if self.history.is_rewritten(stored):
                self._repairs.chat_is_rewritten()

    def begin_chat(self, reach: int, newest: list[Stored]) -> None:
        """Take the newest messages, which are all behind `reach`; members who came before that are shown them."""
        self.history.begin(reach)
        if self._chat_begun:
            self._send_reset()
        self._chat_begun = True
        self.take_missed(newest, newest[-1].sequence if newest else reach)

    def take_missed(self, missed: list[Stored], up_to: int) -> int:
        """Take what was fetched (see `History.fill`), and say what is due now. How many messages that were."""
        due = self.history.fill(missed, up_to)
        still_stored = {stored.sequence for stored in missed}
        for tombstone in {stored.deletes: stored for stored in missed if stored.deletes in still_stored}.values():
            self._repairs.chat_is_deleted(self, tombstone)
        for stored in due:
            self._send_stored(stored)
        return len(due)

    def _send_stored(self, stored: Stored) -> None:
        kind = Kind.DELETED if stored.deletes else Kind.CHAT
        self.fanout.send(Item(text_frame(stored.ready), kind, stored.ingress_us))

    def forget_chat(self) -> None:
        """The stream is another one, or members have missed too much: they are told so with the next position."""
        self.history.forget()
        self._chat_begun = True

    def _send_reset(self) -> None:
        payload = ChatResetPayload.model_construct(
            room_id=self.id, epoch=self.chat_epoch, last_seq=self.history.position or 0
        )
        self.fanout.send(Item(text_frame(encode(ChatReset.model_construct(payload=payload))), Kind.RESET))

    # --- what members are told of -------------------------------------------------------------------------

    def _announce(self, notice: Notice) -> None:
        if notice.change is Change.LEFT:
            self.cursors.forget(notice.user)
            self._neighbours.remove(notice.user)
            for recipient in self.fanout.of(notice.user):
                self._repairs.connection_is_missing(recipient)
        # Nobody is told of their own coming and going; whoever is connected is here, as far as they can tell.
        own = None if notice.change is Change.UPDATED else notice.user
        frame = text_frame(encode_notice(notice, self._show(notice)))
        self.fanout.send(Item(frame, _KINDS[notice.change]), not_to=own)
        if notice.change is Change.JOINED:
            self.cursors.rejoined(notice.user)

    def _show(self, notice: Notice) -> bytes:
        """Keep what joiners are told in line with the roster. The member as JSON."""
        self._encoded_users = (-1, b"")
        if notice.change is Change.LEFT:
            return self._shown.pop(notice.user)
        member = self._shown[notice.user] = encode_member(notice.user, notice.profile)
        return member

    def _users(self) -> bytes:
        """The members as JSON, encoded anew when something has changed."""
        version, users = self._encoded_users
        if version != self.cursors.version:
            version, users = self.cursors.version, encode_members(self._shown, self.cursors.cursor)
            self._encoded_users = version, users
        return users
