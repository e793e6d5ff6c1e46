from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.rooms.outbox import Outbox
from studyroom.gateway.wire.items import Item, Kind
from studyroom.shared.contract.ids import UserId

ADA, BEN, CLEO = UserId("ada"), UserId("ben"), UserId("cleo")


def item(frame: bytes, kind: Kind = Kind.CURSOR) -> Item:
    return Item(frame, kind)


def text(items: list[Item]) -> bytes:
    return b"".join(one.frame for one in items)


def test_all_frames_go_to_everyone_in_order():
    outbox = Outbox()
    outbox.add(item(b"1"))
    outbox.add(item(b"2"))
    assert outbox.take().for_member(ADA) == b"12"


def test_an_author_does_not_get_its_own_frames():
    outbox = Outbox()
    outbox.add(item(b"a"), not_to=ADA)
    outbox.add(item(b"b"), not_to=BEN)
    outbox.add(item(b"c"))
    outbox.add(item(b"d"), not_to=ADA)
    batch = outbox.take()
    assert (batch.for_member(ADA), batch.for_member(BEN), batch.for_member(CLEO)) == (b"bc", b"acd", b"abcd")


def test_a_newcomer_does_not_get_earlier_messages():
    outbox = Outbox()
    outbox.add(item(b"1"))
    outbox.add(item(b"2"), not_to=ADA)
    outbox.add(item(b"3"))
    batch = outbox.take()
    assert (text(batch.select(BEN, since=1)), text(batch.select(ADA, since=1))) == (b"23", b"3")


def test_a_newcomer_after_everything_gets_nothing():
    outbox = Outbox()
    outbox.add(item(b"1"))
    assert outbox.take().select(BEN, since=1) == []


def test_a_member_that_reads_too_slowly_gets_only_essential_messages():
    outbox = Outbox()
    chat, joined = item(b"1", Kind.CHAT), item(b"3", Kind.JOINED)
    for one in (chat, item(b"2"), joined, item(b"4", Kind.TYPING)):
        outbox.add(one)
    outbox.add(item(b"5", Kind.LEFT), not_to=ADA)
    assert outbox.take().select(ADA, essential_only=True) == [chat, joined]


def test_members_without_frames_of_their_own_share_one_buffer():
    outbox = Outbox()
    outbox.add(item(b"1"), not_to=ADA)
    outbox.add(item(b"2"))
    batch = outbox.take()
    assert batch.for_member(BEN) is batch.for_member(CLEO) is batch.everything


def test_taking_leaves_nothing_behind():
    outbox = Outbox()
    outbox.add(item(b"1"), not_to=ADA)
    outbox.take()
    assert len(outbox) == 0
    outbox.add(item(b"2"))
    assert outbox.take().for_member(ADA) == b"2"


def test_a_batch_that_was_taken_does_not_grow():
    outbox = Outbox()
    outbox.add(item(b"1"))
    batch = outbox.take()
    outbox.add(item(b"2"), not_to=ADA)
    assert (batch.for_member(ADA), batch.items) == (b"1", [item(b"1")])


AUTHORS = st.none() | st.sampled_from([ADA, BEN, CLEO])


@given(st.lists(AUTHORS, max_size=12), st.sampled_from([ADA, BEN, UserId("nobody")]), st.data())
def test_each_member_gets_the_messages_of_others_since_its_last_batch(
    authors: list[UserId | None], user: UserId, data: st.DataObject
):
    outbox = Outbox()
    items = [item(b"%d," % index) for index in range(len(authors))]
    for one, author in zip(items, authors, strict=True):
        outbox.add(one, not_to=author)
    since = data.draw(st.integers(0, len(items)))
    batch = outbox.take()
    due = [one for index, one in enumerate(items) if index >= since and authors[index] != user]
    assert batch.select(user, since=since) == due
    if not since:
        assert batch.for_member(user) == text(due)
