"""The wheel, as after an installation by its name."""

import os
import subprocess
import sys
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from hatch_compile import MODULES
from studyroom.gateway import NOT_COMPILED
from studyroom.services.stack.stack import free_port
from tests.support.markdown import ROOT
from tests.support.processes import EmbeddedStack, running
from tests.support.waiting import http_get

PAGE = ROOT / "gateway" / "static" / "index.html"


def build(source: Path, target: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--no-deps", "--no-build-isolation",
         "--wheel-dir", target, source],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not built: there is no Node here")
def test_the_wheel_is_one_package_that_runs_the_whole_system_with_its_page(tmp_path: Path):
    assert build(ROOT, tmp_path / "wheels").returncode == 0
    (scheduler,) = (tmp_path / "wheels").glob("studyroom-*.whl")
    place = tmp_path / "installed"
    with zipfile.ZipFile(scheduler) as archive:
        assert {name.split("/")[0].split("-")[0] for name in archive.namelist()} == {"studyroom"}
        archive.extractall(place)
    has_client(place)
    data_dir = tmp_path / "data"
    stack = EmbeddedStack(
        name="studyroom up",
        command=[sys.executable, "-m", "studyroom", "up", "--port", str(free_port()), "--data-dir", str(data_dir)],
        log=tmp_path / "up.log",
        environment={"PYTHONPATH": str(place), "PYTHONSAFEPATH": "1"},
        data_dir=data_dir,
    )
    with running(stack):
        (gateway,) = stack.of("gateway")
        status, page = http_get(f"{gateway['url']}/")
    assert status == 200
    assert page == PAGE.read_text("utf-8")


def has_client(place: Path) -> None:
    """The client is there, and needs none of the services' packages."""
    program = "import sys, studyroom.client as client; print(client.__file__, *{'nats', 'fastapi'} & {*sys.modules})"
    shown = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(place), "PYTHONSAFEPATH": "1"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert shown.stdout.split() == [str(place / "studyroom" / "client" / "__init__.py")]


def test_a_wheel_without_the_page_is_not_built_by_mistake(tmp_path: Path):
    source = copied(tmp_path)
    refused = build(source, tmp_path)
    assert refused.returncode != 0
    assert "run `make page`" in refused.stdout + refused.stderr
    assert build(source, tmp_path, STUDYROOM_WHEEL_WITHOUT_PAGE="true", CC="none").returncode == 0


def copied(tmp_path: Path) -> Path:
    """A copy of the files that git tracks."""
    source = tmp_path / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(
        ["tar", "-c", "-C", ROOT, "--null", "-T", "-", "-f", tmp_path / "source.tar"], input=listed.stdout, check=True
    )
    source.mkdir()
    subprocess.run(["tar", "-x", "-C", source, "-f", tmp_path / "source.tar"], check=True)
    return source


def test_a_wheel_for_all_machines_has_nothing_that_was_compiled_on_this_one(tmp_path: Path):
    source = copied(tmp_path)
    compiled = source / "gateway" / "compiled"
    compiled.mkdir()
    for name in ("sources.json", f"studyroom.gateway.wire.framing{EXTENSION_SUFFIXES[0]}"):
        (compiled / name).write_text("{}")
    assert build(source, tmp_path, STUDYROOM_WHEEL_WITHOUT_PAGE="true", CC="none").returncode == 0
    (wheel,) = tmp_path.glob("studyroom-*.whl")
    assert wheel.name.endswith("-none-any.whl")
    assert [name for name in zipfile.ZipFile(wheel).namelist() if "compiled/" in name] == []


def test_the_source_distribution_makes_the_same_wheel_as_the_checkout(tmp_path: Path):
    source = tmp_path / "source"
    made = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", source],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    (distribution,) = source.glob("studyroom-*.tar.gz")
    contents = []
    for name, of in (("from source", distribution), ("from checkout", ROOT)):
        assert build(of, tmp_path / name, STUDYROOM_WHEEL_WITHOUT_PAGE="true", CC="none").returncode == 0
        (wheel,) = (tmp_path / name).glob("studyroom-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            contents.append({name: archive.read(name) for name in archive.namelist()})
    assert contents[0] == contents[1]


def test_a_wheel_has_the_compiled_data_path_only_where_there_is_a_compiler(tmp_path: Path):
    with_compiler, without = tmp_path / "with", tmp_path / "without"
    if not NOT_COMPILED:
        assert build(ROOT, with_compiler, STUDYROOM_WHEEL_WITHOUT_PAGE="true").returncode == 0
        (wheel,) = with_compiler.glob("studyroom-*.whl")
        assert not wheel.name.endswith("-none-any.whl")
        made = [name for name in zipfile.ZipFile(wheel).namelist() if "/gateway/compiled/" in name]
        names = {f"{module}{EXTENSION_SUFFIXES[0]}" for module in MODULES} | {"sources.json"}
        assert {name.rpartition("/")[2] for name in made} == names
    assert build(ROOT, without, STUDYROOM_WHEEL_WITHOUT_PAGE="true", CC="none").returncode == 0
    (wheel,) = without.glob("studyroom-*.whl")
    assert wheel.name.endswith("-none-any.whl")
    required = build(ROOT, without, STUDYROOM_WHEEL_WITHOUT_PAGE="true", STUDYROOM_WHEEL_COMPILED="true", CC="none")
    assert "there is no C compiler (none)" in required.stdout + required.stderr
