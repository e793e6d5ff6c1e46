"""How full the bucket of members is, between two looks at it."""

from studyroom.presence.capacity import BucketCapacity

MIB = 1024**2


def filled(share: float, *, max_bytes: int = MIB, sequence: int = 100) -> BucketCapacity:
    capacity = BucketCapacity()
    capacity.update(size_bytes=int(share * MIB), max_bytes=max_bytes, messages=100, sequence=sequence)
    return capacity


def test_before_anything_is_known_everybody_gets_in():
    capacity = BucketCapacity()
    capacity.count_refusal()
    assert capacity.has_room_for_members(1000)
    assert capacity.has_room_for_connections(1000)


def test_a_bucket_without_a_size_is_never_full():
    assert filled(5, max_bytes=-1).has_room_for_members(10**9)


def test_new_members_are_refused_first_then_more_connections_of_members():
    takes = [
        (capacity.has_room_for_members(100), capacity.has_room_for_connections(100))
        for capacity in map(filled, (0.89, 0.91, 0.96))
    ]
    assert takes == [(True, True), (False, True), (False, False)]


def test_changes_since_the_last_look_count():
    capacity = filled(0.5)
    assert capacity.has_room_for_members(101)
    assert not capacity.has_room_for_members(1000)


def test_long_entries_count_by_their_length():
    capacity = filled(0.5)
    for _ in range(10):
        capacity.count_write(10_000)
    assert capacity.has_room_for_members(130)
    assert not capacity.has_room_for_members(150)
    capacity.update(size_bytes=MIB // 2, max_bytes=MIB, messages=100, sequence=150)
    assert capacity.has_room_for_members(180)


def test_the_next_look_corrects_an_estimate_that_was_too_high():
    capacity = filled(0.5)
    assert not capacity.has_room_for_members(1000)
    capacity.update(size_bytes=MIB // 2, max_bytes=MIB, messages=100, sequence=1000)
    assert capacity.has_room_for_members(1000)


def test_where_nats_has_refused_a_change_nobody_gets_in_until_the_next_look():
    capacity = filled(0.5)
    capacity.count_refusal()
    assert not capacity.has_room_for_connections(100)
    capacity.update(size_bytes=MIB // 2, max_bytes=MIB, messages=100, sequence=100)
    assert capacity.has_room_for_members(100)
