"""The `studyroom` command."""

import asyncio
import gc
import json
import os
import re
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from studyroom.shared.chassis.spec import ServiceSpec

ENTRY_POINTS = "studyroom.services"
_PORT_MAX = 65_535

Inspected = TypeVar("Inspected")
_HOOKS_KEPT_SECONDS = "604800"
"""How long `studyroom up` keeps the events of hooks if there is no setting."""


@contextmanager
def loading() -> Iterator[None]:
    """Import without garbage collection, which takes a fifth of the time and finds nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _Services(click.Group):
    """The commands below, and one for every installed service."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *entry_points(group=ENTRY_POINTS).names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in entry_points(group=ENTRY_POINTS).names:
            return own
        return _Service(cmd_name)


class _Service(click.Command):
    """Runs one service. It imports the service's code only then, not to list or explain commands."""

    def __init__(self, name: str) -> None:
        super().__init__(name, callback=self.run, help=f"Run the {name} service. Its settings are in the environment.")

    @cached_property
    def spec(self) -> "ServiceSpec":
        (entry,) = entry_points(group=ENTRY_POINTS, name=self.name or "")
        spec: ServiceSpec = entry.load()
        return spec

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        own: list[click.Parameter] = [_workers_option()] if self.spec.public_address is not None else []
        return own + super().get_params(ctx)

    def run(self, workers: int = 1) -> NoReturn:
        with loading():
            from studyroom.shared.chassis.process import run
            from studyroom.shared.chassis.workers import run_workers

            self.spec.load()  # Before the fork, so that workers share the memory.
        sys.exit(run(self.spec) if workers == 1 else run_workers(self.spec, workers))


def _workers_option() -> click.Option:
    return click.Option(
        ["--workers"],
        default=1,
        show_default=True,
        type=click.IntRange(1, 64),
        help="Processes that share the public port, for machines with several cores.",
    )


@click.group(cls=_Services, context_settings={"max_content_width": 100})
@click.version_option(package_name="studyroom")
def main() -> None:
    """Real-time collaboration in study rooms."""
    with loading():
        from studyroom.shared.chassis.settings import read_env_file, unknown_variables

        classes = _all_settings()
    read_env_file()
    for variable, similar in unknown_variables(classes).items():
        hint = f"; did you mean {similar}?" if similar is not None else ""
        click.echo(f"studyroom: {variable} is not a setting{hint}", err=True)


@main.command()
@click.option("--gateways", default=1, show_default=True, type=click.IntRange(1, 64), help="Gateway processes.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Workers of each gateway.")
@click.option("--presence", default=1, show_default=True, type=click.IntRange(1, 64), help="Presence replicas.")
@click.option(
    "--documents", default=1, show_default=True, type=click.IntRange(0, 64),
    help="Replicas of the documents service. Without any, nobody can open shared documents.",
)  # fmt: skip
@click.option(
    "--port",
    default=8080,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Gateway i listens on PORT+i.",
)
@click.option(
    "--host", default="127.0.0.1", show_default=True,
    help="Address that gateways listen on. Use 0.0.0.0 to serve other devices.",
)  # fmt: skip
@click.option("--nats", "nats_url", help="Use this NATS instead of an embedded one.")
@click.option(
    "--data-dir", default=Path(".studyroom"), show_default=True, type=click.Path(path_type=Path),
    help="Directory for the streams of NATS, logs and stack.json.",
)  # fmt: skip
def up(
    gateways: int, workers: int, presence: int, documents: int, port: int, host: str, nats_url: str | None,
    data_dir: Path,
) -> None:  # fmt: skip
    """Run the whole system on this machine."""
    with loading():
        from studyroom.services.stack.stack import Stack, StackFailed, StackOptions
        from studyroom.shared.chassis.settings import ProcessSettings, load_or_exit

        classes = _all_settings()
    if has_hooks := bool(os.environ.get("STUDYROOM_HOOKS_URL")):
        os.environ.setdefault("STUDYROOM_STORAGE_HOOKS_MAX_AGE_SECONDS", _HOOKS_KEPT_SECONDS)
    process: Any = load_or_exit(classes)[ProcessSettings]
    options = StackOptions(
        gateways=gateways,
        workers=workers,
        presence=presence,
        documents=documents,
        port=port,
        host=host,
        nats_url=nats_url,
        data_dir=data_dir.absolute(),
        stop_deadline_seconds=process.stop_deadline_seconds,
        hooks=has_hooks,
    )

    async def run() -> None:
        await Stack(options).run()

    try:
        asyncio.run(run())
    except StackFailed as error:
        click.echo(f"studyroom up: {error}", err=True)
        sys.exit(1)


