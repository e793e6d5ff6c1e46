"""Releases: one version everywhere, and a changelog that says what is in each of them."""

import re
import shutil
from datetime import date
from pathlib import Path

import pytest

from tests.project.release import (
    CHANGELOG,
    PLACES,
    UNRELEASED,
    NotReleasable,
    Place,
    prepare,
    problems,
    section,
    version_of,
)
from tests.support.markdown import ROOT

TODAY = date(2026, 12, 24)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The files that a release changes, with a changelog of their own."""
    for place in PLACES:
        (tmp_path / place.file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / place.file, tmp_path / place.file)
    text = f"# Changelog\n\n{UNRELEASED}\n\n### Added\n\n- Rooms.\n\n## Known limits\n\n- Few.\n"
    (tmp_path / CHANGELOG).write_text(text)
    return tmp_path


def test_all_files_have_the_same_version_and_the_changelog_agrees():
    assert problems(ROOT) == []


@pytest.mark.parametrize("place", PLACES, ids=[place.file for place in PLACES])
def test_another_version_in_one_file_is_a_problem(project: Path, place: Place):
    place.write(project, "9.9.9")
    assert problems(project) != []


def test_the_first_release_may_have_the_version_that_is_there(project: Path):
    version = version_of(project)
    prepare(project, version, TODAY)
    assert (
        (project / CHANGELOG)
        .read_text()
        .startswith(f"# Changelog\n\n{UNRELEASED}\n\n## [{version}] - 2026-12-24\n\n### Added\n\n- Rooms.\n")
    )
    assert section(project, version) == "### Added\n\n- Rooms.\n"
    assert problems(project) == []


def test_a_release_changes_the_version_everywhere_and_nothing_else(project: Path):
    before = {place.file: (project / place.file).read_text() for place in PLACES}
    old = version_of(project)
    prepare(project, "7.0.0", TODAY)
    assert problems(project) == []
    for place in PLACES:
        changed = (project / place.file).read_text().splitlines()
        lines = [pair for pair in zip(before[place.file].splitlines(), changed, strict=True) if pair[0] != pair[1]]
        assert len(lines) == place.lines
        assert all(after == was.replace(old, "7.0.0") for was, after in lines)


@pytest.mark.parametrize("version", ["1.2", "v1.2.3", "1.2.3rc1", "1.2.3-rc.1", "01.2.3", "", "0.0.0"])
def test_a_version_that_is_none_or_is_not_newer_is_refused_and_nothing_changes(project: Path, version: str):
    with pytest.raises(NotReleasable):
        prepare(project, version, TODAY)
    assert UNRELEASED in (project / CHANGELOG).read_text()
    assert problems(project) == []


def test_a_release_that_the_changelog_does_not_describe_or_that_was_made_before_is_refused(project: Path):
    prepare(project, "7.0.0", TODAY)
    with pytest.raises(NotReleasable, match="says nothing about Unreleased"):
        prepare(project, "7.1.0", TODAY)
    text = (project / CHANGELOG).read_text()
    (project / CHANGELOG).write_text(text.replace(UNRELEASED, f"{UNRELEASED}\n\n### Fixed\n\n- It.", 1))
    with pytest.raises(NotReleasable, match=re.escape("7.0.0 is not newer than 7.0.0")):
        prepare(project, "7.0.0", TODAY)
    prepare(project, "7.1.0", TODAY)
    assert section(project, "7.1.0") == "### Fixed\n\n- It.\n"
    assert problems(project) == []


@pytest.mark.parametrize(
    ("headings", "problem"),
    [
        ("## [1.0.0] - 2026-01-01", "does not begin with"),
        (f"{UNRELEASED}\n## [0.1.0]", "is not of the form"),
        (f"{UNRELEASED}\n## [0.0.9] - 2026-01-01", "as the newest release"),
        (f"{UNRELEASED}\n## [0.1.0] - 2026-01-02\n## [0.2.0] - 2026-01-01", "newest release first"),
    ],
)
def test_a_changelog_that_does_not_fit_is_a_problem(project: Path, headings: str, problem: str):
    (project / CHANGELOG).write_text(f"# Changelog\n\n{headings}\n")
    assert any(problem in found for found in problems(project))
