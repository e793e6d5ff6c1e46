"""The `studyroom` command."""

import asyncio
import json
import os
import sys
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from studyroom.services.stack import tools
from studyroom.services.stack.options import loading

if TYPE_CHECKING:
    from studyroom.shared.chassis.spec import ServiceSpec

ENTRY_POINTS = "studyroom.services"
_HOOKS_KEPT_SECONDS = "604800"
"""How long `studyroom up` keeps the events of hooks if there is no setting."""


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


for _command in (
    tools.doctor, tools.room, tools.user, tools.inspector, tools.backup, tools.restore, tools.probe,
):  # fmt: skip
    main.add_command(_command)


@main.group(invoke_without_command=True)
@click.pass_context
def hooks(ctx: click.Context) -> None:
    """Run the hooks service, or replay events. Its settings are in the environment."""
    if ctx.invoked_subcommand is None:
        _Service("hooks").run()


hooks.add_command(tools.replay)


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