_data_dir = click.option(
    "--data-dir", default=Path(".studyroom"), show_default=True, type=click.Path(path_type=Path),
    help="Directory of `studyroom up`, whose NATS is meant unless STUDYROOM_NATS_URL names another.",
)  # fmt: skip


@main.command()
@click.option("--json", "for_programs", is_flag=True, help="Print JSON.")
@_data_dir
def doctor(for_programs: bool, data_dir: Path) -> None:
    """Examine NATS, streams, consumers, leases and services. The exit status is 1 if there are problems."""
    from studyroom.services.doctor.command import examine

    report, well = asyncio.run(examine(*_nats_and_storage(data_dir, "doctor"), for_programs=for_programs))
    click.echo(report)
    sys.exit(0 if well else 1)


@main.command()
@click.argument("room")
@click.option("--json", "for_programs", is_flag=True, help="Print JSON, with all members.")
@click.option("--follow", is_flag=True, help="Print what happens in the room, line by line, until you press Ctrl+C.")
@click.option("--content", "with_content", is_flag=True, help="With --follow, print the content of messages too.")
@click.option(
    "--members", default=20, show_default=True, type=click.IntRange(0), help="How many members the text lists at most."
)
@_data_dir
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
    nats, storage = _nats_and_storage(data_dir, "inspector")
    if follow:
        shown = Shown(click.echo, with_content=with_content, for_programs=for_programs)
        _inspect("room", follow_room(nats, storage, room_id, shown))
        return
    report, status = _inspect(
        "room", inspect_room(nats, storage, room_id, for_programs=for_programs, members_shown=members)
    )
    click.echo(report)
    sys.exit(status)


@main.command()
@click.argument("user")
@click.option("--json", "for_programs", is_flag=True, help="Print JSON.")
@_data_dir
def user(user: str, for_programs: bool, data_dir: Path) -> None:
    """Print the connections of USER, a user id, at each gateway, its rooms and its bans, and compare them.

    The NATS user and the exit status are those of `studyroom room`.
    """
    from studyroom.services.inspector.command import inspect_user
    from studyroom.shared.contract.ids import UserId

    user_id = UserId(_id(user, "USER"))
    work = inspect_user(*_nats_and_storage(data_dir, "inspector"), user_id, for_programs=for_programs)
    report, status = _inspect("user", work)
    click.echo(report)
    sys.exit(status)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that the page listens on.")
@click.option("--port", default=9480, show_default=True, type=click.IntRange(0, 65535), help="0 for any free one.")
@_data_dir
def inspector(host: str, port: int, data_dir: Path) -> None:
    """Serve the reports of `studyroom room` and `studyroom user` as a page, until you press Ctrl+C.

    Open the address that the command prints. It has a token without which nobody may read the page.
    """
    from studyroom.services.inspector.command import serve_page

    nats, storage = _nats_and_storage(data_dir, "inspector")
    _inspect("inspector", serve_page(nats, storage, host=host, port=port, ready=click.echo))


def _id(text: str, argument: str) -> str:
    from studyroom.shared.contract.ids import canonical_uuid

    try:
        return canonical_uuid(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=argument) from error


def _inspect(command: str, work: Coroutine[Any, Any, Inspected]) -> Inspected:
    """Return the result. If nothing could be inspected, print the reason and exit with 2. Ctrl+C exits with 0."""
    from studyroom.services.inspector.command import Failed

    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        sys.exit(0)
    except Failed as error:
        click.echo(f"studyroom {command}: {error}", err=True)
        sys.exit(2)


@main.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--keep", type=click.IntRange(1), help="Then remove all but the newest ones. By default none is removed.")
@_data_dir
def backup(directory: Path, keep: int | None, data_dir: Path) -> None:
    """Back up chat, documents and bans into a new directory in DIRECTORY, while the system runs.

    The NATS user needs the permissions of `backup` in deploy/nats/accounts.conf. The exit status is 1 if it fails.
    """
    from studyroom.services.backup.command import make_backup

    nats, storage = _nats_and_storage(data_dir, "backup")
    _run_or_fail("backup", make_backup(nats, storage, directory, keep=keep, report=click.echo))


