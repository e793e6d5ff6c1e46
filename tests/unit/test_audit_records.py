"""Records of erasures name a user by a fingerprint, and show what to erase again."""

from datetime import UTC, datetime, timedelta

from studyroom.gateway.erasure.targets import Targets, targets_of
from studyroom.shared.contract.audit import Action, AuditRecord, Outcome, fingerprint, is_until
from studyroom.shared.contract.ids import RoomId, UserId

USER = UserId("6fa459ea-ee8a-3ca4-894e-db77e160355e")
ROOM = RoomId("550e8400-e29b-41d4-a716-446655440000")
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


def record(action: Action, target: str, outcome: Outcome = Outcome.DONE, *, before: int | None = None) -> AuditRecord:
    return AuditRecord(action=action, target=target, by="key backend-2026", outcome=outcome, before=before)


def test_a_record_has_no_id_of_the_user_and_anyone_with_the_id_finds_it():
    made = record(Action.ERASE_USER, fingerprint(USER))
    assert USER not in made.subject + made.encode().decode()
    assert made.subject == f"audit.erase_user.{fingerprint(USER)}"
    assert AuditRecord.decode(made.encode()) == made
    # `printf %s <id> | sha256sum` prints the same.
    assert fingerprint(USER) == "ae15cc9715cd3ee8652861722698c88141d9585c005fd1240ab9686f71d2a75d"


def test_messages_from_after_the_erasure_are_not_erased_again():
    records = [
        (record(Action.ERASE_USER, fingerprint(USER), Outcome.REQUESTED), NOON - timedelta(seconds=10)),
        (record(Action.ERASE_ROOM, ROOM), NOON),
        (record(Action.ERASE_USER, fingerprint(USER)), NOON),
        (record(Action.REPEAT, "0"), NOON),
    ]
    targets = targets_of(records)
    assert targets == Targets(users={fingerprint(USER): NOON}, rooms={ROOM: NOON})
    assert is_until("2026-12-01T12:00:00Z", NOON)
    assert not is_until("2026-12-01T12:00:00.001Z", NOON)
    assert is_until("2036-12-01T12:00:00Z", None)


def test_old_messages_are_erased_again_up_to_the_latest_time_that_was_asked_for():
    records = [
        (record(Action.ERASE_OLD_MESSAGES, ROOM, before=2000), NOON),
        (record(Action.ERASE_OLD_MESSAGES, ROOM, before=1000), NOON),
    ]
    assert targets_of(records) == Targets(chats={ROOM: datetime.fromtimestamp(2000, UTC)})
