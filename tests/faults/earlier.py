"""An earlier version of the project, to run beside the present version, as in a rolling upgrade.

It is the newest release before the present commit, as git has it, so tests need the history and the tags of the
repository.
"""

import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BASELINE = "81523a93dc6d353974c1105d59a067e83acb65ea"
"""Stands for the previous release as long as there is none. It has all the services."""
CHOSEN = "STUDYROOM_TEST_EARLIER"
"""The variable that names another tag or commit."""
_DEPENDENCIES = "dependencies"


class NoEarlierVersion(Exception):
    """It cannot be run here. The argument says why not."""


@dataclass(frozen=True)
class Earlier:
    """`why_not`: why it cannot be run; empty where it can."""

    name: str
    directory: Path
    why_not: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """With it the same Python runs the earlier code: its packages, not those of the working directory."""
        paths = self.directory, self.directory / _DEPENDENCIES
        return {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONSAFEPATH": "1"}

    @property
    def services(self) -> frozenset[str]:
        """The services that it has."""
        return frozenset(_described(self.directory)["entry-points"]["studyroom.services"])

    def command(self, service: str) -> list[str]:
        """Its program, wherever that was in the earlier version."""
        module, function = _described(self.directory)["scripts"]["studyroom"].split(":")
        return [sys.executable, "-c", f"from {module} import {function}; {function}()", service]


def previous_release(root: Path = ROOT) -> str:
    """The tag of the newest release before the present commit, or `BASELINE`, unless the environment names another."""
    if chosen := os.environ.get(CHOSEN):
        return chosen
    found = _git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^", root=root)
    return found.decode().strip() if isinstance(found, bytes) else BASELINE


def earlier_version(directory: Path) -> Earlier:
    """Its files, in a new directory, with those of its locked dependencies that are not installed here.

    It needs the history of the repository, and an index of packages if its dependencies differ.
    """
    release = previous_release()
    place = directory / "earlier"
    place.mkdir(parents=True)
    archive = _git("archive", release)
    if isinstance(archive, str):
        return Earlier(release, place, f"{release} is not in this repository: {archive}")
    subprocess.run(["tar", "-x", "-C", str(place)], input=archive, check=True)
    _make_runnable(place)
    present, earlier = _locked(ROOT), _locked(place)
    if others := [block for name, block in earlier.items() if name not in present]:
        requirements = place / "requirements-others.txt"
        requirements.write_text("".join(others))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "--target", str(place / _DEPENDENCIES), "--requirement", str(requirements)]
        installed = subprocess.run(command, capture_output=True, text=True, check=False)
        if installed.returncode:
            return Earlier(release, place, f"dependencies of {release} cannot be installed: {installed.stderr.strip()}")
    return Earlier(release, place)


def _make_runnable(project: Path) -> None:
    """Python finds services by the metadata of installed packages."""
    metadata = project / "studyroom-0.dist-info"
    metadata.mkdir()
    described = _described(project)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: studyroom\nVersion: {described['version']}\n")
    services = described["entry-points"]["studyroom.services"]
    lines = ["[studyroom.services]", *(f"{name} = {target}" for name, target in services.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")


def _locked(project: Path) -> dict[str, str]:
    """The dependencies: by name and version, the lines of each with its hashes."""
    blocks: dict[str, str] = {}
    name = ""
    for line in (project / "requirements" / "runtime.txt").read_text().splitlines(keepends=True):
        if line.startswith("#"):
            continue
        if not line.startswith(" "):
            name = line.split()[0] if line.strip() else ""
        if name:
            blocks[name] = blocks.get(name, "") + line
    return blocks


def _described(project: Path) -> dict[str, Any]:
    described: dict[str, Any] = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    return described


def _git(*arguments: str, root: Path = ROOT) -> bytes | str:
    """Its output, or the reason for having none."""
    try:
        # Nothing of a hook or a caller's environment may lead it elsewhere.
        clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False, env=clean)
    except OSError as error:
        return str(error)
    return done.stdout if done.returncode == 0 else done.stderr.decode(errors="replace").strip()
