"""Presence with the real stream: writes, the mirror, and two replicas that write at once."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from studyroom.presence.grace import GracePeriods
from studyroom.presence.metrics import PresenceMetrics
from studyroom.presence.operations import Operations
from studyroom.presence.replay import Replay
from studyroom.presence.store import Store
from studyroom.presence.watch import HEARTBEAT_SECONDS
from studyroom.services.provisioner.streams import ensure, specifications
from studyroom.shared.chassis.nats.bus import Bus, BusUnavailable, Message
from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import is_removal
from studyroom.shared.contract.ids import (
    GatewayId,
    MembershipId,
    RoomId,
    UserId,
    new_connection_id,
    new_gateway_id,
    new_membership_id,
    new_user_id,
)
from studyroom.shared.contract.messages import CursorPosition
from studyroom.shared.contract.presence import (
    CompareReply,
    CompareRequest,
    CompleteRequest,
    Entry,
    JoinRequest,
    LeaveRequest,
    Outcome,
    Profile,
    RoomState,
    RosterRequest,
    UpdateRequest,
)
from tests.integration.conftest import Connect
from tests.support.waiting import eventually

GATEWAY = new_gateway_id()
ROOM_CAPACITY = 100


def new_membership() -> MembershipId:
    return new_membership_id(new_connection_id(), 0)


class Replica:
    def __init__(self, bus: Bus, tasks: Tasks) -> None:
        self.changes: list[tuple[RoomId, UserId, int, Entry | None]] = []
        """The changes in the order in which they are read."""
        self.store = Store(
            bus,
            shards=range(subjects.SHARDS),
            marker_ttl_seconds=3600,
            on_change=lambda *change: self.changes.append(change),
        )
        self.operations = Operations(
            self.store,
            PresenceMetrics(CollectorRegistry()),
            GracePeriods(on_ended=lambda _outcome: None, on_ghosts_gone=lambda _gateway: None),
            grace_seconds=1,
            guard_seconds=5,
            room_capacity=ROOM_CAPACITY,
        )
        tasks.supervise("mirror", self.store.keep)

    async def join(
        self, room: RoomId, user: UserId, connection: MembershipId | None = None, gateway: GatewayId = GATEWAY
    ) -> MembershipId:
        connection = connection or new_membership()
        await self.operations.join(
            JoinRequest(
                room=room, user=user, connection=connection, gateway=gateway, profile=Profile(username="Ann"),
                with_roster=False,
            )
        )  # fmt: skip
        return connection

    async def update(
        self, room: RoomId, user: UserId, connection: MembershipId, number: int, max_bytes: int = 1000, **fields: Any
    ) -> Outcome:
        request = UpdateRequest(
            room=room, user=user, connection=connection, number=number, fields=fields, max_bytes=max_bytes
        )
        return (await self.operations.update(request)).outcome

    def fields(self, room: RoomId, user: UserId) -> dict[str, Any] | None:
        entry = self.store.mirror.entry(room, user)
        return entry.fields if entry is not None else None

    async def leave(self, room: RoomId, user: UserId, connection: MembershipId) -> None:
        await self.operations.leave(LeaveRequest(room=room, user=user, connection=connection))

    async def users(self, room: RoomId) -> list[UserId]:
        reply = await self.operations.roster(RosterRequest(room=room))
        return [member.user for member in reply.members or []]


@pytest.fixture
async def replicas(connect: Connect, tasks: Tasks) -> list[Replica]:
    first, second = await connect(), await connect()
    await ensure(first, specifications(StorageSettings()))
    made = [Replica(first, tasks), Replica(second, tasks)]
    for replica in made:
        await replica.store.wait_ready()
    return made


@pytest.fixture
def own_room() -> RoomId:
    return RoomId(str(uuid4()))


async def events(bus: Bus, room: RoomId) -> list[str]:
    """`put` or `remove` for each change of the room that gateways receive from now on."""
    received: list[str] = []

    def receive(message: Message) -> None:
        received.append("remove" if is_removal(message.headers or {}) else "put")

    await bus.subscribe(subjects.room_events(room), receive)
    await bus.flush()
    return received


async def test_a_join_is_in_the_roster_of_every_replica(replicas: list[Replica], own_room: RoomId):
    user = new_user_id()
    await replicas[0].join(own_room, user)

    assert await replicas[0].users(own_room) == [user]

    async def second_knows() -> bool:
        return await replicas[1].users(own_room) == [user]

    await eventually(second_knows, "the other replica knows")


async def test_every_join_writes_so_that_its_event_can_be_waited_for(
    bus: Bus, replicas: list[Replica], own_room: RoomId
):
    received = await events(bus, own_room)
    user, connection = new_user_id(), new_membership()
    for _ in range(3):
        await replicas[0].join(own_room, user, connection)
    await eventually(lambda: received == ["put"] * 3, "each join is an event")


async def test_a_user_is_present_until_the_last_of_its_connections_leaves(replicas: list[Replica], own_room: RoomId):
    user = new_user_id()
    tabs = [await replicas[index % 2].join(own_room, user) for index in range(3)]
    for tab in tabs[:2]:
        await replicas[1].leave(own_room, user, tab)
    assert await replicas[1].users(own_room) == [user]
    await replicas[1].leave(own_room, user, tabs[2])
    assert await replicas[1].users(own_room) == []


async def test_a_leave_right_after_the_join_of_another_replica_is_not_lost(replicas: list[Replica], own_room: RoomId):
    for index in range(50):
        user = new_user_id()
        connection = await replicas[index % 2].join(own_room, user)
        await replicas[(index + 1) % 2].leave(own_room, user, connection)

    assert await replicas[0].users(own_room) == [] or await replicas[1].users(own_room) == []


async def test_leaving_twice_is_one_event_and_no_error(bus: Bus, replicas: list[Replica], own_room: RoomId):
    user = new_user_id()
    connection = await replicas[0].join(own_room, user)
    received = await events(bus, own_room)
    for replica in replicas:
        await replica.leave(own_room, user, connection)
    await replicas[0].join(own_room, new_user_id())
    await eventually(lambda: received[-1:] == ["put"], "the marker is received")

    assert received == ["remove", "put"]


async def test_tabs_that_join_and_leave_on_both_replicas_at_once_end_right(replicas: list[Replica], own_room: RoomId):
    user = new_user_id()
    staying = [await replicas[0].join(own_room, user)]

    async def come_and_go(index: int) -> None:
        connection = await replicas[index % 2].join(own_room, user)
        await replicas[(index + 1) % 2].leave(own_room, user, connection)

    await asyncio.gather(*(come_and_go(index) for index in range(20)))
    for replica in replicas:
        await replica.store.catch_up(own_room, user)
        entry = replica.store.mirror.entry(own_room, user)
        assert entry is not None
        assert list(entry.connections) == staying


async def test_a_leave_that_comes_late_does_not_end_the_next_membership(replicas: list[Replica], own_room: RoomId):
    user, connection = new_user_id(), new_connection_id()
    first, second = new_membership_id(connection, 0), new_membership_id(connection, 1)
    await replicas[0].join(own_room, user, first)
    await replicas[0].leave(own_room, user, first)
    await replicas[1].join(own_room, user, second)
    await replicas[0].leave(own_room, user, first)

    assert await replicas[1].users(own_room) == [user]


async def test_replicas_drop_the_members_of_a_dead_gateway_together_and_no_others(
    replicas: list[Replica], own_room: RoomId
):
    gateway, alive = new_gateway_id(), new_user_id()
    dead = [new_user_id() for _ in range(ROOM_CAPACITY - 1)]
    await asyncio.gather(*(replicas[0].join(own_room, user, gateway=gateway) for user in dead))
    await replicas[1].join(own_room, alive)
    await replicas[1].store.catch_up(own_room, alive)
    received = asyncio.get_running_loop().time()
    dropped = await asyncio.gather(
        *(replica.operations.drop_gateway(gateway, received, lambda: True) for replica in replicas)
    )

    async def only_one_is_left() -> bool:
        return [await replica.users(own_room) for replica in replicas] == [[alive]] * 2

    await eventually(only_one_is_left, "the grace period is over")
    assert sum(dropped) == len(dead)


async def test_a_removed_member_leaves_one_marker_that_expires(bus: Bus, replicas: list[Replica], own_room: RoomId):
    user = new_user_id()
    for _ in range(5):
        connection = await replicas[0].join(own_room, user)
        await replicas[0].leave(own_room, user, connection)
    key = subjects.presence_key(own_room, user)
    state = await bus.api(f"STREAM.INFO.{subjects.PRESENCE_STREAM}", {"subjects_filter": key})

    assert state["state"]["subjects"] == {key: 1}


async def test_a_new_replica_reads_everything_before_it_is_ready(
    connect: Connect, tasks: Tasks, replicas: list[Replica], own_room: RoomId
):
    users = {new_user_id() for _ in range(100)}
    await asyncio.gather(*(replicas[0].join(own_room, user) for user in users))
    late = Replica(await connect(), tasks)
    await late.store.wait_ready()

    assert set(await late.users(own_room)) == users


async def test_the_mirror_is_built_again_when_the_stream_was_replaced(bus: Bus, replicas: list[Replica]):
    ghost_room = RoomId(str(uuid4()))
    await replicas[0].join(ghost_room, new_user_id())
    before = replicas[0].store.epoch
    await bus.api(f"STREAM.DELETE.{subjects.PRESENCE_STREAM}")
    await ensure(bus, specifications(StorageSettings()))

    async def forgotten() -> bool:
        try:
            return all([not await replica.users(ghost_room) for replica in replicas])
        except BusUnavailable:
            return False

    await eventually(forgotten, "the ghosts are gone")
    await eventually(lambda: all(replica.store.epoch != before for replica in replicas), "the epoch is another")


async def test_a_stream_that_was_made_again_keeps_its_epoch_while_it_is_shorter_than_the_stream_before(
    bus: Bus, replicas: list[Replica], own_room: RoomId, monkeypatch: pytest.MonkeyPatch
):
    """Its changes have sequences that others had in the stream before."""
    monkeypatch.setattr("studyroom.presence.watch._SILENCE_SECONDS", 1.5 * HEARTBEAT_SECONDS)
    for _ in range(20):
        await replicas[0].join(own_room, new_user_id())
    before = replicas[0].store.epoch
    await bus.api(f"STREAM.DELETE.{subjects.PRESENCE_STREAM}")
    await ensure(bus, specifications(StorageSettings()))
    await eventually(
        lambda: all(one.store.ready and one.store.epoch != before for one in replicas), "it is another one"
    )
    epoch = replicas[0].store.epoch
    user, missed = new_user_id(), new_user_id()
    await replicas[0].join(own_room, user)
    await eventually(lambda: all(one.store.ready and one.store.resumable for one in replicas), "both could resume")
    await lose_watches(bus)
    with suppress(BusUnavailable, TimeoutError):
        async with asyncio.timeout(0.5):  # written, but not read here
            await replicas[0].join(own_room, missed)

    async def all_know() -> bool:
        try:
            return all([set(await replica.users(own_room)) == {user, missed} for replica in replicas])
        except BusUnavailable:
            return False

    await eventually(all_know, "both replicas know the missed changes", 15)
    assert [replica.store.epoch for replica in replicas] == [epoch, epoch]


async def test_a_change_that_the_watch_missed_is_noticed_and_read_again(
    bus: Bus, replicas: list[Replica], own_room: RoomId
):
    await lose_watches(bus)
    user = new_user_id()

    async def known() -> bool:
        try:
            await replicas[0].join(own_room, user)
            return all([await replica.users(own_room) == [user] for replica in replicas])
        except BusUnavailable:
            return False

    await eventually(known, "both replicas know", 15)


async def lose_watches(bus: Bus) -> None:
    """Delete the consumers without the replicas' knowledge: nothing more arrives, not even heartbeats."""
    for consumer in (await bus.api(f"CONSUMER.NAMES.{subjects.PRESENCE_STREAM}"))["consumers"]:
        await bus.api(f"CONSUMER.DELETE.{subjects.PRESENCE_STREAM}.{consumer}")


