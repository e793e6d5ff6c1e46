"""The commands that look at a running system, or keep and send its data."""

import asyncio
import os
import re
import sys
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from studyroom.services.stack.options import data_dir_option, loading, nats_and_storage, use_nats_of

_PORT_MAX = 65_535

Result = TypeVar("Result")


@click.command()
@click.option("--json", "for_programs", is_flag=True, help="Print JSON.")
@data_dir_option
def doctor(for_programs: bool, data_dir: Path) -> None:
    """Examine NATS, streams, consumers, leases and services. The exit status is 1 if there are problems."""
    from studyroom.services.doctor.command import examine

    report, well = asyncio.run(examine(*nats_and_storage(data_dir, "doctor"), for_programs=for_programs))
    click.echo(report)
    sys.exit(0 if well else 1)


@click.command()
@click.argument("room")
@click.option("--json", "for_programs", is_flag=True, help="Print JSON, with all members.")
@click.option("--follow", is_flag=True, help="Print what happens in the room, line by line, until you press Ctrl+C.")
@click.option("--content", "with_content", is_flag=True, help="With --follow, print the content of messages too.")
@click.option(
    "--members", default=20, show_default=True, type=click.IntRange(0), help="How many members the text lists at most."
)
@data_dir_option
def room(room: str, for_programs: bool, follow: bool, with_content: bool, members: int, data_dir: Path) -> None:
    """Compare what the stream, presence and each gateway have of ROOM, a room id.

    The NATS user needs the permissions of `inspector` in deploy/nats/accounts.conf. The exit status is 1 if they
    differ, and 2 if something could not be compared.
    """
    from studyroom.services.inspector.command import follow_room, inspect_room
    from studyroom.services.inspector.following import Shown
    from studyroom.shared.contract.ids import RoomId

    if with_content and not follow:
        raise click.UsageError("--content needs --follow")
    room_id = RoomId(_id(room, "ROOM"))
    nats, storage = nats_and_storage(data_dir, "inspector")
    if follow:
        shown = Shown(click.echo, with_content=with_content, for_programs=for_programs)
        _inspect("room", follow_room(nats, storage, room_id, shown))
        return
    report, status = _inspect(
        "room", inspect_room(nats, storage, room_id, for_programs=for_programs, members_shown=members)
    )
    click.echo(report)
    sys.exit(status)


@click.command()
@click.argument("user")
@click.option("--json", "for_programs", is_flag=True, help="Print JSON.")
@data_dir_option
def user(user: str, for_programs: bool, data_dir: Path) -> None:
    """Print the connections of USER, a user id, at each gateway, its rooms and its bans, and compare them.

    The NATS user and the exit status are those of `studyroom room`.
    """
    from studyroom.services.inspector.command import inspect_user
    from studyroom.shared.contract.ids import UserId

    user_id = UserId(_id(user, "USER"))
    work = inspect_user(*nats_and_storage(data_dir, "inspector"), user_id, for_programs=for_programs)
    report, status = _inspect("user", work)
    click.echo(report)
    sys.exit(status)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that the page listens on.")
@click.option("--port", default=9480, show_default=True, type=click.IntRange(0, 65535), help="0 for any free one.")
@data_dir_option
def inspector(host: str, port: int, data_dir: Path) -> None:
    """Serve the reports of `studyroom room` and `studyroom user` as a page, until you press Ctrl+C.

    Open the address that the command prints. It has a token without which nobody may read the page.
    """
    from studyroom.services.inspector.command import serve_page

    nats, storage = nats_and_storage(data_dir, "inspector")
    _inspect("inspector", serve_page(nats, storage, host=host, port=port, ready=click.echo))


def _id(text: str, argument: str | None = None) -> str:
    """Return an id in its canonical form. Raises BadParameter, for this argument or the present option."""
    from studyroom.shared.contract.ids import canonical_uuid

    try:
        return canonical_uuid(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=argument) from error


