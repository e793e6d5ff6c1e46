"""Groups of shards: which streams there are, and which one a room belongs to."""

from uuid import uuid4

import pytest

from studyroom.shared.contract import document_subjects, subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.groups import STREAMS_MADE, ByGroup, Group, all_groups, groups_made
from studyroom.shared.contract.ids import RoomId, UserId

COUNTS = [1, 2, 3, 4, 16]
NOTES = DocumentName("notes")


def covers(wanted: str, subject: str) -> bool:
    mine, others = wanted.split("."), subject.split(".")
    if mine[-1] == ">":
        mine, others = mine[:-1], others[: len(mine) - 1]
    return len(mine) == len(others) and all(one in {"*", other} for one, other in zip(mine, others, strict=True))


def test_one_group_has_the_streams_and_names_that_there_have_always_been():
    (group,) = all_groups(1)
    buckets = ("KV_presence", "KV_gateways", "KV_moderation", "KV_retention")
    assert subjects.streams(1) == (*buckets, "CHAT", "DOCUMENTS", "AUDIT")
    assert (group.chat_stream, group.presence_stream) == ("CHAT", "KV_presence")
    assert (group.chat_subjects, group.presence_subjects) == (["chat.*.*"], ["$KV.presence.>"])
    assert group.documents_subjects == ["document.*.*.*", "snapshot.>", "document.incarnation"]
    assert group.presence_incarnation == "$KV.presence.incarnation"
    assert group.chat_incarnation == "$KV.moderation.incarnation.chat"
    assert group == Group()


@pytest.mark.parametrize("count", COUNTS)
def test_every_shard_is_in_one_group(count: int):
    shards = [shard for group in all_groups(count) for shard in group.shards]
    assert sorted(shards) == list(range(subjects.SHARDS))
    assert len(subjects.streams(count)) == 3 * count + 4


@pytest.mark.parametrize("count", COUNTS)
def test_a_room_is_in_the_streams_of_its_group_and_in_no_other(count: int):
    groups = all_groups(count)
    for _ in range(200):
        room, user = RoomId(str(uuid4())), UserId(str(uuid4()))
        own = ByGroup(groups).of(room)
        assert subjects.shard_of(room) in own.shards
        for subject, of in (
            (subjects.chat(room), lambda group: group.chat_subjects),
            (document_subjects.document(room, NOTES), lambda group: group.documents_subjects),
            (document_subjects.document_snapshot(room, NOTES), lambda group: group.documents_subjects),
            (document_subjects.document_snapshot_part(room, NOTES), lambda group: group.documents_subjects),
            (subjects.presence_key(room, user), lambda group: group.presence_subjects),
        ):
            assert [group for group in groups if any(covers(one, subject) for one in of(group))] == [own]


@pytest.mark.parametrize("count", COUNTS[1:])
def test_each_group_has_its_own_records_in_its_own_streams(count: int):
    groups = all_groups(count)
    assert len({group.chat_incarnation for group in groups}) == count
    for group in groups:
        assert group.presence_incarnation in group.presence_subjects
        assert not covers(subjects.PRESENCE_REPUBLISH_SOURCE, group.presence_incarnation)
        assert group.documents_incarnation in group.documents_subjects
        assert not covers(document_subjects.DOCUMENT_LOGS, group.documents_incarnation)
        for record in (group.chat_incarnation, subjects.chat_incarnation_event(group.chat_incarnation)):
            assert subjects.is_chat_incarnation(record)
            assert covers(subjects.MODERATION_EVENTS, record.removeprefix("$KV."))


def test_a_command_of_a_moderator_does_not_count_as_a_record():
    assert not subjects.is_chat_incarnation("$KV.moderation.ban.6fa459ea-ee8a-3ca4-894e-db77e160355e")


@pytest.mark.parametrize("count", COUNTS)
def test_a_stream_shows_for_how_many_groups_it_was_made(count: int):
    names = " ".join(sorted(subjects.streams(count)))
    assert groups_made({"metadata": {STREAMS_MADE: names}}) == count


@pytest.mark.parametrize("config", [{}, {"metadata": None}, {"metadata": {"other": "CHAT"}}])
def test_a_stream_that_others_have_made_does_not_show_it(config: dict[str, object]):
    assert groups_made(config) is None
