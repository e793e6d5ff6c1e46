"""Edits and reactions change a message in the same way for a newcomer, a resume and a page."""

from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.rooms.history import History, Stored, only_chat, with_changes
from studyroom.shared.contract.chat import (
    changed_by,
    deleted_by,
    encode_edit,
    encode_reaction,
    encode_stored,
    encode_tombstone,
    is_edit,
    with_sequence,
)
from studyroom.shared.contract.chat_messages import Chat, ChatPayload, EditChatPayload, ReactToChatPayload
from studyroom.shared.contract.folding import REACTIONS_MAX, SHOWN_USERS_MAX, folded
from studyroom.shared.contract.ids import MessageId, UserId, new_message_id, new_user_id

ANN, BOB = (UserId(f"{digit * 8}-0d3b-4e0a-9c57-2b1f6a8f3d11") for digit in "ab")
MESSAGE = MessageId("1e57ab1e-2222-4333-8444-555566667777")
TARGET = {"target_id": MESSAGE, "target_seq": 1}
KEPT = 8


def message(content: str = "one", sequence: int = 1) -> Stored:
    return Stored.of(sequence, encode_stored(ANN, "Ann", content, 1_700_000_000, MESSAGE), "2026-11-24T09:00:00Z")


def edit(content: str, sequence: int = 2, *, by: UserId = ANN, target: int = 1) -> Stored:
    payload = EditChatPayload.model_construct(target_id=MESSAGE, target_seq=target, content=content, mentions=None)
    return Stored.of(sequence, encode_edit(by, payload, 1_700_000_060, new_message_id()), "2026-11-24T09:00:01Z")


def reaction(text: str, sequence: int = 2, *, by: UserId = BOB, is_on: bool = True, target: int = 1) -> Stored:
    payload = ReactToChatPayload.model_construct(target_id=MESSAGE, target_seq=target, reaction=text, is_on=is_on)
    return Stored.of(sequence, encode_reaction(by, payload, new_message_id()), "2026-11-24T09:00:01Z")


def tombstone(sequence: int, deleted: int) -> Stored:
    return Stored.of(sequence, encode_tombstone(MESSAGE, deleted), "2026-11-24T09:00:02Z")


def after(*changes: Stored) -> ChatPayload:
    return Chat.model_validate_json(folded(message().ready, [change.ready for change in changes])).payload


def counts(payload: ChatPayload) -> dict[str, int]:
    return {summary.reaction: summary.count for summary in payload.reactions or ()}


def contents(lines: list[Stored]) -> list[str]:
    return [Chat.model_validate_json(line.ready).payload.content for line in lines if line.is_message]


# --- folding -----------------------------------------------------------------------------------------------


def test_the_newest_edit_of_the_author_counts():
    payload = after(edit("two"), edit("three"), edit("forged", by=BOB))
    assert (payload.content, payload.edited_at, payload.timestamp) == ("three", 1_700_000_060, 1_700_000_000)


def test_a_message_without_changes_is_spelled_as_it_was_stored():
    assert folded(message().ready, []) == message().ready


def test_a_user_counts_once_for_each_reaction_until_it_is_taken_back():
    assert counts(after(reaction("+"), reaction("+"), reaction("-"), reaction("+", by=ANN))) == {"+": 2, "-": 1}
    assert after(reaction("+"), reaction("+", is_on=False)).reactions is None
    assert after(reaction("+", is_on=False)).reactions is None


def test_reactions_beyond_the_limit_change_nothing_and_a_free_place_can_be_used():
    most = [reaction(str(number)) for number in range(REACTIONS_MAX)]
    assert len(counts(after(*most, reaction("more")))) == REACTIONS_MAX
    assert "more" in counts(after(*most, reaction("0", is_on=False), reaction("more")))
    assert counts(after(*most, reaction("0", by=ANN)))["0"] == 2