def _inspect(command: str, work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result. Exits with 2 if nothing could be inspected, and with 0 on Ctrl+C."""
    try:
        return _run(command, work, failed_status=2)
    except KeyboardInterrupt:
        sys.exit(0)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--keep", type=click.IntRange(1), help="Then remove all but the newest ones. By default none is removed.")
@data_dir_option
def backup(directory: Path, keep: int | None, data_dir: Path) -> None:
    """Back up chat, documents and bans into a new directory in DIRECTORY, while the system runs.

    The NATS user needs the permissions of `backup` in deploy/nats/accounts.conf. The exit status is 1 if it fails.
    """
    from studyroom.services.backup.command import make_backup

    nats, storage = nats_and_storage(data_dir, "backup")
    _run("backup", make_backup(nats, storage, directory, keep=keep, report=click.echo))


@click.command()
@click.argument("path", type=click.Path(path_type=Path, file_okay=False))
@click.option("--stream", "only", multiple=True, help="Restore this stream only. You may repeat the option.")
@click.option("--replace", is_flag=True, help="Delete streams that have messages, and restore them.")
@data_dir_option
def restore(path: Path, only: tuple[str, ...], replace: bool, data_dir: Path) -> None:
    """Restore the backup at PATH, or the newest one in that directory.

    Streams that never had a message are replaced, and with --replace all. The NATS user must be `operator`, or one
    that may delete and restore streams. The exit status is 1 if it fails.
    """
    from studyroom.services.backup.command import restore_backup

    nats, storage = nats_and_storage(data_dir, "restore")
    _run("restore", restore_backup(nats, storage, path, only=only, replace=replace, report=click.echo))


def _span(text: str) -> float:
    """Return the seconds of a time such as 30s, 2m or 1h. A number alone is seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text, re.ASCII)
    if found is None or not float(found[1]):
        raise click.BadParameter(f"{text!r} is not a time such as 30s")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def _address(text: str) -> tuple[str, int]:
    """Return the host and the port to listen on. A port alone means all interfaces."""
    host, _, port = text.rpartition(":")
    if re.fullmatch(r"\d{1,5}", port, re.ASCII) is None or int(port) > _PORT_MAX:
        raise click.BadParameter(f"{text!r} is not an address such as 127.0.0.1:8081")
    return host.strip("[]") or "0.0.0.0", int(port)


@click.command()
@click.argument("url", required=False)
@click.option(
    "--every", type=_span, metavar="TIME", help="Repeat it, such as every 30s, and serve metrics until a signal comes."
)
@click.option(
    "--listen", type=_address, metavar="ADDRESS",
    help="Serve the metrics there, such as 127.0.0.1:8081. By default at the admin port of the settings.",
)  # fmt: skip
@click.option("--json", "for_programs", is_flag=True, help="Print JSON.")
def probe(url: str | None, every: float | None, listen: tuple[str, int] | None, for_programs: bool) -> None:
    """Try Studyroom as users do: two of them meet in a room, the first writes, the second reads it, and both leave.

    URL is the public address, such as wss://rooms.example.com/ws, in place of STUDYROOM_PROBE_URL. The exit status is 1
    if a step fails.
    """
    if every is None and listen is not None:
        raise click.UsageError("--listen needs --every, because a single pass serves no metrics")
    if every is not None and for_programs:
        raise click.UsageError("--json is for a single pass, and --every logs")
    if url is not None:
        os.environ["STUDYROOM_PROBE_URL"] = url
    with loading():
        from studyroom.services.probe.command import once, serve

    if every is not None:
        sys.exit(serve(every, listen))
    report, well = once(for_programs=for_programs)
    click.echo(report)
    sys.exit(0 if well else 1)


def _time(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """Raises BadParameter for a time without its offset from UTC."""
    try:
        time = datetime.fromisoformat(value) if value is not None else None
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a time such as 2026-01-01T00:00Z") from error
    if time is not None and time.tzinfo is None:
        raise click.BadParameter(f"{value!r} lacks the offset from UTC, as in 2026-01-01T00:00Z")
    return time


def _room_id(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Any:
    return _id(value) if value is not None else None


@click.command()
@click.option("--since", required=True, callback=_time, help="Send the events from this time on.")
@click.option("--until", callback=_time, help="Send the events up to this time. By default up to now.")
@click.option("--room", callback=_room_id, help="Send the events of the room with this id only.")
@data_dir_option
def replay(since: datetime, until: datetime | None, room: Any, data_dir: Path) -> None:
    """Send events to your backend again, in order per room and with the same ids.

    A time is such as 2026-01-01T00:00Z. The NATS user is `hooks`. The exit status is 1 if an event is not taken.
    """
    from studyroom.services.hooks.replay import send_again
    from studyroom.services.hooks.spec import SPEC
    from studyroom.shared.chassis.process import load_settings

    use_nats_of(data_dir)
    settings = load_settings(SPEC)
    _run("hooks replay", send_again(settings, since=since, until=until, room=room, report=click.echo))


def _run(command: str, work: Coroutine[Any, Any, Result], *, failed_status: int = 1) -> Result:
    """Return the result. If the work fails, print the reason and exit with that status."""
    from studyroom.shared.chassis.commands import Failed

    try:
        return asyncio.run(work)
    except Failed as error:
        click.echo(f"studyroom {command}: {error}", err=True)
        sys.exit(failed_status)
