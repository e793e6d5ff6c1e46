"""The version of the project, which stands in several files, and the release that changes it.

All parts of a release have one version: the image, the wheel, the npm package, the chart and the manifests.
"""

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
"""Final versions only: Python and npm spell others in different ways."""
CHANGELOG = "CHANGELOG.md"
UNRELEASED = "## [Unreleased]"
_HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
_RELEASED = re.compile(rf"\[({VERSION.pattern})\] - (\d{{4}}-\d{{2}}-\d{{2}})")


class NotReleasable(Exception):
    """The argument says why not."""


@dataclass(frozen=True)
class Place:
    """A file with the version, and a pattern for what is in front of it on each of its `lines`."""

    file: str
    before: str
    lines: int = 1

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(rf"({self.before})({VERSION.pattern})", re.MULTILINE)

    def versions(self, root: Path) -> list[str]:
        return [found[2] for found in self.pattern.finditer((root / self.file).read_text("utf-8"))]

    def write(self, root: Path, version: str) -> None:
        path = root / self.file
        path.write_text(self.pattern.sub(rf"\g<1>{version}", path.read_text("utf-8")), "utf-8")


_OF_NPM = r'^  "version": "'
_OF_IMAGE = r"^  - name: studyroom\n(?:    newName: .*\n)?    newTag: "
PLACES = (
    Place("pyproject.toml", r'^version = "'),
    Place("web/package.json", _OF_NPM),
    Place("web/client/package.json", _OF_NPM),
    Place("web/room/package.json", _OF_NPM),
    Place(
        "web/package-lock.json",
        rf'{_OF_NPM}|^      "name": "(?:studyroom-web|@studyroom/client|@studyroom/room)",\n      "version": "',
        lines=4,
    ),
    Place("charts/studyroom/Chart.yaml", r"^(?:version|appVersion): ", lines=2),
    Place("k8s/base/kustomization.yaml", _OF_IMAGE),
    Place("k8s/overlays/prod/kustomization.yaml", _OF_IMAGE),
    Place("docs/asyncapi.json", r'^    "version": "'),
    Place("Dockerfile", r"^ARG VERSION="),
)
"""The first one is where the others are compared with."""


def version_of(root: Path) -> str:
    """Raises NotReleasable if there is none."""
    version = next(iter(PLACES[0].versions(root)), None)
    if version is None:
        raise NotReleasable(f"{PLACES[0].file} has no version such as 1.2.3")
    return version


def problems(root: Path) -> list[str]:
    """Return the places with another version, and the mistakes of the changelog."""
    version = version_of(root)
    found = []
    for place in PLACES:
        there = place.versions(root)
        if there != [version] * place.lines:
            found.append(f"{place.file} has {', '.join(there) or 'no version'}, and {PLACES[0].file} has {version}")
    return found + _problems_of_changelog((root / CHANGELOG).read_text("utf-8"), version)


def _problems_of_changelog(text: str, version: str) -> list[str]:
    headings = [heading for heading in _HEADING.findall(text) if heading.startswith("[")]
    if headings[:1] != [UNRELEASED.removeprefix("## ")]:
        return [f"{CHANGELOG} does not begin with {UNRELEASED}"]
    releases = [_RELEASED.fullmatch(heading) for heading in headings[1:]]
    found = [
        f"{CHANGELOG}: {heading} is not of the form [1.2.3] - 2026-01-31"
        for heading, release in zip(headings[1:], releases, strict=True)
        if release is None
    ]
    listed = [release[1] for release in releases if release is not None]
    if listed != sorted(set(listed), key=_numbers, reverse=True):
        found.append(f"{CHANGELOG} does not have the newest release first: {', '.join(listed)}")
    if listed and listed[0] != version:
        found.append(f"{CHANGELOG} has {listed[0]} as the newest release, and {PLACES[0].file} has {version}")
    return found


def section(root: Path, version: str) -> str:
    """Return the text of the changelog about a release, without the heading. Raises NotReleasable if there is none."""
    text = (root / CHANGELOG).read_text("utf-8")
    found = re.search(rf"^## \[{re.escape(version)}\].*\n((?:(?!## ).*\n)*)", text, re.MULTILINE)
    if found is None or not found[1].strip():
        raise NotReleasable(f"{CHANGELOG} says nothing about {version}")
    return found[1].strip() + "\n"


def prepare(root: Path, version: str, today: date) -> None:
    """Write the version into all places, and make a section of the changelog of what is unreleased.

    Raises NotReleasable, and changes nothing then.
    """
    if VERSION.fullmatch(version) is None:
        raise NotReleasable(f"{version!r} is not a version such as 1.2.3")
    if wrong := problems(root):
        raise NotReleasable("; ".join(wrong))
    path = root / CHANGELOG
    text = path.read_text("utf-8")
    before = version_of(root)
    is_first = _RELEASED.search(text) is None
    if _numbers(version) < _numbers(before) or (version == before and not is_first):
        raise NotReleasable(f"{version} is not newer than {before}")
    section(root, "Unreleased")
    for place in PLACES:
        place.write(root, version)
    path.write_text(text.replace(UNRELEASED, f"{UNRELEASED}\n\n## [{version}] - {today.isoformat()}", 1), "utf-8")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def main() -> None:
    """Needs nothing that has to be installed, so workflows can call it at once."""
    parser = argparse.ArgumentParser(prog="release.py", description="The version of the project, and its releases.")
    commands = parser.add_subparsers(dest="command", required=True)
    checked = commands.add_parser("check", help="check that the version is the same everywhere")
    checked.add_argument("--tag", help="also check that it is the tag of the version, and that the changelog has it")
    commands.add_parser("notes", help="print what the changelog says about a release").add_argument("version")
    commands.add_parser("prepare", help="write a new version everywhere").add_argument("version")
    given = parser.parse_args()
    try:
        if given.command == "check":
            _check(given.tag)
        elif given.command == "notes":
            print(section(ROOT, given.version), end="")
        else:
            _prepare(given.version)
    except NotReleasable as reason:
        sys.exit(str(reason))


def _check(tag: str | None) -> None:
    if wrong := problems(ROOT):
        raise NotReleasable("\n".join(wrong))
    version = version_of(ROOT)
    if tag is not None:
        if tag != f"v{version}":
            raise NotReleasable(f"the tag is {tag}, and the version is {version}")
        section(ROOT, version)


def _prepare(version: str) -> None:
    status = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True)
    if status.stdout:
        raise NotReleasable("there are changes that are not committed")
    prepare(ROOT, version, datetime.now(UTC).date())
    print(f"Version {version} is in all places. Look at the changes (git diff), and then:")
    print(f"  git commit -am 'Release {version}'")
    print(f"  git tag -a v{version} -m 'Studyroom {version}'")
    print("  git push --follow-tags")


if __name__ == "__main__":
    main()
