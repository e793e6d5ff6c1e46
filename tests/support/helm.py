"""Helm: the program if it is installed, or else its library, which CI installs because it is not compiled there."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
_LIBRARY = ROOT / ".venv" / "helm"
"""Where `.ci/run` installs the package `helm-python-sdk`."""
_KUBERNETES = "1.34.0"
"""A program that is compiled from its module believes in a version of long ago."""
_SOURCE = re.compile(r"^---\n# Source: \w+/(\S+)\n", re.MULTILINE)

Values = dict[str, Any]


class Refused(Exception):
    """Helm does not render or does not accept a chart. The argument is what it says."""


def render(chart: Path, values: Values, *, namespace: str) -> dict[str, str]:
    """The rendered files by their paths in the chart, also those of `helm test`. Raises Refused."""
    if shutil.which("helm"):
        parts = _SOURCE.split(_helm("template", "studyroom", str(chart), "--namespace", namespace, values=values))
        found: dict[str, str] = {}
        for path, text in zip(parts[1::2], parts[2::2], strict=True):
            found[path] = f"{found.get(path, '')}\n---\n{text}"
        return found
    library = _library()
    try:
        rendered = library.Chart.load(chart).render(values, name="studyroom", namespace=namespace)
    except library.HelmError as error:
        raise Refused(str(error)) from error
    return {path.partition("/")[2]: text for path, text in rendered.items() if not path.endswith(".txt")}


def lint(chart: Path, values: Values) -> None:
    """Raises Refused, also for warnings."""
    if shutil.which("helm"):
        _helm("lint", "--strict", str(chart), values=values)
        return
    report = _library().lint(chart, values, strict=True)
    if report["errors"]:
        raise Refused(str(report))


def _helm(*arguments: str, values: Values) -> str:
    run = subprocess.run(
        ["helm", *arguments, "--kube-version", _KUBERNETES, "--values", "-"],
        check=False, input=json.dumps(values), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if run.returncode:
        raise Refused(run.stdout + run.stderr)
    return run.stdout


def _library() -> Any:
    if not _LIBRARY.exists():
        pytest.skip("helm is not installed, as a program or as a library")
    if str(_LIBRARY) not in sys.path:
        sys.path.append(str(_LIBRARY))
    return importlib.import_module("helm_python")
