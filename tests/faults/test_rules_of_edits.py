"""The rules for edits and reactions, on histories that break them and on those that nearly do."""

from typing import Any

import pytest

from tests.faults.folding import Entry, edits_after_deletion, folds_differ, received
from tests.faults.stored import Posted
from tests.support.chat import Asked, hole_violations, views

ADA, ROOM = "ada", "room"
Log = list[dict[str, Any]]


def message(sequence: int, content: str = "first", **more: Any) -> dict[str, Any]:
    return {"type": "Chat", "payload": {"seq": sequence, "id": f"m{sequence}", "content": content, **more}}


def edit(sequence: int, target: int, content: str) -> dict[str, Any]:
    payload = {"seq": sequence, "id": f"m{sequence}", "target_seq": target, "target_id": f"m{target}"}
    return {"type": "ChatEdited", "payload": payload | {"content": content}}


def reaction(sequence: int, target: int, user: str = ADA, *, is_on: bool = True) -> dict[str, Any]:
    payload = {"seq": sequence, "id": f"m{sequence}", "target_seq": target, "target_id": f"m{target}"}
    return {"type": "ChatReaction", "payload": payload | {"user_id": user, "reaction": "+", "is_on": is_on}}


def stored(*log: dict[str, Any]) -> dict[str, dict[int, Entry]]:
    return {ROOM: {one["payload"]["seq"]: Entry(one["type"], one["payload"]) for one in log}}


CHANGED = [message(1), edit(2, 1, "second"), reaction(3, 1), edit(4, 1, "third"), reaction(5, 1, is_on=False)]
REACTED = [{"reaction": "+", "count": 1, "user_ids": [ADA]}]


def entered(last: int, history: int, *, recovered: bool | None = None) -> dict[str, Any]:
    payload = {"room_id": ROOM, "users": [], "epoch": "e", "last_seq": last, "history": history}
    return {"type": "JoinedRoom", "payload": payload | ({} if recovered is None else {"recovered": recovered})}


@pytest.mark.parametrize(
    "log",
    [
        [entered(0, 0), *CHANGED],
        [entered(3, 1), message(1, "second", edited_at=1, reactions=REACTED), *CHANGED[3:]],
        [entered(5, 1), message(1, "third", edited_at=1)],
        [entered(5, 1, recovered=True), message(1, "third", edited_at=1), *CHANGED[1:]],
        [entered(0, 0), *CHANGED, CHANGED[2]],
        [entered(5, 1), message(1, "third", edited_at=1), CHANGED[2]],
    ],
    ids=["live", "a newcomer in between", "a late newcomer", "a resume", "a copy", "a copy for a newcomer"],
)
def test_a_client_that_has_every_change_shows_messages_as_the_stream_has_made_them(log: Log):
    assert folds_differ({"a client": (ROOM, received(log))}, stored(*CHANGED)) == []


@pytest.mark.parametrize(
    "log",
    [
        [entered(0, 0), *CHANGED[:4]],
        [entered(0, 0), CHANGED[0], CHANGED[3], *CHANGED[1:3], CHANGED[4]],
        [entered(5, 1), message(1)],
        [entered(5, 1), message(1, "third", edited_at=1, reactions=REACTED)],
    ],
    ids=["a change is missing", "in another order", "folded without edits", "folded without a reaction taken back"],
)
def test_a_client_that_shows_a_message_as_it_is_not_is_a_violation(log: Log):
    assert folds_differ({"a client": (ROOM, received(log))}, stored(*CHANGED))


def test_changes_before_the_join_of_a_newcomer_need_not_come_and_those_after_it_must():
    changes = {(ROOM, "e"): {2, 3, 4, 5}}
    known = {(ROOM, "e"): {sequence: {f"m{sequence}"} for sequence in range(1, 7)}}

    def missing(*log: dict[str, Any]) -> list[str]:
        return hole_violations(views(log, [Asked(ROOM, 0, "e")]), known, None, changes)

    assert missing(entered(3, 1), message(1), CHANGED[3], CHANGED[4], message(6)) == []
    assert missing(entered(3, 1), message(1), CHANGED[4], message(6))
    assert missing(entered(5, 1, recovered=True), *CHANGED) == []
    assert missing(entered(5, 1, recovered=True), CHANGED[0], *CHANGED[2:])


def test_an_edit_of_a_message_whose_deletion_was_acknowledged_must_not_be_stored():
    gone = [Posted(ROOM, "m1", 1.0)]
    assert edits_after_deletion(gone, stored(*CHANGED[1:]))
    assert edits_after_deletion(gone, stored(message(6), edit(7, 6, "x"), reaction(8, 1))) == []
