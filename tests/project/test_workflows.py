"""The workflows in `.github`: what they use is pinned, and they run what the project says it supports."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.project.release import PLACES
from tests.support.markdown import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
OWN = re.compile(r"\./\.github/workflows/\w+\.yml(?: # zizmor.*)?")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=[path.name for path in WORKFLOWS])


def read(path: Path) -> dict[str, Any]:
    workflow: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return workflow


def matrix() -> list[dict[str, str]]:
    """The versions of Python and Node that the tests run with."""
    combinations: list[dict[str, str]] = read(ROOT / ".github/workflows/checks.yml")["jobs"]["test"]["strategy"][
        "matrix"
    ]["include"]
    return combinations


@each_workflow
def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(path: Path):
    used = re.findall(r"uses: *(.+)", path.read_text("utf-8"))
    assert [one for one in used if not PINNED.fullmatch(one) and not OWN.fullmatch(one)] == []


def test_an_action_has_the_same_commit_everywhere():
    used = {one for path in WORKFLOWS for one in re.findall(r"uses: *([\w-]+/.+)", path.read_text("utf-8"))}
    assert len({one.split("@")[0] for one in used}) == len(used)


@each_workflow
def test_a_workflow_may_only_read_unless_a_job_names_its_rights(path: Path):
    assert read(path)["permissions"] in ({}, {"contents": "read"})


@each_workflow
def test_every_target_of_make_that_a_workflow_runs_is_there(path: Path):
    assert set(re.findall(r"\bmake ([a-z-]+)", path.read_text("utf-8"))) <= TARGETS


@each_workflow
def test_a_workflow_needs_no_secret(path: Path):
    assert "secrets." not in path.read_text("utf-8")


def test_the_tests_run_with_every_python_that_the_package_names():
    named = [one.rpartition(" ")[2] for one in PROJECT["classifiers"] if one.startswith("Programming Language")]
    assert [one["python"] for one in matrix()] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_the_tests_run_with_the_oldest_node_that_the_client_needs():
    client = json.loads((ROOT / "web/client/package.json").read_text("utf-8"))
    oldest = min(int(one["node"]) for one in matrix())
    assert client["engines"]["node"] == f">={oldest}"


def test_the_image_says_which_version_and_revision_it_is():
    (dockerfile,) = (place for place in PLACES if place.file == "Dockerfile")
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert len(dockerfile.versions(ROOT)) == 1
    for label in ("version", "revision"):
        assert f'org.opencontainers.image.{label}="${{{label.upper()}}}"' in text
