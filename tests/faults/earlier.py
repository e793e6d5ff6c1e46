"""An earlier version of the project, to run beside the present version, as in a rolling upgrade."""

import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMIT = "b96e121c52445ad9b17ae7c070a6bef56ff8f327"
"""The version to upgrade from."""
_DEPENDENCIES = "dependencies"


@dataclass(frozen=True)
class Earlier:
    """`why_not`: why it cannot be run; empty where it can."""

    directory: Path
    why_not: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """With it the same Python runs the earlier code: its packages, not those of the working directory."""
        paths = self.directory, self.directory / _DEPENDENCIES
        return {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONSAFEPATH": "1"}


def earlier_version(directory: Path) -> Earlier:
    """Its files, in a new directory, with those of its dependencies that are not installed here.

    It needs the history of the repository, and an index of packages.
    """
    place = directory / "earlier"
    place.mkdir(parents=True)
    archive = _git("archive", COMMIT)
    if isinstance(archive, str):
        return Earlier(place, f"commit {COMMIT[:7]} is not in this repository: {archive}")
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
            return Earlier(
                place, f"dependencies of commit {COMMIT[:7]} cannot be installed: {installed.stderr.strip()}"
            )
    return Earlier(place)


def _make_runnable(project: Path) -> None:
    """Python finds services by the metadata of installed packages."""
    metadata = project / "studyroom-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: studyroom\nVersion: 0\n")
    services = tomllib.loads((project / "pyproject.toml").read_text())["project"]["entry-points"]["studyroom.services"]
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


def _git(*arguments: str) -> bytes | str:
    """Its output, or the reason for having none."""
    try:
        # Nothing of a hook or a caller's environment may lead it elsewhere.
        clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False, env=clean)
    except OSError as error:
        return str(error)
    return done.stdout if done.returncode == 0 else done.stderr.decode(errors="replace").strip()
