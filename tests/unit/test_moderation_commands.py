"""The bans that a gateway knows, and the commands that it carries out: each once."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from studyroom.gateway.moderation.commands import Change, Commands
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.moderation import Command, Kind, Target, target_of

ROOM, OTHER_ROOM = RoomId(str(uuid4())), RoomId(str(uuid4()))
USER, OTHER = UserId(str(uuid4())), UserId(str(uuid4()))
NOW = datetime(2026, 11, 28, 13, 0, 0, tzinfo=UTC)
ORDER = Command(by="key backend")
BAN, ROOM_BAN = Target(Kind.BAN, USER), Target(Kind.BAN, USER, ROOM)
REMOVAL, DISCONNECTION = Target(Kind.REMOVE, USER, ROOM), Target(Kind.DISCONNECT, USER)


def change(sequence: int, target: Target, order: Command | None = ORDER) -> Change:
    return Change(sequence, target, order)


def receive(orders: Commands, *changes: Change) -> list[Target]:
    return orders.take(changes, changes[-1].sequence)


def test_a_ban_from_everything_is_a_ban_from_every_room():
    orders = Commands()
    assert receive(orders, change(1, BAN)) == [BAN]
    assert orders.ban_of(USER, now=NOW) == orders.ban_of(USER, ROOM, now=NOW) == ORDER
    assert orders.ban_of(OTHER, now=NOW) is None


def test_a_ban_from_a_room_is_a_ban_from_that_room_only():
    orders = Commands()
    receive(orders, change(1, ROOM_BAN))
    assert orders.ban_of(USER, ROOM, now=NOW) == ORDER
    assert (
        orders.ban_of(USER, now=NOW)
        is orders.ban_of(USER, OTHER_ROOM, now=NOW)
        is orders.ban_of(OTHER, ROOM, now=NOW)
        is None
    )


def test_a_ban_that_was_lifted_or_has_ended_no_longer_holds_and_is_not_carried_out():
    orders = Commands()
    receive(orders, change(1, BAN), change(2, ROOM_BAN))
    assert receive(orders, change(3, BAN, None)) == []
    assert orders.ban_of(USER, now=NOW) is None
    assert list(orders.bans(now=NOW)) == [(USER, ROOM)]


def test_a_ban_ends_when_its_time_is_over_and_begins_again_when_it_is_put_again():
    orders = Commands()
    at = NOW - timedelta(seconds=100)
    orders.take([Change(1, BAN, ORDER, at, 100), Change(2, ROOM_BAN, ORDER, at, 101)], 2)
    assert orders.ban_of(USER, now=NOW) is None
    assert orders.ban_of(USER, ROOM, now=NOW) == ORDER
    assert list(orders.bans(now=NOW)) == [(USER, ROOM)]
    orders.take([Change(3, BAN, ORDER, NOW, 100)], 3)
    assert orders.ban_of(USER, now=NOW + timedelta(seconds=99.9)) == ORDER
    assert orders.ban_of(USER, now=NOW + timedelta(seconds=100)) is None


def test_bans_that_have_ended_do_not_pile_up():
    orders = Commands()
    for sequence in range(1, 20_000):
        target = Target(Kind.BAN, UserId(str(sequence)))
        orders.take([Change(sequence, target, ORDER, NOW + timedelta(seconds=sequence), 100)], sequence)
    assert len(orders._bans) < 1500
    assert len(orders.bans(now=NOW + timedelta(seconds=20_000))) == 99


def test_a_command_is_not_carried_out_twice_when_all_are_read_again():
    orders = Commands()
    assert receive(orders, change(1, REMOVAL)) == [REMOVAL]
    assert receive(orders, change(2, DISCONNECTION)) == [DISCONNECTION]
    everything = [change(1, REMOVAL), change(2, DISCONNECTION), change(4, BAN), change(6, REMOVAL)]
    orders.forget(replaced=False)
    assert orders.take(everything, 7) == [BAN, REMOVAL]
    assert orders.position == 7
    orders.forget(replaced=False)
    assert orders.take(everything, 7) == []
    assert orders.ban_of(USER, now=NOW) == ORDER


def test_a_ban_that_is_missing_when_all_are_read_no_longer_holds():
    orders = Commands()
    receive(orders, change(1, BAN))
    orders.forget(replaced=False)
    orders.take([], 3)
    assert orders.ban_of(USER, now=NOW) is None
    assert orders.position == 3


def test_in_another_bucket_every_command_is_carried_out():
    orders = Commands()
    receive(orders, change(9, BAN))
    orders.forget(replaced=True)
    assert receive(orders, change(1, REMOVAL)) == [REMOVAL]
    assert orders.ban_of(USER, now=NOW) is None
    assert receive(orders, change(2, BAN)) == [BAN]


@pytest.mark.parametrize("target", [BAN, ROOM_BAN, REMOVAL, DISCONNECTION])
def test_a_key_and_its_event_name_their_target(target: Target):
    assert target_of(target.key) == target_of(target.key.removeprefix("$KV.")) == target


def committed(sequence: int, target: Target, second: int) -> Change:
    return Change(sequence, target, ORDER, datetime(2026, 11, 28, 12, 0, second, tzinfo=UTC))


def test_only_new_commands_of_a_bucket_that_lost_its_newest_changes_are_carried_out():
    orders = Commands()
    orders.take([committed(1, REMOVAL, 1), committed(2, DISCONNECTION, 2), committed(9, BAN, 9)], 9)
    new = committed(2, ROOM_BAN, 20)
    assert orders.is_rewritten(new)
    assert not orders.is_rewritten(committed(2, DISCONNECTION, 2))
    orders.forget(replaced=False)
    assert orders.take([committed(1, REMOVAL, 1), new], 2, shorter=True) == [ROOM_BAN]
    assert orders.ban_of(USER, now=NOW) is None, "the lost ban"
    assert orders.take([committed(3, REMOVAL, 21)], 3) == [REMOVAL]


def test_commands_after_a_lost_tail_are_carried_out_for_any_clock_of_nats():
    orders = Commands()
    orders.take([committed(9, BAN, 9)], 9)
    orders.forget(replaced=False)
    orders.take([], 2, shorter=True)
    assert orders.take([committed(3, DISCONNECTION, 5)], 3) == [DISCONNECTION]


@pytest.mark.parametrize("subject", ["$KV.presence.7.r.u", "moderation", "moderation.ban", "moderation.praise.u"])
def test_other_subjects_are_not_targets(subject: str):
    with pytest.raises(ValueError, match=r"moderation|Kind"):
        target_of(subject)
