"""Lists the rooms that have members, also across groups of shards."""

from collections.abc import Mapping

from studyroom.presence.store import Store
from studyroom.shared.chassis.nats.bus import BusUnavailable
from studyroom.shared.contract.presence import Outcome, RoomsReply, RoomsRequest, RoomSummary
from studyroom.shared.contract.subjects import SHARDS


def list_rooms(stores: Mapping[int, Store], request: RoomsRequest) -> RoomsReply:
    """List rooms after the given one, through the following shards until one that this replica cannot list.

    `stores`: the store of each shard that this replica serves. Raises BusUnavailable if it cannot list the first.
    """
    found = list[RoomSummary]()
    shard, after = request.shard, request.after
    if (first := stores.get(shard)) is None or not first.ready:
        raise BusUnavailable("the presence mirror is not ready")
    while (store := stores.get(shard)) is not None and store.ready:
        mirror = store.mirror
        rooms = mirror.rooms_of(shard, after=after, limit=request.limit - len(found))
        found += [RoomSummary.model_construct(room=room, members=len(mirror.rooms[room])) for room in rooms]
        if len(found) >= request.limit:
            break
        shard, after = shard + 1, ""
    return RoomsReply(outcome=Outcome.OK, rooms=found, next_shard=shard if shard < SHARDS else None)
