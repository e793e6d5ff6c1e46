"""How the store is divided among the streams."""

import pytest

from studyroom.services.provisioner.sizes import GIB, MIB, account_bytes, divide, fitted
from studyroom.shared.chassis.nats.version import is_too_old
from studyroom.shared.contract import hook_subjects, subjects


@pytest.mark.parametrize("total", [MIB, 64 * MIB, GIB, 8 * GIB, 1000 * GIB])
def test_all_parts_together_leave_room_and_each_stream_has_one(total: int):
    parts = divide(total)
    assert sorted(parts) == sorted(subjects.STREAMS)
    assert all(part > 0 for part in parts.values())
    assert sum(parts.values()) <= total * 0.95
    assert max(parts, key=lambda stream: parts[stream]) == subjects.CHAT_STREAM


@pytest.mark.parametrize("total", [MIB, 8 * GIB, 1000 * GIB])
@pytest.mark.parametrize("groups", [1, 4])
def test_hooks_get_the_parts_that_the_other_streams_leave(total: int, groups: int):
    parts, without = divide(total, groups=groups, with_hooks=True), divide(total, groups=groups)
    assert parts.keys() - without.keys() == set(hook_subjects.streams_of_hooks(groups))
    assert {stream: parts[stream] for stream in without} == without
    assert all(part > 0 for part in parts.values())
    assert sum(parts.values()) <= total * 0.98


def test_no_part_is_larger_than_a_stream_may_be():
    assert max(divide(8 * GIB, stream_max_bytes=GIB).values()) == GIB


@pytest.mark.parametrize(
    ("has", "state_bytes", "known", "expected"),
    [
        (-1, 0, True, 100), (-1, 1000, True, 1250),  # without a limit before: above the stored size
        (50, 0, True, 100), (95, 0, True, 95), (200, 0, True, 200),  # larger, but not for a trifle, and never smaller
        (50, 0, False, 50),  # an assumed limit changes nothing
    ],
)  # fmt: skip
def test_a_stream_that_exists_is_never_made_smaller(has: int, state_bytes: int, known: bool, expected: int):
    assert fitted(100, has=has, state_bytes=state_bytes, known=known) == expected


NO_LIMITS = {"max_storage": -1, "max_memory": -1, "storage_max_stream_bytes": -1, "memory_max_stream_bytes": -1}


@pytest.mark.parametrize(
    ("account", "kind", "expected"),
    [
        ({"limits": NO_LIMITS}, "file", (None, -1)),
        ({"limits": {**NO_LIMITS, "max_storage": 300}}, "file", (100, -1)),  # counts every copy
        ({"limits": {**NO_LIMITS, "max_storage": 300}}, "memory", (None, -1)),
        ({"limits": {**NO_LIMITS, "max_memory": 300, "memory_max_stream_bytes": 50}}, "memory", (100, 50)),
        ({"limits": NO_LIMITS, "tiers": {"R3": {"limits": {**NO_LIMITS, "max_storage": 300}}}}, "file", (300, -1)),
        ({"limits": NO_LIMITS, "tiers": {"R1": {"limits": {**NO_LIMITS, "max_storage": 300}}}}, "file", (None, -1)),
        ({"limits": {**NO_LIMITS, "max_storage": 0}}, "file", (0, -1)),
    ],
)  # fmt: skip
def test_the_storage_of_an_account_is_counted_for_one_copy(
    account: dict[str, object], kind: str, expected: tuple[int | None, int]
):
    assert account_bytes(account, kind=kind, replicas=3) == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [("2.10.29", True), ("1.4.1", True), ("2.11.0", False), ("2.11.0-RC.1", False), ("2.15.1", False), ("3.0", False),
     ("v2.9.1", True), ("", False), ("main", False)],
)  # fmt: skip
def test_a_server_that_is_too_old_is_known_by_its_version(version: str, expected: bool):
    assert is_too_old(version) is expected