def test_a_message_names_a_bounded_number_of_users_and_counts_all():
    payload = after(*(reaction("+", by=new_user_id()) for _ in range(SHOWN_USERS_MAX + 5)))
    assert payload.reactions is not None
    (summary,) = payload.reactions
    assert (summary.count, len(summary.user_ids)) == (SHOWN_USERS_MAX + 5, SHOWN_USERS_MAX)


@given(st.text(), st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1))
def test_a_change_names_the_message_that_it_changes_for_any_text(text: str, target: int, sequence: int):
    for change in (edit(text, target=target), reaction(text, target=target)):
        assert (change.changes, change.deletes, change.is_message) == (target, 0, False)
        assert changed_by(with_sequence(change.ready, sequence)) == target
    assert is_edit(edit(text).ready)
    assert not is_edit(reaction(text).ready)


@given(st.text())
def test_nothing_that_people_write_is_taken_for_a_change(text: str):
    for content in (text, '{"type":"ChatEdited","target_seq":7', '"target_seq":7'):
        stored = message(content)
        assert (stored.changes, deleted_by(stored.ready), stored.is_message) == (0, 0, True)
    assert edit('","target_seq":7,"', target=3).changes == 3


# --- the history of a room ---------------------------------------------------------------------------------


def history_of(*lines: Stored) -> History:
    history = History(KEPT)
    history.begin(0)
    for before, line in zip((0, *(line.sequence for line in lines)), lines, strict=False):
        history.receive(line, before)
    return history


def test_newcomers_get_messages_as_they_are_now_and_resumes_get_every_entry():
    history = history_of(message("one", 1), message("other", 2), edit("two", 3), reaction("+", 4))
    (first, _) = history.newest(KEPT)
    payload = Chat.model_validate_json(first.ready).payload
    assert (payload.content, counts(payload)) == ("two", {"+": 1})
    assert [line.sequence for line in history.after(1)] == [2, 3, 4]
    history.receive(edit("three", 5), 4)
    assert contents(history.newest(KEPT)) == ["three", "other"]


def test_reactions_push_no_message_out_of_the_history():
    lines = [message(str(number), number) for number in range(1, KEPT + 1)]
    lines += [reaction("+", number, by=new_user_id()) for number in range(KEPT + 1, 10 * KEPT)]
    history = history_of(*lines)
    assert len(history.newest(KEPT)) == KEPT
    history.receive(message("new", 10 * KEPT), 10 * KEPT - 1)
    assert [line.sequence for line in history.newest(KEPT)] == [*range(2, KEPT + 1), 10 * KEPT]


def test_a_deleted_message_is_gone_with_its_edits():
    history = history_of(message("one", 1), edit("two", 2), tombstone(3, 1), tombstone(4, 2))
    assert history.newest(KEPT) == []
    assert [line.sequence for line in history.after(0)] == [3, 4]


def test_messages_that_members_missed_come_as_they_are_now():
    history = History(KEPT)
    history.begin(0)
    assert contents(history.fill([message("secret", 1), edit("nothing", 2)], 2)) == ["nothing"]
    assert history.is_another(message("secret", 1)) is False


def test_a_page_has_only_messages_folded_with_the_changes_after_it():
    lines = [message("one", 1), reaction("+", 2), tombstone(3, 9)]
    assert contents(with_changes(only_chat(lines), [edit("two", 4)])) == ["two"]
    assert [line.sequence for line in only_chat(lines)] == [1]


def test_a_change_from_before_a_message_changes_nothing_because_it_was_meant_for_an_earlier_stream():
    late = [edit("of the earlier stream", 2, target=5), reaction("+", 3, target=5)]
    (folded_now,) = with_changes([message("one", 5)], late, [edit("two", 7, target=5)])
    payload = Chat.model_validate_json(folded_now.ready).payload
    assert (payload.content, payload.reactions) == ("two", None)
    history = History(KEPT)
    history.begin(1)
    history.fill([*late, message("one", 5)], 5)
    assert contents(history.newest(KEPT)) == ["one"]
