"""Commands of our documents, as a reader types them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.markdown import ROOT
from tests.support.processes import EmbeddedStack, Process
from tests.support.settings import without_settings
from tests.support.waiting import eventually

NODE_MODULES = ROOT / "web" / "node_modules"

needs_web = pytest.mark.skipif(
    shutil.which("npm") is None or not NODE_MODULES.exists(), reason="needs Node and npm, and make web-install"
)


def studyroom(*arguments: str, cwd: Path, **environment: str) -> tuple[int, str, str]:
    """Exit status, output and errors of a command of `studyroom`."""
    run = subprocess.run(
        [sys.executable, "-m", "studyroom", *arguments],
        check=False, capture_output=True, text=True, timeout=60, cwd=cwd, env={**without_settings(), **environment},
    )  # fmt: skip
    return run.returncode, run.stdout, run.stderr


def needs(program: str) -> None:
    """Skips the test, with a reason, where the program is missing."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


class Command(Process):
    """A command in a terminal, ended by Ctrl+C."""

    def __init__(self, name: str, line: str, log: Path) -> None:
        super().__init__(name, ["sh", "-c", line], log)

    @contextmanager
    def runs(self) -> Iterator[None]:
        self.start()
        try:
            yield
        finally:
            self.interrupt()

    def interrupt(self) -> None:
        interrupt(self)

    async def prints(self, text: str) -> None:
        await eventually(lambda: text in self.output(), f"{self.name} prints: {text}", 100)


class MakeUp(EmbeddedStack):
    """`make up` in a terminal, ended by Ctrl+C."""

    def stop(self) -> None:
        interrupt(self)


def interrupt(process: Process) -> None:
    """Interrupt as Ctrl+C does: all processes of the terminal get the signal."""
    os.killpg(process.pid, signal.SIGINT)
    process.wait(40)


def copy_web(clone: Path) -> Path:
    """The folder `web` of a clone, without built files, and with the packages that were installed there before."""
    web = clone / "web"
    shutil.copytree(ROOT / "web", web, ignore=shutil.ignore_patterns("node_modules", "dist"))
    (web / "node_modules").symlink_to(NODE_MODULES)
    return web