async def test_a_replica_that_lost_its_watch_reads_the_missed_changes_and_nothing_again(
    bus: Bus, replicas: list[Replica], own_room: RoomId
):
    gone, new, staying = new_user_id(), new_user_id(), [new_user_id() for _ in range(50)]
    connection = await replicas[0].join(own_room, gone)
    for user in staying:
        await replicas[0].join(own_room, user)
    await eventually(lambda: all(replica.store.resumable for replica in replicas), "both could resume")

    async def all_know_everyone() -> bool:
        return all([set(await replica.users(own_room)) == {gone, *staying} for replica in replicas])

    await eventually(all_know_everyone, "both replicas know all members")
    before = [len(replica.changes) for replica in replicas]
    await lose_watches(bus)
    with suppress(BusUnavailable, TimeoutError):
        async with asyncio.timeout(0.5):  # written, but not read here
            await replicas[0].leave(own_room, gone, connection)
    with suppress(BusUnavailable, TimeoutError):
        async with asyncio.timeout(0.5):
            await replicas[1].join(own_room, new)

    async def all_know() -> bool:
        try:
            return all([set(await replica.users(own_room)) == {new, *staying} for replica in replicas])
        except BusUnavailable:
            return False

    await eventually(all_know, "both replicas know the missed changes", 15)
    read = [[change[1] for change in replica.changes[count:]] for replica, count in zip(replicas, before, strict=True)]
    assert read == [[gone, new], [gone, new]]


