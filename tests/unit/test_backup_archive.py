"""A backup on a disk: what it has is known, and nothing that was changed or cut is taken for a backup."""

import json
import os
from pathlib import Path

import pytest

from studyroom.services.backup.archive import BadBackup, Busy, Reader, Writer, complete, keep_newest

STATE = {"messages": 2, "last_seq": 2}


def written(directory: Path, *streams: str) -> Path:
    writer = Writer(directory)
    for name in streams:
        stream = writer.stream(name, {"name": name, "num_replicas": 3}, STATE)
        stream.write(b"first ")
        stream.write(b"second")
        writer.add(stream.finish())
    made = writer.finish(nats_version="2.15.1", groups=1)
    writer.close()
    return made


def test_a_backup_is_read_as_it_was_written(tmp_path: Path):
    made = written(tmp_path, "CHAT", "KV_moderation")
    for path in (made, tmp_path):
        backup = Reader(path)
        assert backup.path == made
        assert [stream.name for stream in backup.manifest.streams] == ["CHAT", "KV_moderation"]
        assert b"".join(backup.chunks("CHAT", 5)) == b"first second"
        assert backup.config_and_state("CHAT") == ({"name": "CHAT", "num_replicas": 3}, STATE)
    assert {path.stat().st_mode & 0o077 for path in (made, made / "CHAT")} == {0}


def test_an_unfinished_backup_is_none_and_goes_with_the_next_one(tmp_path: Path):
    unfinished = Writer(tmp_path)
    unfinished.stream("CHAT", {"name": "CHAT"}, STATE).close()
    assert complete(tmp_path) == []
    with pytest.raises(BadBackup, match="is not a complete backup, and has none"):
        Reader(tmp_path)
    with pytest.raises(Busy, match="another backup into"):
        Writer(tmp_path)
    (part,) = tmp_path.iterdir()
    part.rename(tmp_path / "2026-01-31T03-17-00Z.part")  # as of a run that was killed
    os.close(unfinished._lock)
    made = written(tmp_path, "CHAT")
    assert list(tmp_path.iterdir()) == [made]


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"first secon", "has 11 bytes, and 12 were written"), (b"first Second", "is not as it was written")],
)
def test_messages_that_were_changed_or_cut_are_refused(tmp_path: Path, content: bytes, problem: str):
    made = written(tmp_path, "CHAT")
    (made / "CHAT" / "stream.tar.s2").write_bytes(content)
    with pytest.raises(BadBackup, match=problem):
        Reader(made)


def test_a_manifest_that_is_missing_broken_or_of_another_version_is_refused_by_name(tmp_path: Path):
    made = written(tmp_path, "CHAT")
    manifest = made / "manifest.json"
    content = json.loads(manifest.read_text())
    for broken, problem in (
        ("{", "is not JSON"),
        ("[]", "is not an object"),
        (json.dumps({**content, "version": 2}), "is of another version"),
        (json.dumps({**content, "streams": [{"name": "CHAT"}]}), "is not a manifest"),
    ):
        manifest.write_text(broken)
        with pytest.raises(BadBackup, match=problem):
            Reader(made)
    manifest.unlink()
    with pytest.raises(BadBackup, match="is not a complete backup"):
        Reader(made)


def test_only_the_newest_backups_are_kept(tmp_path: Path):
    made = written(tmp_path, "CHAT")
    older = [tmp_path / f"2020-01-0{day}T03-17-00Z" for day in (1, 2)]
    for path in older:
        path.mkdir()
        (path / "manifest.json").write_bytes((made / "manifest.json").read_bytes())
    other = tmp_path / "of somebody else"
    other.mkdir()
    assert keep_newest(tmp_path, 2) == older[:1]
    assert sorted(tmp_path.iterdir()) == sorted([older[1], made, other])
