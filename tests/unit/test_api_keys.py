"""Keys of trusted backends: how they are made, kept and recognised."""

from hashlib import sha256

import pytest
from click.testing import CliRunner

from studyroom.services.stack.cli import main
from studyroom.shared.chassis.api_keys import ApiKeys, check_entries, entry_of, new_api_key

OLD, NEW = new_api_key(), new_api_key()
KEYS = ApiKeys([entry_of("backend-2025", OLD), entry_of("backend-2026", NEW)])
HASH = "0" * 64


def test_a_key_is_long_random_and_easy_to_find_where_it_does_not_belong():
    assert OLD != NEW
    assert OLD.startswith("studyroom_")
    assert len(OLD) >= 50


def test_the_configuration_has_the_hash_and_not_the_key():
    entry = entry_of("backend", NEW)
    assert NEW not in entry
    assert entry == f"backend:{sha256(NEW.encode()).hexdigest()}"


@pytest.mark.parametrize(("key", "name"), [(OLD, "backend-2025"), (NEW, "backend-2026")], ids=["old", "new"])
def test_while_keys_are_rotated_each_is_known_by_its_name(key: str, name: str):
    assert KEYS.name_of(f"Bearer {key}") == KEYS.name_of(f"bearer  {key} ") == name


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", f"Basic {NEW}", NEW, f"Bearer {NEW[:-1]}", f"Bearer {NEW}x", "Bearer schlüssel",
     f"Bearer {entry_of('backend-2026', NEW)}", f"Bearer {sha256(NEW.encode()).hexdigest()}"],
    ids=range(10),
)  # fmt: skip
def test_nothing_else_is_a_key(authorization: str):
    assert KEYS.name_of(authorization) is None
    assert ApiKeys([]).name_of(f"Bearer {NEW}") is None


@pytest.mark.parametrize(
    "entries",
    [["backend"], [":" + HASH], ["backend:"], ["backend:abc"], ["backend:" + "G" * 64], [f"Back end:{HASH}"],
     [f"a:{HASH}", f"a:{HASH}"], [NEW]],
)  # fmt: skip
def test_malformed_entries_are_refused_without_repeating_them(entries: list[str]):
    with pytest.raises(ValueError, match=r"entry|same name") as refused:
        check_entries(entries)
    assert NEW not in str(refused.value)


def test_the_command_prints_a_key_and_the_entry_that_recognises_it():
    printed = CliRunner().invoke(main, ["api-key", "backend"]).output
    key, entry = (line.split()[1] for line in printed.splitlines())
    check_entries([entry])
    assert ApiKeys([entry]).name_of(f"Bearer {key}") == "backend"


@pytest.mark.parametrize("name", ["", "Backend", "a:b", "a,b", "-a", "x" * 64])
def test_the_command_refuses_a_name_that_cannot_be_one(name: str):
    assert CliRunner().invoke(main, ["api-key", "--", name]).exit_code == 2