@main.command()
@click.argument("path", type=click.Path(path_type=Path, file_okay=False))
@click.option("--stream", "only", multiple=True, help="Restore this stream only. You may repeat the option.")
@click.option("--replace", is_flag=True, help="Delete streams that have messages, and restore them.")
@_data_dir
def restore(path: Path, only: tuple[str, ...], replace: bool, data_dir: Path) -> None:
    """Restore the backup at PATH, or the newest one in that directory.

    Streams that never had a message are replaced, and with --replace all. The NATS user must be `operator`, or one
    that may delete and restore streams. The exit status is 1 if it fails.
    """
    from studyroom.services.backup.command import restore_backup

    nats, storage = _nats_and_storage(data_dir, "restore")
    _run_or_fail("restore", restore_backup(nats, storage, path, only=only, replace=replace, report=click.echo))


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


@main.command()
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
    from studyroom.shared.contract.ids import canonical_uuid

    try:
        return canonical_uuid(value) if value is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@main.group(invoke_without_command=True)
@click.pass_context
def hooks(ctx: click.Context) -> None:
    """Run the hooks service, or replay events. Its settings are in the environment."""
    if ctx.invoked_subcommand is None:
        _Service("hooks").run()


@hooks.command()
@click.option("--since", required=True, callback=_time, help="Send the events from this time on.")
@click.option("--until", callback=_time, help="Send the events up to this time. By default up to now.")
@click.option("--room", callback=_room_id, help="Send the events of the room with this id only.")
@_data_dir
def replay(since: datetime, until: datetime | None, room: Any, data_dir: Path) -> None:
    """Send events to your backend again, in order per room and with the same ids.

    A time is such as 2026-01-01T00:00Z. The NATS user is `hooks`. The exit status is 1 if an event is not taken.
    from studyroom.services.hooks.replay import ReplayFailed, send_again
    from studyroom.services.hooks.spec import SPEC
    from studyroom.shared.chassis.process import load_settings

    _use_nats_of(data_dir)
    settings = load_settings(SPEC)
    try:
        asyncio.run(send_again(settings, since=since, until=until, room=room, report=click.echo))
    except ReplayFailed as error:
        click.echo(f"studyroom hooks replay: {error}", err=True)
        sys.exit(1)


def _run_or_fail(command: str, work: Coroutine[Any, Any, None]) -> None:
    from studyroom.services.backup.command import Failed

    try:
        asyncio.run(work)
    except Failed as error:
        click.echo(f"studyroom {command}: {error}", err=True)
        sys.exit(1)


def _nats_and_storage(data_dir: Path, command: str) -> tuple[Any, Any]:
    """Return the settings of NATS and storage for a command that reports everything that matters by itself."""
    from studyroom.shared.chassis import logs
    from studyroom.shared.chassis.settings import NatsSettings, ProcessSettings, StorageSettings, load_or_exit

    _use_nats_of(data_dir)
    settings: Any = load_or_exit([ProcessSettings, NatsSettings, StorageSettings])
    logs.configure(settings[ProcessSettings].model_copy(update={"log_level": "error"}), command)
    return settings[NatsSettings], settings[StorageSettings]


def _use_nats_of(data_dir: Path) -> None:
    """Use the NATS of the stack in this directory, unless the environment names one."""
    from studyroom.services.stack.stack import nats_url_of

    if "STUDYROOM_NATS_URL" not in os.environ and (url := nats_url_of(data_dir)) is not None:
        os.environ["STUDYROOM_NATS_URL"] = url


@main.command("api-key")
@click.argument("name")
def api_key(name: str) -> None:
    """Print a new API key for your backend, and its entry for STUDYROOM_GATEWAY_API_KEYS.

    NAME stands for the key in the audit log. The key is stored nowhere, so give it to the backend now.
    """
    from studyroom.shared.chassis.api_keys import entry_of, new_api_key

    key = new_api_key()
    try:
        entry = entry_of(name, key)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from error
    click.echo(f"key:   {key}\nentry: {entry}")


@main.command()
def schema() -> None:
    """Print the JSON Schema of the client protocol."""
    from studyroom.shared.contract.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


@main.command()
def asyncapi() -> None:
    """Print the client protocol as an AsyncAPI document."""
    from studyroom.services.reference.asyncapi import asyncapi

    click.echo(json.dumps(asyncapi(), indent=2))


@main.command()
def settings() -> None:
    """Print every setting with its description and default, as in .env.example."""
    from studyroom.shared.chassis.settings import describe

    click.echo(describe(_all_settings()), nl=False)


def _all_settings() -> list[type]:
    from studyroom.services.probe.settings import ProbeSettings
    from studyroom.shared.chassis.settings import NatsSettings, ProcessSettings
    from studyroom.shared.chassis.tracing.settings import TracesSettings

    classes: list[type] = [ProcessSettings, NatsSettings, TracesSettings]
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        classes += [cls for cls in entry.load().settings if cls not in classes]
    return [*classes, ProbeSettings]


if __name__ == "__main__":
    main()
