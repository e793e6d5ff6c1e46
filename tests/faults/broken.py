"""Services with a defect, to show that the checker can fail: `python broken.py <defect>+<defect> gateway`.

Each breaks one promise, and the rule of that promise has to catch it.
"""

import random
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import studyroom.gateway.http.messages
import studyroom.gateway.rooms.history
import studyroom.gateway.rooms.room
import studyroom.presence.operations
from studyroom.gateway.broadcasts.broadcasts import Broadcasts
from studyroom.gateway.broadcasts.waiting import Event, Waiting
from studyroom.gateway.chat.deletions import Deletions
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.http.messages import NewMessage
from studyroom.gateway.membership.joins import Joins
from studyroom.gateway.membership.presence_client import PresenceRefused
from studyroom.gateway.rooms.cursors import Cursors
from studyroom.gateway.rooms.history import History, Stored
from studyroom.gateway.rooms.notices import encode_joined_room
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.rooms.roster import Change, Notice, Roster
from studyroom.gateway.wire.items import Kind
from studyroom.presence.operations import Operations
from studyroom.services.stack.cli import main
from studyroom.shared.chassis.nats.bus import Acknowledgement, Bus
from studyroom.shared.contract.chat import with_sequence
from studyroom.shared.contract.chat_messages import ChatEdited
from studyroom.shared.contract.custom_presence import merged
from studyroom.shared.contract.ids import MessageId, RoomId, UserId
from studyroom.shared.contract.messages import JoinedRoomPayload
from studyroom.shared.contract.presence import LeaveReply, LeaveRequest
from studyroom.shared.contract.subjects import CHAT_STREAM

_AHEAD = 1000


def _replace(owner: object, name: str, function: Callable[..., Any]) -> None:
    setattr(owner, name, function)


def short_history() -> None:
    """A newcomer gets one message, although more are stored."""
    newest = History.newest

    def one(history: History, count: int, **bounds: Any) -> list[Stored]:
        return newest(history, count, **bounds)[-1:]

    _replace(History, "newest", one)


def positions_ahead() -> None:
    """The gateway sends positions that the stream has not reached."""

    def ahead(payload: JoinedRoomPayload, users: bytes) -> bytes:
        return encode_joined_room(payload.model_copy(update={"last_seq": (payload.last_seq or 0) + _AHEAD}), users)

    _replace(studyroom.gateway.rooms.room, "encode_joined_room", ahead)


def leaves_twice() -> None:
    """A user who leaves is announced again, and leaves again."""
    announce = Room._announce

    def again(room: Room, notice: Notice) -> None:
        announce(room, notice)
        if notice.change is Change.LEFT:
            announce(room, Notice(Change.JOINED, notice.user, notice.profile))
            announce(room, notice)

    _replace(Room, "_announce", again)


def old_names() -> None:
    """No client receives another name."""
    put = Roster.put

    def quietly(roster: Roster, *entry: Any) -> Notice | None:
        notice = put(roster, *entry)
        return notice if notice is None or notice.change is not Change.UPDATED else None

    _replace(Roster, "put", quietly)


def lost_cursors() -> None:
    """Other gateways receive no cursors."""
    send = Cursors._send

    def without_cursors(cursors: Cursors, kind: Kind, due: dict[UserId, tuple[bytes, int]]) -> None:
        if kind is not Kind.CURSOR:
            send(cursors, kind, due)

    _replace(Cursors, "_send", without_cursors)
    _replace(Cursors, "_send_all", lambda _cursors: None)


def refused_joins() -> None:
    """One join in five is refused, though nothing is broken."""
    check = Joins._check_welcome

    def moody(joins: Joins, connection: Connection, room: RoomId) -> None:
        if random.random() < 0.2:
            raise PresenceRefused("not today")
        check(joins, connection, room)

    _replace(Joins, "_check_welcome", moody)


def no_grace() -> None:
    """Presence removes users at once when they have lost the connection."""
    leave = Operations.leave

    async def at_once(operations: Operations, request: LeaveRequest) -> LeaveReply:
        return await leave(operations, request.model_copy(update={"lost": False}))

    _replace(Operations, "leave", at_once)


def other_texts() -> None:
    """Members here see another text than was sent."""

    def changed(stored: bytes, sequence: int) -> bytes:
        return with_sequence(stored, sequence).replace(b" says ", b" said ")

    _replace(studyroom.gateway.rooms.history, "with_sequence", changed)


