"""The data path runs as Python and compiled, and passes the same tests.

`make test` runs all tests with the compiled data path where there is a compiler. Here those that reach it run again as
Python.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from studyroom.gateway import DATA_PATH, NOT_COMPILED
from studyroom.shared.chassis.compiled import PURE_PYTHON, use_compiled
from tests.support.markdown import ROOT
from tests.support.processes import EmbeddedStack
from tests.support.traffic import metrics_of

MODULE = "studyroom.gateway.wire.framing"
FILES = (
    "tests/unit/test_cursor_exchange.py",
    "tests/unit/test_cursor_move.py",
    "tests/unit/test_excess.py",
    "tests/unit/test_fanout.py",
    "tests/unit/test_framing.py",
    "tests/unit/test_fuzz_targets.py",
    "tests/unit/test_heartbeat.py",
    "tests/unit/test_poller.py",
    "tests/unit/test_transport.py",
    "tests/unit/test_websocket_protocol.py",
    "tests/e2e/test_autobahn.py",
    "tests/e2e/test_frames.py",
)


@pytest.mark.skipif(bool(NOT_COMPILED), reason=f"the data path is Python in all tests: {NOT_COMPILED}")
@pytest.mark.timeout(400)
def test_the_same_tests_pass_with_the_data_path_as_python():
    with tempfile.TemporaryDirectory() as own:  # so that they do not wait for a turn while this test has one
        outcome = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *FILES],
            cwd=ROOT, env={**os.environ, PURE_PYTHON: "true", "TMPDIR": own}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
    assert outcome.returncode == 0, outcome.stdout


def test_log_and_metrics_name_the_variant(stack: EmbeddedStack):
    for metrics in metrics_of(stack, "gateway").values():
        assert f'studyroom_gateway_data_path_info{{variant="{DATA_PATH}"}} 1.0' in metrics
    logs = [file.read_text() for file in stack.data_dir.glob("**/gateway*.log")]
    assert logs
    assert all(re.search(rf'"{DATA_PATH}".*"data path"|"data path".*"{DATA_PATH}"', log) for log in logs)


def test_compiled_modules_are_used_only_with_the_sources_that_they_were_made_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv(PURE_PYTHON, raising=False)
    assert use_compiled(ROOT / "studyroom", tmp_path) == "it was not built"
    (tmp_path / "sources.json").write_text(json.dumps({MODULE: "another digest"}))
    assert use_compiled(ROOT / "studyroom", tmp_path) == "it was built for another Python"
    (tmp_path / f"{MODULE}{EXTENSION_SUFFIXES[0]}").touch()
    assert use_compiled(ROOT / "studyroom", tmp_path) == "its sources have changed"
    monkeypatch.setenv(PURE_PYTHON, "true")
    assert use_compiled(ROOT / "studyroom", tmp_path) == f"{PURE_PYTHON} is set"
