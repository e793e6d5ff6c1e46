"""How full the bucket of members is, between two looks at it."""

from studyroom.presence.fill import Fill

MIB = 1024**2


def filled(share: float, *, max_bytes: int = MIB, sequence: int = 100) -> Fill:
    fill = Fill()
    fill.looked(size_bytes=int(share * MIB), max_bytes=max_bytes, messages=100, sequence=sequence)
    return fill


def test_before_anything_is_known_everybody_gets_in():
    fill = Fill()
    fill.refused()
    assert fill.takes_members(1000)
    assert fill.takes_connections(1000)


def test_a_bucket_without_a_size_is_never_full():
    assert filled(5, max_bytes=-1).takes_members(10**9)


def test_new_members_are_refused_first_then_more_connections_of_members():
    takes = [(fill.takes_members(100), fill.takes_connections(100)) for fill in map(filled, (0.89, 0.91, 0.96))]
    assert takes == [(True, True), (False, True), (False, False)]


def test_changes_since_the_last_look_count():
    fill = filled(0.5)
    assert fill.takes_members(101)
    assert not fill.takes_members(1000)


def test_long_entries_count_by_their_length():
    fill = filled(0.5)
    for _ in range(10):
        fill.wrote(10_000)
    assert fill.takes_members(130)
    assert not fill.takes_members(150)
    fill.looked(size_bytes=MIB // 2, max_bytes=MIB, messages=100, sequence=150)
    assert fill.takes_members(180)


def test_the_next_look_corrects_what_was_estimated_too_high():
    fill = filled(0.5)
    assert not fill.takes_members(1000)
    fill.looked(size_bytes=MIB // 2, max_bytes=MIB, messages=100, sequence=1000)
    assert fill.takes_members(1000)


def test_where_nats_has_refused_a_change_nobody_gets_in_until_the_next_look():
    fill = filled(0.5)
    fill.refused()
    assert not fill.takes_connections(100)
    fill.looked(size_bytes=MIB // 2, max_bytes=MIB, messages=100, sequence=100)
    assert fill.takes_members(100)