async def test_a_build_may_take_as_long_as_changes_keep_coming_and_is_given_up_when_none_do(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("studyroom.presence.store._STALLED_SECONDS", 0.2)
    store = Store(bus, shards=[0], marker_ttl_seconds=600)
    replay, loaded = Replay(0, 0), asyncio.Event()
    began = asyncio.get_running_loop().time()
    reads = asyncio.create_task(store._until_loaded(loaded, replay))
    while asyncio.get_running_loop().time() < began + 1:
        await asyncio.sleep(0.05)
        replay.newest += 1
    assert not reads.done()
    with pytest.raises(BusUnavailable):
        await reads


async def test_a_stream_with_another_change_in_place_of_the_newest_known_is_read_from_the_beginning(
    bus: Bus, replicas: list[Replica], own_room: RoomId
):
    """A restored stream may have grown past the known position, or an operator may have removed members."""
    users = [new_user_id() for _ in range(3)]
    for user in users:
        await replicas[0].join(own_room, user)
    await eventually(lambda: all(replica.store.resumable for replica in replicas), "both could resume")
    await lose_watches(bus)
    for user in users[1:]:
        await bus.api(f"STREAM.PURGE.{subjects.PRESENCE_STREAM}", {"filter": subjects.presence_key(own_room, user)})

    async def all_know() -> bool:
        try:
            return all([await replica.users(own_room) == users[:1] for replica in replicas])
        except BusUnavailable:
            return False

    await eventually(all_know, "members without a marker are gone", 15)


async def test_a_full_room_takes_no_more_users_but_every_tab_of_its_own(replicas: list[Replica], own_room: RoomId):
    users = [new_user_id() for _ in range(ROOM_CAPACITY)]
    await asyncio.gather(*(replicas[0].join(own_room, user) for user in users))
    await replicas[0].join(own_room, users[0])
    refused = await replicas[0].operations.join(
        JoinRequest(
            room=own_room, user=new_user_id(), connection=new_membership(), gateway=GATEWAY,
            profile=Profile(username="Ann"), with_roster=False,
        )
    )  # fmt: skip

    assert refused.outcome is Outcome.FULL
    assert set(await replicas[0].users(own_room)) == set(users)


async def test_a_lost_member_stays_for_the_grace_period_and_a_join_in_time_keeps_it(
    bus: Bus, replicas: list[Replica], own_room: RoomId
):
    back, gone = new_user_id(), new_user_id()
    connections = {user: await replicas[0].join(own_room, user) for user in (back, gone)}
    received = await events(bus, own_room)
    for user, connection in connections.items():
        await replicas[1].operations.leave(LeaveRequest(room=own_room, user=user, connection=connection, lost=True))
    assert set(await replicas[1].users(own_room)) == {back, gone}
    await replicas[0].join(own_room, back)

    async def only_one_is_left() -> bool:
        return await replicas[0].users(own_room) == [back] == await replicas[1].users(own_room)

    await eventually(only_one_is_left, "the other's grace period is over")
    await eventually(lambda: received == ["put", "put", "put", "remove"], "each change is announced once")


async def test_members_that_a_gateway_does_not_announce_are_dropped_unless_they_are_newer_than_the_count(
    replicas: list[Replica], own_room: RoomId
):
    users = {name: new_user_id() for name in ("kept", "stale", "newer")}
    period = await replicas[0].join(own_room, users["kept"])
    await replicas[0].join(own_room, users["stale"])
    counted = replicas[0].store.mirror.applied
    await replicas[0].join(own_room, users["newer"])
    await replicas[0].operations.complete(
        CompleteRequest(
            gateway=GATEWAY,
            shard=subjects.shard_of(own_room),
            epoch=replicas[0].store.epoch,
            revision=counted,
            connections={period},
        )
    )

    async def stale_is_gone() -> bool:
        return set(await replicas[0].users(own_room)) == {users["kept"], users["newer"]}

    await eventually(stale_is_gone, "members that were not announced are gone after the grace period")


async def test_a_count_in_another_epoch_drops_nobody(replicas: list[Replica], own_room: RoomId):
    user = new_user_id()
    await replicas[0].join(own_room, user)
    counted = CompleteRequest(
        gateway=GATEWAY, shard=subjects.shard_of(own_room), epoch="another", revision=2**40, connections=set()
    )
    with pytest.raises(BusUnavailable):
        await replicas[0].operations.complete(counted)
    assert await replicas[0].users(own_room) == [user]


async def test_a_room_is_compared_by_its_revision_and_by_its_members(replicas: list[Replica], own_room: RoomId):
    replica = replicas[0]
    await replica.join(own_room, new_user_id())
    before = RoomState(revision=replica.store.mirror.applied, digest=replica.store.mirror.digest(own_room))
    user = new_user_id()
    tab = await replica.join(own_room, user)
    joined = RoomState(revision=replica.store.mirror.applied, digest=replica.store.mirror.digest(own_room))
    await replica.leave(own_room, user, tab)
    newest = replica.store.mirror.applied

    async def compared(known: RoomState) -> CompareReply:
        return await replica.operations.compare(CompareRequest(epoch=replica.store.epoch, rooms={own_room: known}))

    assert (await compared(before)).newer == {own_room: newest}
    assert (await compared(joined)).newer == {own_room: newest}
    assert (await compared(RoomState(revision=newest, digest=joined.digest))).wrong == [own_room]
    same = await compared(RoomState(revision=newest, digest=before.digest))
    assert (same.newer, same.wrong) == ({}, [])
    mirror = replica.store.mirror
    mirror.applied -= 1
    ahead = await compared(RoomState(revision=newest, digest=joined.digest))
    assert (ahead.newer, ahead.wrong) == ({}, []), "a replica that lags cannot know"


async def test_a_member_of_a_room_is_restored_even_when_it_has_become_full(replicas: list[Replica], own_room: RoomId):
    for _ in range(ROOM_CAPACITY):
        await replicas[0].join(own_room, new_user_id())
    request = JoinRequest(
        room=own_room,
        user=new_user_id(),
        connection=new_membership(),
        gateway=GATEWAY,
        profile=Profile(username="Ann"),
        with_roster=False,
        again=True,
    )
    assert (await replicas[0].operations.join(request)).outcome is Outcome.OK


async def test_a_join_that_comes_after_its_leave_is_not_carried_out_by_any_replica(
    replicas: list[Replica], own_room: RoomId
):
    user = new_user_id()
    ended = await replicas[0].join(own_room, user)
    staying = await replicas[0].join(own_room, user)
    await replicas[0].leave(own_room, user, ended)
    late = JoinRequest(
        room=own_room, user=user, connection=ended, gateway=GATEWAY, profile=Profile(username="Ann"),
        with_roster=False,
    )  # fmt: skip
    for replica in replicas:
        await eventually(partial(replica.store.mirror.has_ended, ended), "the replica knows of the leave")
        assert (await replica.operations.join(late)).outcome is Outcome.UNAVAILABLE
        entry = replica.store.mirror.entry(own_room, user)
        assert entry is not None
        assert set(entry.connections) == {staying}

    await replicas[1].leave(own_room, user, staying)
    await eventually(partial(replicas[0].store.mirror.has_ended, staying), "a leave of the last connection counts too")


async def test_a_gateway_may_restore_a_member_that_somebody_else_has_removed(replicas: list[Replica], own_room: RoomId):
    user = new_user_id()
    membership = await replicas[0].join(own_room, user)
    await replicas[0].leave(own_room, user, membership)
    restored = JoinRequest(
        room=own_room, user=user, connection=membership, gateway=GATEWAY, profile=Profile(username="Ann"),
        with_roster=False, again=True,
    )  # fmt: skip
    assert (await replicas[0].operations.join(restored)).outcome is Outcome.OK
    assert await replicas[0].users(own_room) == [user]


async def test_a_join_whose_leave_came_first_is_not_carried_out(replicas: list[Replica], own_room: RoomId):
    user, membership = new_user_id(), new_membership()
    await replicas[0].leave(own_room, user, membership)
    await replicas[0].join(own_room, user, membership)
    assert await replicas[0].users(own_room) == []


async def test_cursors_are_kept_for_members_only(replicas: list[Replica], own_room: RoomId):
    user, stranger = new_user_id(), new_user_id()
    await replicas[0].join(own_room, user)
    mirror = replicas[0].store.mirror
    for who in (user, stranger):
        mirror.move_cursor(own_room, who, CursorPosition(x=1, y=2))

    assert [(member.user, member.cursor) for member in mirror.roster(own_room)] == [(user, CursorPosition(x=1, y=2))]


async def test_a_bucket_larger_than_the_pending_data_of_a_connection_is_read(
    connect: Connect, tasks: Tasks, replicas: list[Replica], own_room: RoomId
):
    """80 MB; NATS cuts off a connection that has more than 64 MiB waiting."""
    writer = await connect()
    members = 36_000
    profile = Profile(username="Ann", avatar_url="https://a.example/" + "x" * 2000)
    value = Entry(profile=profile, connections={new_membership(): GATEWAY}).encode()
    for index in range(members):
        writer.publish(subjects.presence_key(own_room, new_user_id()), value)
        if index % 1000 == 0:
            await writer.flush()
    await writer.flush()
    late = Replica(await connect(), tasks)
    await asyncio.wait_for(late.store.wait_ready(), 60)

    assert len(late.store.mirror.rooms[own_room]) == members
    await writer.api(f"STREAM.PURGE.{subjects.PRESENCE_STREAM}")


async def test_a_member_whose_entry_was_purged_by_an_operator_can_join_again(
    bus: Bus, replicas: list[Replica], own_room: RoomId
):
    user = new_user_id()
    await replicas[0].join(own_room, user)
    await bus.api(f"STREAM.PURGE.{subjects.PRESENCE_STREAM}", {"filter": subjects.presence_key(own_room, user)})

    async def joins() -> bool:
        try:
            await replicas[0].join(own_room, user)
        except BusUnavailable:
            return False
        return True

    await eventually(joins, "the member is back")
    assert await replicas[0].users(own_room) == [user]


async def test_an_entry_that_cannot_be_read_is_not_a_member_and_can_be_joined_over(
    bus: Bus, replicas: list[Replica], own_room: RoomId
):
    user = new_user_id()
    await replicas[0].join(own_room, user)
    stored = await bus.store(subjects.presence_key(own_room, user), b"not ours", {}, timeout_seconds=5)
    await replicas[0].store.wait_applied(stored.sequence)
    assert await replicas[0].users(own_room) == []

    connection = await replicas[0].join(own_room, user)
    assert await replicas[0].users(own_room) == [user]
    await replicas[0].leave(own_room, user, connection)


# --- custom presence ---------------------------------------------------------------------------------------


async def test_updates_are_merged_field_by_field_and_survive_joins_and_leaves_of_other_connections(
    replicas: list[Replica], own_room: RoomId
):
    one, other = replicas
    user = new_user_id()
    first = await one.join(own_room, user)
    assert await one.update(own_room, user, first, 1, status="here", seat=1) is Outcome.OK
    second = await other.join(own_room, user)
    assert await other.update(own_room, user, second, 1, seat=None, hand=True) is Outcome.OK
    await other.leave(own_room, user, first)
    await eventually(lambda: one.fields(own_room, user) == {"status": "here", "hand": True}, "both know the fields")
    assert other.fields(own_room, user) == {"status": "here", "hand": True}
    (member,) = (await other.operations.roster(RosterRequest(room=own_room))).members or []
    assert member.fields == {"status": "here", "hand": True}


async def test_concurrent_updates_at_two_replicas_lose_no_field(replicas: list[Replica], own_room: RoomId):
    user = new_user_id()
    memberships = [await replica.join(own_room, user) for replica in replicas]

    async def change(index: int) -> None:
        for number in range(1, 11):
            await eventually(
                partial(_is_carried_out, replicas[index], own_room, user, memberships[index], number, index),
                "the update is carried out",
            )

    await asyncio.gather(change(0), change(1))
    expected = {f"f{index}": 10 for index in range(2)}
    for replica in replicas:
        await eventually(lambda r=replica: r.fields(own_room, user) == expected, "nothing is lost")  # type: ignore[misc]


async def _is_carried_out(
    replica: Replica, room: RoomId, user: UserId, membership: MembershipId, number: int, index: int
) -> bool:
    return await replica.update(room, user, membership, number, **{f"f{index}": number}) is Outcome.OK


async def test_an_update_that_comes_after_a_newer_one_of_its_membership_changes_nothing(
    replicas: list[Replica], own_room: RoomId
):
    one, _ = replicas
    user = new_user_id()
    membership = await one.join(own_room, user)
    await one.update(own_room, user, membership, 2, status="new")
    assert await one.update(own_room, user, membership, 1, status="old", seat=1) is Outcome.OK
    assert one.fields(own_room, user) == {"status": "new"}


async def test_an_update_of_a_membership_that_is_not_there_changes_nothing(replicas: list[Replica], own_room: RoomId):
    one, _ = replicas
    user = new_user_id()
    assert await one.update(own_room, user, new_membership(), 1, status="x") is Outcome.NOT_MEMBER
    await one.join(own_room, user)
    assert await one.update(own_room, user, new_membership(), 1, status="x") is Outcome.NOT_MEMBER
    assert one.fields(own_room, user) == {}


async def test_fields_have_a_limit_together_and_may_always_become_fewer(replicas: list[Replica], own_room: RoomId):
    one, _ = replicas
    user = new_user_id()
    membership = await one.join(own_room, user)
    assert await one.update(own_room, user, membership, 1, 30, a="x" * 10) is Outcome.OK
    assert await one.update(own_room, user, membership, 2, 30, b="x" * 10) is Outcome.TOO_LARGE
    assert one.fields(own_room, user) == {"a": "x" * 10}
    assert await one.update(own_room, user, membership, 3, 5, a="x") is Outcome.OK
    assert await one.update(own_room, user, membership, 4, 5, a=None) is Outcome.OK
    assert one.fields(own_room, user) == {}


async def test_a_restored_member_has_its_fields_again_unless_presence_knows_newer_ones(
    replicas: list[Replica], own_room: RoomId
):
    one, _ = replicas

    async def restore(user: UserId, membership: MembershipId) -> None:
        await one.operations.join(
            JoinRequest(
                room=own_room, user=user, connection=membership, gateway=GATEWAY, profile=Profile(username="Ann"),
                with_roster=False, again=True, fields={"status": "before"},
            )
        )  # fmt: skip

    lost, known = new_user_id(), new_user_id()
    await restore(lost, new_membership())
    assert one.fields(own_room, lost) == {"status": "before"}
    membership = await one.join(own_room, known)
    await one.update(own_room, known, membership, 1, status="newer")
    await restore(known, membership)
    assert one.fields(own_room, known) == {"status": "newer"}


async def test_fields_stay_through_the_grace_period_and_end_with_it(replicas: list[Replica], own_room: RoomId):
    one, _ = replicas
    user = new_user_id()
    membership = await one.join(own_room, user)
    await one.update(own_room, user, membership, 1, status="here")
    await one.operations.leave(LeaveRequest(room=own_room, user=user, connection=membership, lost=True))
    assert one.fields(own_room, user) == {"status": "here"}
    await one.join(own_room, user)
    assert one.fields(own_room, user) == {"status": "here"}
    membership = await one.join(own_room, user)
    for connection in list(one.store.mirror.entry(own_room, user).connections):  # type: ignore[union-attr]
        await one.operations.leave(LeaveRequest(room=own_room, user=user, connection=connection, lost=True))
    await eventually(lambda: one.fields(own_room, user) is None, "the grace period ends")
    await one.join(own_room, user)
    assert one.fields(own_room, user) == {}
