"""Content that is too long for a message of NATS goes in several with the same meaning."""

from uuid import UUID

import pytest

from studyroom.shared.contract.ephemeral import (
    decode_batch,
    decode_digest,
    encode_batch,
    encode_digest,
    split_batch,
    split_digest,
)
from studyroom.shared.contract.ids import ConnectionId, GatewayId, MembershipId, RoomId, UserId, new_membership_id
from studyroom.shared.contract.presence import (
    CompareRequest,
    CompleteRequest,
    Outcome,
    RoomsReply,
    RoomState,
    RoomSummary,
    truncate_rooms,
)
from studyroom.shared.contract.subjects import shard_of

LIMIT = 16_000


def uuid(number: int) -> str:
    return str(UUID(int=number, version=4))


def memberships(count: int) -> set[MembershipId]:
    return {new_membership_id(ConnectionId(uuid(number)), 2**40 + number) for number in range(count)}


def complete(connections: set[MembershipId]) -> CompleteRequest:
    return CompleteRequest(
        gateway=GatewayId(uuid(1)),
        shard=63,
        epoch="2026-11-28T17:28:50.123456789Z",
        revision=2**63,
        connections=connections,
    )


@pytest.mark.parametrize("count", [0, 1, 261, 262, 5000])
def test_all_connections_are_reported_in_requests_that_fit(count: int):
    parts = complete(memberships(count)).split(LIMIT)
    assert max(len(part.encode()) for part in parts) <= LIMIT
    assert (len(parts) == 1) == (count <= 261)
    sent = [membership_id for part in parts for membership_id in part.connections or part.some]
    assert sorted(sent) == sorted(memberships(count))


def test_each_part_covers_only_its_own_connections():
    """They are carried out one by one, by different replicas: none may end a connection that another names."""
    here, gone = memberships(3000), MembershipId(f"{uuid(9999)}:1")
    parts = [CompleteRequest.decode(part.encode()) for part in complete(here).split(LIMIT)]
    assert len(parts) > 10
    missing = [part.missing(here | {gone}) for part in parts]
    assert [names for names in missing if names] == [{gone}]


def test_a_replica_that_knows_no_parts_does_not_take_one_for_all():
    part = complete(memberships(3000)).split(LIMIT)[0]
    assert part.connections is None


@pytest.mark.parametrize("count", [1, 130, 131, 1000])
def test_rooms_are_compared_in_questions_that_fit(count: int):
    states = {RoomId(uuid(number)): RoomState(revision=2**63, digest=2**64 - number) for number in range(1, count + 1)}
    parts = CompareRequest(epoch="2026-11-28T17:28:50.123456789Z", rooms=states).split(LIMIT)
    assert max(len(part.encode()) for part in parts) <= LIMIT
    assert {room: state for part in parts for room, state in part.rooms.items()} == states


def test_a_list_of_rooms_that_is_cut_goes_on_where_it_ends():
    rooms = [RoomSummary(room=RoomId(uuid(number)), members=2**32) for number in range(1000)]
    reply = truncate_rooms(RoomsReply(outcome=Outcome.OK, rooms=rooms), LIMIT)
    assert len(reply.encode()) <= LIMIT
    assert 100 < len(reply.rooms) < 1000
    assert reply.rooms == rooms[: len(reply.rooms)]
    assert reply.next_shard == shard_of(reply.rooms[-1].room)
    short = RoomsReply(outcome=Outcome.OK, rooms=rooms[:10])
    assert truncate_rooms(short, LIMIT) is short


@pytest.mark.parametrize("limit", [300, 1000, 16_000, 1_000_000])
def test_notices_and_cursors_are_split_between_lines(limit: int):
    notices = [(UserId(uuid(number)), b'{"n":%d}' % (number * 7**number)) for number in range(200)]
    batches = split_batch(encode_batch(1234567890123456, notices), limit)
    assert [notice for batch in batches for notice in decode_batch(batch)[1]] == notices
    assert {decode_batch(batch)[0] for batch in batches} == {1234567890123456}
    assert max(map(len, batches)) <= limit

    cursors = [(RoomId(uuid(1)), user, notice) for user, notice in notices]
    digests = split_digest(encode_digest(cursors), limit)
    assert [cursor for digest in digests for cursor in decode_digest(digest)] == cursors
    assert max(map(len, digests)) <= limit


def test_a_notice_that_is_longer_alone_goes_alone():
    notices = [(UserId(uuid(number)), b"x" * 500) for number in range(3)]
    assert [len(decode_batch(batch)[1]) for batch in split_batch(encode_batch(0, notices), 100)] == [1, 1, 1]
