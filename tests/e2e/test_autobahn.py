"""The Autobahn test suite against the gateway's own WebSocket adapter, with an echo server of the tests.

Its image comes from a registry, or from wherever `AUTOBAHN_IMAGE` says. `make autobahn` prints the table of
`docs/conformance.md`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from studyroom.services.stack.stack import free_port
from tests.support.processes import Process
from tests.support.waiting import wait_until

IMAGE = os.environ.get("AUTOBAHN_IMAGE", "crossbario/autobahn-testsuite")
GROUPS = {
    "1": "framing", "2": "pings and pongs", "3": "reserved bits", "4": "opcodes", "5": "fragments", "6": "UTF-8",
    "7": "closing", "9": "limits and speed", "10": "automatic fragments",
}  # fmt: skip
AT_THE_GATEWAYS_LIMIT = ("1", "2", "3", "4", "5", "6", "7", "10")
BEYOND_IT = ("9",)
"""Its messages have up to 16 MB: for these the listener takes more than the gateway does."""
NOT_STRICT = ("6.4.",)
"""Other behaviour that RFC 6455 allows: UTF-8 is checked frame by frame, not byte by byte."""

Report = dict[str, dict[str, Any]]


def problem() -> str | None:
    """Why the suite cannot be run here; None when it can."""
    try:
        answer = subprocess.run(["docker", "image", "inspect", IMAGE], check=False, capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no Docker engine: {error}"
    return (
        None if answer.returncode == 0 else f"the image {IMAGE} is not here (docker pull), or no Docker engine answers"
    )


def run(directory: Path, groups: tuple[str, ...], *, message_max_bytes: int) -> Report:
    """The outcome of each case of the groups."""
    port = free_port()
    command = ["-m", "tests.support.echo", "--port", str(port), "--message-max-bytes", str(message_max_bytes)]
    echo = Process("echo", [sys.executable, *command], directory / "echo.log")
    spec = {
        "servers": [{"agent": "studyroom", "url": f"ws://127.0.0.1:{port}"}],
        "outdir": "/out", "cases": [f"{group}.*" for group in groups], "exclude-cases": [],
    }  # fmt: skip
    (directory / "spec.json").write_text(json.dumps(spec))
    echo.start()
    try:
        wait_until(lambda: "listening" in echo.output(), "the echo server listens")
        subprocess.run(
            [
                "docker", "run", "--rm", "--network", "host", "--volume", f"{directory}:/out", "--entrypoint", "wstest",
                IMAGE, "-m", "fuzzingclient", "-s", "/out/spec.json",
            ],
            check=True, capture_output=True, timeout=400,
        )  # fmt: skip
        assert echo.running
        assert "Traceback" not in echo.output()
    finally:
        echo.stop()
    report: Report = json.loads((directory / "index.json").read_text())["studyroom"]
    return report


def failures(report: Report) -> list[str]:
    good = {"OK", "INFORMATIONAL"}
    return [
        f"{case}: {result['behavior']}, close {result['behaviorClose']}"
        for case, result in report.items()
        if result["behaviorClose"] not in good
        or result["behavior"] not in good | ({"NON-STRICT"} if case.startswith(NOT_STRICT) else set())
    ]


@pytest.mark.container
@pytest.mark.timeout(420)
def test_autobahn_finds_no_failure_in_the_websocket_protocol(tmp_path: Path):
    if (reason := problem()) is not None:
        pytest.skip(reason)
    report = run(tmp_path, AT_THE_GATEWAYS_LIMIT, message_max_bytes=65_536)
    assert len(report) > 240
    assert failures(report) == []


def table(report: Report) -> str:
    lines = [
        "| group | cases | OK | not strict | informational | failed |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for group, name in GROUPS.items():
        results = [result["behavior"] for case, result in report.items() if case.split(".")[0] == group]
        count = Counter(results)
        cells = [count[behavior] for behavior in ("OK", "NON-STRICT", "INFORMATIONAL")]
        lines.append(
            f"| {group} {name} | {len(results)} | {' | '.join(map(str, cells))} | {len(results) - sum(cells)} |"
        )
    return "\n".join(lines)


def main() -> int:
    if (reason := problem()) is not None:
        print(reason, file=sys.stderr)
        return 1
    report: Report = {}
    for groups, limit in ((AT_THE_GATEWAYS_LIMIT, 65_536), (BEYOND_IT, 32 * 1024 * 1024)):
        with tempfile.TemporaryDirectory() as directory:
            report |= run(Path(directory), groups, message_max_bytes=limit)
    print(table(report))
    for failure in failures(report):
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures(report) else 0


if __name__ == "__main__":
    sys.exit(main())