def forgotten_posts() -> None:
    """A backend's message is stored, and then removed."""
    store = studyroom.gateway.http.messages._store

    async def for_a_moment(bus: Bus, room: RoomId, message: NewMessage, encoded: bytes) -> Acknowledgement:
        acknowledged = await store(bus, room, message, encoded)
        await bus.api(f"STREAM.MSG.DELETE.{CHAT_STREAM}", {"seq": acknowledged.sequence})
        return acknowledged

    _replace(studyroom.gateway.http.messages, "_store", for_a_moment)


def kept_deletions() -> None:
    """A backend receives the answer that a message is deleted, and nothing is done."""

    async def nothing(_deletions: Deletions, _room: RoomId, _sequence: int, _message: MessageId | None) -> None:
        return

    _replace(Deletions, "delete", nothing)


def events_twice() -> None:
    """Members here get the events of other gateways twice."""
    receive = Broadcasts.receive

    def again(broadcasts: Broadcasts, data: bytes) -> None:
        receive(broadcasts, data)
        broadcasts.flush()
        receive(broadcasts, data)

    _replace(Broadcasts, "receive", again)


def events_backwards() -> None:
    """The newest event goes out first."""
    take = Waiting.take

    _replace(Waiting, "take", lambda waiting: list(take(waiting))[::-1])


def events_of_gone_users() -> None:
    """Members here get an event of a user who has left."""
    announce = Room._announce
    last: dict[UserId, Event] = {}
    take = Broadcasts._take

    def keep(broadcasts: Broadcasts, event: Event) -> None:
        last[event.sender] = event
        take(broadcasts, event)

    def late(room: Room, notice: Notice) -> None:
        announce(room, notice)
        if notice.change is Change.LEFT and notice.user in last:
            room.fanout.send(last[notice.user].item)

    _replace(Broadcasts, "_take", keep)
    _replace(Room, "_announce", late)


def old_events_win() -> None:
    """An event that waits is not replaced by a newer one with its key."""
    add = Waiting.add

    def keep(waiting: Waiting, event: Event) -> bool:
        return event.slot in waiting._events or add(waiting, event)

    _replace(Waiting, "add", keep)


def untold_fields() -> None:
    """Members here receive no changes of fields."""
    announce = Room._announce

    def quietly(room: Room, notice: Notice) -> None:
        if notice.change is not Change.FIELDS:
            announce(room, notice)

    _replace(Room, "_announce", quietly)


def fields_as_leaves() -> None:
    """A user who changes a field leaves and comes back, for members here."""
    announce = Room._announce

    def loudly(room: Room, notice: Notice) -> None:
        if notice.change is not Change.FIELDS:
            announce(room, notice)
            return
        for change in (Change.LEFT, Change.JOINED):
            room.fanout.send(room.shown.take(replace(notice, change=change), is_local=True), not_to=notice.user)

    _replace(Room, "_announce", loudly)


def fields_replaced() -> None:
    """Presence keeps only the fields of the last change."""
    _replace(studyroom.presence.operations, "merged", lambda _fields, change: merged({}, change))


def old_texts() -> None:
    """A newcomer gets messages as they were before their edits and reactions."""
    _replace(studyroom.gateway.rooms.history, "with_changes", lambda lines, _changes=(): list(lines))


def unseen_edits() -> None:
    """Members here receive no edits of authors elsewhere."""
    send = Room._send_stored

    def without_edits(room: Room, stored: Stored) -> None:
        if stored.kind is not Kind.EDITED or room.fanout.has(
            ChatEdited.model_validate_json(stored.ready).payload.user_id
        ):
            send(room, stored)

    _replace(Room, "_send_stored", without_edits)


def kept_edits() -> None:
    """A message is deleted, and its edits are not."""

    async def nothing(_deletions: Deletions, _room: RoomId, _sequence: int) -> None:
        return

    _replace(Deletions, "_delete_edits", nothing)


DEFECTS: dict[str, Callable[[], None]] = {
    defect.__name__: defect
    for defect in (
        short_history, positions_ahead, leaves_twice, old_names, lost_cursors, refused_joins, no_grace,
        other_texts, forgotten_posts, kept_deletions,
        events_twice, events_backwards, events_of_gone_users, old_events_win, untold_fields, fields_as_leaves,
        fields_replaced, old_texts, unseen_edits, kept_edits,
    )
}  # fmt: skip

if __name__ == "__main__":
    for name in sys.argv.pop(1).split("+"):
        DEFECTS[name]()
    main()
