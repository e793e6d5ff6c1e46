"""Carries out the commands `studyroom backup` and `studyroom restore`."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from studyroom.services.backup.archive import BadBackup, Busy, Reader, Writer, keep_newest
from studyroom.services.backup.restoring import RestoreFailed, check_replaceable, is_used, restore
from studyroom.services.backup.snapshot import SnapshotFailed, back_up
from studyroom.shared.chassis.commands import Failed, connected
from studyroom.shared.chassis.nats.bus import BusError
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings
from studyroom.shared.contract import audit_subjects, subjects

Report = Callable[[str], None]
"""Prints a line."""


async def make_backup(
    nats: NatsSettings, storage: StorageSettings, directory: Path, *, keep: int | None, report: Report
) -> None:
    """Back up all streams into a new directory below `directory`, and then remove all but the newest `keep`.

    Raises Failed. An incomplete backup is removed.
    """
    async with connected(nats, "backup") as bus:
        try:
            writer = Writer(directory)
        except Busy as error:
            raise Failed(str(error)) from error
        except OSError as error:
            raise Failed(f"cannot write to {directory}: {error.strerror}") from error
        try:
            for name in subjects.streams_of_record(storage.groups):
                stream = await back_up(bus, name, writer)
                writer.add(stream)
                report(f"{name}: {stream.messages} messages in {stream.archive_bytes} bytes")
            made = writer.finish(nats_version=bus.server_version, groups=storage.groups)
        except (SnapshotFailed, BusError) as error:
            raise Failed(str(error)) from error
        except OSError as error:
            raise Failed(f"cannot write to {directory}: {error.strerror}") from error
        finally:
            writer.close()
    report(f"complete: {made}")
    if keep is not None:
        for removed in keep_newest(directory, keep):
            report(f"removed: {removed}")


async def restore_backup(
    nats: NatsSettings, storage: StorageSettings, path: Path, *, only: tuple[str, ...], replace: bool, report: Report
) -> None:
    """Restore the backup at `path`, or the newest one in that directory. `only`: these streams; empty for all.

    Raises Failed. Nothing is changed before the whole backup was read and found as it was written.
    """
    try:
        backup = Reader(path)
    except BadBackup as error:
        raise Failed(str(error)) from error
    manifest = backup.manifest
    if manifest.groups != storage.groups:
        raise Failed(
            f"{backup.path} has {manifest.groups} groups of shards, and STUDYROOM_STORAGE_GROUPS is {storage.groups}"
        )
    if unknown := set(only) - {stream.name for stream in manifest.streams}:
        raise Failed(f"{backup.path} does not have {', '.join(sorted(unknown))}")
    chosen = [stream for stream in manifest.streams if not only or stream.name in only]
    report(f"restoring {backup.path}, of NATS {manifest.nats_version}")
    async with connected(nats, "operator") as bus:
        try:
            if not only and await is_used(bus, audit_subjects.AUDIT_STREAM):
                # It has the erasures since the backup, which must be carried out again.
                chosen = [stream for stream in chosen if stream.name != audit_subjects.AUDIT_STREAM]
                report(f"{audit_subjects.AUDIT_STREAM}: stays as it is, because it has the erasures since the backup")
            await check_replaceable(bus, [stream.name for stream in chosen], replace=replace)
        except (RestoreFailed, BusError) as error:
            raise Failed(str(error)) from error
        for stream in chosen:
            try:
                state = await restore(bus, backup, stream, replicas=storage.replicas)
            except (RestoreFailed, BusError) as error:
                problem = f"{error}. {stream.name} may be missing or incomplete: restore again, with --replace"
                raise Failed(problem) from error
            report(f"{stream.name}: {state['messages']} of {stream.messages} messages")
    since = int(datetime.fromisoformat(manifest.began).timestamp())
    report(f"erase again what was erased since the backup: PUT /api/v1/erasures?since={since}")
    report("complete")
