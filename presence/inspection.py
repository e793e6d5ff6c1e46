"""The state of a room or of a user at this replica, for `studyroom room` and `studyroom user`."""

from collections.abc import Mapping
from itertools import islice

from studyroom.presence.store import Store
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.inspection import ROOMS_MAX, PresenceRoom, PresenceUser, Process, Question
from studyroom.shared.contract.subjects import shard_of


class Inspection:
    def __init__(self, stores: Mapping[int, Store]) -> None:
        """Create it. `stores`: the store of each shard that this replica serves."""
        self._stores = stores

    def of_room(self, room: RoomId, question: Question, process: Process) -> PresenceRoom:
        store = self._stores.get(shard_of(room))
        if store is None:
            return PresenceRoom.model_construct(process=process, serves=False)
        mirror, members = store.mirror, store.mirror.rooms.get(room, {})
        revisions = {user: member.revision for user, member in members.items() if question.asks_for(user)}
        return PresenceRoom.model_construct(
            process=process,
            ready=store.ready,
            epoch=store.epoch,
            applied=mirror.applied,
            revision=mirror.room_revision(room),
            digest=mirror.digest(room),
            members=len(members),
            revisions=revisions if question.parts else None,
        )

    def of_user(self, user: UserId, process: Process) -> PresenceUser:
        stores = {id(store): store for store in self._stores.values()}.values()
        rooms = {
            room: members[user].revision
            for store in stores
            for room, members in store.mirror.rooms.items()
            if user in members
        }
        return PresenceUser.model_construct(
            process=process,
            shards=sorted(shard for shard, store in self._stores.items() if store.ready),
            rooms=dict(islice(rooms.items(), ROOMS_MAX)),
            rooms_count=len(rooms),
        )
