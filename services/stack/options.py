"""The parts that several commands share: imports, and the NATS that is meant."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

data_dir_option = click.option(
    "--data-dir", default=Path(".studyroom"), show_default=True, type=click.Path(path_type=Path),
    help="Directory of `studyroom up`, whose NATS is meant unless STUDYROOM_NATS_URL names another.",
)  # fmt: skip


@contextmanager
def loading() -> Iterator[None]:
    """Import without garbage collection, which takes a fifth of the time and finds nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def nats_and_storage(data_dir: Path, command: str) -> tuple[Any, Any]:
    """Return the settings of NATS and storage for a command that reports everything that matters by itself."""
    from studyroom.shared.chassis import logs
    from studyroom.shared.chassis.settings import NatsSettings, ProcessSettings, StorageSettings, load_or_exit

    use_nats_of(data_dir)
    settings: Any = load_or_exit([ProcessSettings, NatsSettings, StorageSettings])
    logs.configure(settings[ProcessSettings].model_copy(update={"log_level": "error"}), command)
    return settings[NatsSettings], settings[StorageSettings]


def use_nats_of(data_dir: Path) -> None:
    """Use the NATS of the stack in this directory, unless the environment names one."""
    from studyroom.services.stack.stack import nats_url_of

    if "STUDYROOM_NATS_URL" not in os.environ and (url := nats_url_of(data_dir)) is not None:
        os.environ["STUDYROOM_NATS_URL"] = url
