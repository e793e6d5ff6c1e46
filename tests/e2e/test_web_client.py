"""The client for browsers against the embedded stack, by its own tests: `npm test` in web/."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"
NPM = shutil.which("npm")

pytestmark = [
    pytest.mark.skipif(NPM is None, reason="needs Node and npm"),
    pytest.mark.skipif(not (WEB / "node_modules").exists(), reason="needs make web-install"),
    pytest.mark.timeout(600),
]


def test_the_web_client_keeps_its_promises():
    environment = {**os.environ, "STUDYROOM_PYTHON": sys.executable, "CI": "true", "NO_COLOR": "1"}
    run = subprocess.run(
        [str(NPM), "test"], cwd=WEB, env=environment, capture_output=True, text=True, timeout=580, check=False
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
