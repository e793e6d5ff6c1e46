"""A backup on a disk: one directory, with a directory for each stream and a manifest.

    2026-11-30T03-17-00Z/
        manifest.json        what the backup has, written last
        CHAT/backup.json     the stream's configuration and state
        CHAT/stream.tar.s2   its messages, as NATS sends them

The directory of a stream is the one that `nats stream backup` writes and `nats stream restore` reads. The name of an
incomplete backup ends with `.part`.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

VERSION = 1
"""The version of the manifest."""
_MANIFEST = "manifest.json"
_STATE = "backup.json"
_MESSAGES = "stream.tar.s2"
_PART = ".part"
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ")
_READ_BYTES = 1 << 20


class BadBackup(Exception):
    """A backup is missing, incomplete, or not as it was written. The argument says which part, for people."""


@dataclass(frozen=True, slots=True)
class StreamBackup:
    """One stream of a backup."""

    name: str
    messages: int
    """When the backup began. Some may have expired or been deleted before they were read."""
    last_sequence: int
    archive_bytes: int
    archive_sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a backup."""

    began: str
    """RFC 3339."""
    nats_version: str
    """Older servers may not be able to read the backup."""
    groups: int
    """The number of groups of shards."""
    streams: tuple[StreamBackup, ...]


class Busy(Exception):
    """Another process writes a backup into the same directory."""


class Writer:
    """Writes one backup. It takes its name only when it is complete (`finish`)."""

    def __init__(self, directory: Path) -> None:
        """Begin a backup in `directory`, which is made if it does not exist. Raises Busy or OSError."""
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise Busy(f"another backup into {directory} is running") from error
        self._began = datetime.now(UTC)
        self._final = directory / f"{self._began:%Y-%m-%dT%H-%M-%SZ}"
        self._part = self._final.with_name(self._final.name + _PART)
        for unfinished in directory.glob(f"*Z{_PART}"):  # of runs that were killed
            shutil.rmtree(unfinished)
        self._part.mkdir(mode=0o700)
        self._streams: list[StreamBackup] = []

    def stream(self, name: str, config: dict[str, Any], state: dict[str, Any]) -> "StreamWriter":
        return StreamWriter(self._part / name, config, state)

    def add(self, stream: StreamBackup) -> None:
        self._streams.append(stream)

    def finish(self, *, nats_version: str, groups: int) -> Path:
        """Write the manifest, and return the directory of the backup. Raises OSError."""
        manifest = Manifest(f"{self._began:%Y-%m-%dT%H:%M:%SZ}", nats_version, groups, tuple(self._streams))
        _write(self._part / _MANIFEST, {"version": VERSION, **asdict(manifest)})
        self._part.rename(self._final)
        _sync_directory(self._final.parent)
        return self._final

    def close(self) -> None:
        """Remove what was written, unless it is finished. Others may write into the directory from now on."""
        shutil.rmtree(self._part, ignore_errors=True)
        os.close(self._lock)


class StreamWriter:
    """Writes the directory of one stream."""

    def __init__(self, directory: Path, config: dict[str, Any], state: dict[str, Any]) -> None:
        directory.mkdir(mode=0o700)
        self._state = state
        self._name = config["name"]
        self._hash = hashlib.sha256()
        self._bytes = 0
        _write(directory / _STATE, {"config": config, "state": state})
        self._file = (directory / _MESSAGES).open("xb")

    def write(self, chunk: bytes) -> None:
        """Raises OSError, such as for a full disk."""
        self._file.write(chunk)
        self._hash.update(chunk)
        self._bytes += len(chunk)

    def finish(self) -> StreamBackup:
        """Wait until everything is on the disk. Raises OSError."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        state = self._state
        return StreamBackup(
            name=self._name,
            messages=state["messages"],
            last_sequence=state["last_seq"],
            archive_bytes=self._bytes,
            archive_sha256=self._hash.hexdigest(),
        )

    def close(self) -> None:
        self._file.close()


class Reader:
    """A complete backup. Making one checks every byte of it."""

    def __init__(self, path: Path) -> None:
        """Read the backup at `path`, or the newest one in that directory. Raises BadBackup."""
        self.path = path if (path / _MANIFEST).is_file() else newest(path)
        self.manifest = _manifest(self.path / _MANIFEST)
        for stream in self.manifest.streams:
            self._check(stream)

    def config_and_state(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        content = _read(self.path / name / _STATE)
        try:
            return content["config"], content["state"]
        except KeyError as error:
            raise BadBackup(f"{self.path / name / _STATE} has no {error}") from error

    def chunks(self, name: str, size: int) -> Iterator[bytes]:
        with (self.path / name / _MESSAGES).open("rb") as file:
            while chunk := file.read(size):
                yield chunk

    def _check(self, stream: StreamBackup) -> None:
        file = self.path / stream.name / _MESSAGES
        found, length = hashlib.sha256(), 0
        try:
            for chunk in self.chunks(stream.name, _READ_BYTES):
                found.update(chunk)
                length += len(chunk)
        except OSError as error:
            raise BadBackup(f"{file} cannot be read: {error.strerror}") from error
        if length != stream.archive_bytes:
            raise BadBackup(f"{file} has {length} bytes, and {stream.archive_bytes} were written")
        if found.hexdigest() != stream.archive_sha256:
            raise BadBackup(f"{file} is not as it was written: its SHA-256 is {found.hexdigest()}")
        config, _ = self.config_and_state(stream.name)
        if config.get("name") != stream.name:
            raise BadBackup(f"{file.parent} has the stream {config.get('name')}")


def complete(directory: Path) -> list[Path]:
    """Return the complete backups in a directory, the oldest first."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name) and (path / _MANIFEST).is_file())


def newest(directory: Path) -> Path:
    """Return the newest complete backup. Raises BadBackup if there is none."""
    if not (found := complete(directory)):
        raise BadBackup(f"{directory} is not a complete backup, and has none")
    return found[-1]


def keep_newest(directory: Path, count: int) -> list[Path]:
    """Remove all complete backups but the newest ones. Return those that were removed."""
    removed = complete(directory)[:-count]
    for path in removed:
        shutil.rmtree(path)
    return removed


def _manifest(path: Path) -> Manifest:
    content = _read(path)
    if content.pop("version", None) != VERSION:
        raise BadBackup(f"{path} is of another version of Studyroom")
    try:
        streams = tuple(StreamBackup(**stream) for stream in content.pop("streams"))
        return Manifest(**content, streams=streams)
    except (KeyError, TypeError) as error:
        raise BadBackup(f"{path} is not a manifest: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadBackup(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadBackup(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadBackup(f"{path} is not an object")
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    with path.open("x", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
