"""The Python client's edits, deletions and reactions: what it sends, and how messages look afterwards."""

from typing import Any

import pytest

from studyroom.client.core.changes import Changes
from studyroom.client.core.folding import NewestReactions, edited, message_of, reacted
from studyroom.client.core.parts import deletion_of, edit_of, reaction_of, user_ids_of
from studyroom.client.values import ChatMessage, Failure, Reaction
from studyroom.shared.contract.chat_messages import ChatEditedPayload, ChatPayload, ChatReactionPayload
from studyroom.shared.contract.folding import REACTIONS_MAX

ANN, BOB = "0a1b2c3d-4e5f-4678-9abc-def012345678", "1a1b2c3d-4e5f-4678-9abc-def012345678"
FIRST, SECOND = "1e57ab1e-2222-4333-8444-555566667777", "2e57ab1e-2222-4333-8444-555566667777"
OWN = frozenset({ANN})
MESSAGE = ChatMessage(FIRST, BOB, "Bob", "before", own=False, timestamp=1, seq=7)
BUSY, GONE = Failure("chat_unavailable", ""), Failure("chat_not_found", "")
EDIT = edit_of(MESSAGE, "after", [BOB])


def edit(content: str, at: int, **fields: Any) -> ChatEditedPayload:
    return ChatEditedPayload.model_validate(
        {"user_id": BOB, "target_id": FIRST, "target_seq": 7, "content": content, "timestamp": at, "id": SECOND,
         "seq": at, **fields}
    )  # fmt: skip


def reaction(user: str, *, is_on: bool = True, text: str = "👍") -> ChatReactionPayload:
    payload = {"user_id": user, "target_id": FIRST, "target_seq": 7, "id": SECOND, "seq": 8, "is_on": is_on}
    return ChatReactionPayload.model_validate({**payload, "reaction": text})


# --- folding -----------------------------------------------------------------------------------------------------


def test_the_newest_edit_counts_with_its_mentions():
    message = edited(edited(MESSAGE, edit("second", 20, mentions=[ANN])), edit("first", 10))
    assert (message.content, message.mentions, message.edited_at) == ("second", (ANN,), 20)


def test_the_copy_of_an_older_reaction_does_not_undo_a_newer_one():
    newest = NewestReactions()
    newest.begin(7)

    def is_newer(user: str, seq: int) -> bool:
        return newest.is_newer(reaction(user).model_copy(update={"seq": seq}))

    assert [is_newer(ANN, seq) for seq in (7, 9, 8, 9, 10)] == [False, True, False, False, True]
    assert is_newer(BOB, 8)
    newest.begin(0)
    assert is_newer(ANN, 8)


def test_a_user_counts_once_for_each_reaction_until_it_is_taken_back():
    once = reacted(reacted(MESSAGE, reaction(BOB), OWN), reaction(BOB), OWN)
    assert once.reactions == (Reaction("👍", 1, (BOB,), own=False),)
    both = reacted(once, reaction(ANN), OWN)
    assert both.reactions == (Reaction("👍", 2, (BOB, ANN), own=True),)
    none = reacted(reacted(both, reaction(ANN, is_on=False), OWN), reaction(BOB, is_on=False), OWN)
    assert none.reactions == ()
    assert reacted(none, reaction(BOB, is_on=False), OWN) is none


def test_a_message_has_at_most_as_many_different_reactions_as_at_the_server():
    message = MESSAGE
    for number in range(REACTIONS_MAX + 1):
        message = reacted(message, reaction(BOB, text=str(number)), OWN)
    assert [one.reaction for one in message.reactions] == [str(number) for number in range(REACTIONS_MAX)]


def test_a_message_of_the_server_comes_with_everything_that_was_done_to_it():
    chat = ChatPayload.model_validate(
        {"user_id": BOB, "username": "Bob", "content": "c", "timestamp": 1, "id": FIRST, "seq": 7, "reply_to": SECOND,
         "mentions": [ANN], "edited_at": 2, "reactions": [{"reaction": "👍", "count": 60, "user_ids": [BOB, ANN]}]}
    )  # fmt: skip
    message = message_of(chat, OWN)
    assert (message.reply_to, message.mentions, message.edited_at) == (SECOND, (ANN,), 2)
    assert message.reactions == (Reaction("👍", 60, (BOB, ANN), own=True),)
    assert reacted(message, reaction(BOB), OWN) is message, "it came folded"


# --- sending -----------------------------------------------------------------------------------------------------


def test_a_change_waits_for_the_room_and_is_sent_again_after_a_lost_connection_and_without_an_answer():
    changes = Changes()
    changes.add(SECOND, EDIT)
    assert changes.poll(0) == ([], [])
    changes.open(120)
    assert changes.poll(1) == ([EDIT], [])
    assert changes.poll(2) == ([], [])
    assert changes.wake_at == 11
    assert changes.poll(11) == ([EDIT], [])
    changes.hold()
    changes.open(120)
    assert changes.poll(12) == ([EDIT], [])
    assert changes.stored(SECOND) is True
    assert changes.stored(SECOND) is False


def test_a_change_fails_when_the_server_refuses_it_for_good_and_is_sent_again_when_it_may_pass():
    changes = Changes()
    changes.add(SECOND, EDIT)
    changes.open(120)
    changes.poll(0)
    assert changes.refused(SECOND, BUSY, 5) is False
    assert changes.poll(5.5) == ([], [])
    assert changes.poll(6) == ([EDIT], [])
    assert changes.refused(SECOND, GONE, 7) is True
    assert SECOND not in changes


def test_a_change_fails_as_unknown_before_the_server_forgets_its_id():
    changes = Changes()
    changes.add(SECOND, EDIT)
    changes.open(120)
    changes.poll(0)
    changes.hold()
    assert changes.poll(89) == ([], [])
    messages, ((failed, why),) = changes.poll(90)
    assert (messages, failed, why.code) == ([], SECOND, "expired")


# --- calls that the protocol does not allow ----------------------------------------------------------------------


def test_a_change_that_the_protocol_does_not_allow_is_refused_at_the_call():
    unsent = ChatMessage(FIRST, ANN, "Ann", "c", own=True)
    for call in (lambda: edit_of(unsent, "x", ()), lambda: deletion_of(unsent)):
        with pytest.raises(ValueError, match="not stored yet"):
            call()
    with pytest.raises(ValueError, match="text that people can see"):
        edit_of(MESSAGE, " ", ())
    for text in ("", "x" * 33, "a\nb", "\ud800"):
        with pytest.raises(ValueError, match="not a reaction"):
            reaction_of(MESSAGE, text, is_on=True)
    with pytest.raises(ValueError, match="not a UUID"):
        user_ids_of(["Ann"])
    with pytest.raises(ValueError, match="20 users at most"):
        user_ids_of(f"{number:08}-4e5f-4678-9abc-def012345678" for number in range(21))
    assert user_ids_of([ANN.upper(), ANN]) == (ANN,)
