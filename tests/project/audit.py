"""Ask advisory services about everything that is locked: `make audit`.

The exit status is 1 when something with a known vulnerability is locked. A silent service is reported, and fails
nothing. pip-audit ends with 0 when it could look nothing up, so the answers are counted.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYTHON = sorted((ROOT / "requirements").glob("*.txt"))
NODE = [ROOT / "web", *sorted(lock.parent for lock in (ROOT / "benchmarks" / "peers").glob("*/package-lock.json"))]
_DEADLINE_SECONDS = 180


@dataclass
class Report:
    """The answers about one lock file."""

    answered: int = 0
    unanswered: int = 0
    """Packages of which the service knows nothing."""
    vulnerabilities: list[str] = field(default_factory=list)
    problem: str = ""
    """Why nobody answered."""

    def __str__(self) -> str:
        if self.problem or not self.answered:
            return f"NOT AUDITED: {self.problem or f'nothing is known of any of {self.unanswered} packages'}"
        summary = f"{len(self.vulnerabilities)} known vulnerabilities in {self.answered} packages"
        if self.unanswered:
            summary += f", nothing is known of {self.unanswered} others"
        return "\n  ".join([summary, *self.vulnerabilities])


def read_pip_audit(output: str) -> Report:
    try:
        dependencies: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return Report(problem="the service does not answer")
    report = Report()
    for one in dependencies:
        if "skip_reason" in one:
            report.unanswered += 1
            continue
        report.answered += 1
        report.vulnerabilities += [f"{one['name']} {one['version']}: {known['id']}" for known in one["vulns"]]
    return report


def read_npm_audit(output: str) -> Report:
    try:
        answer: dict[str, Any] = json.loads(output)
        vulnerable: dict[str, Any] = answer["vulnerabilities"]
        packages: int = answer["metadata"]["dependencies"]["total"]
    except (ValueError, KeyError, TypeError):
        return Report(problem="the registry does not answer")
    return Report(packages, vulnerabilities=[f"{name}: {one['severity']}" for name, one in vulnerable.items()])


def _audits() -> Iterator[tuple[Path, Report]]:
    """Each lock file with its report."""
    pip_audit = [str(Path(sys.executable).parent / "pip-audit"), "--disable-pip", "--require-hashes"]
    for lock in PYTHON:
        yield lock, read_pip_audit(_output([*pip_audit, "--format", "json", "--requirement", str(lock)], ROOT))
    npm = shutil.which("npm")
    for directory in NODE if npm is not None else ():
        yield directory, read_npm_audit(_output([str(npm), "audit", "--json", "--package-lock-only"], directory))


def _output(command: list[str], directory: Path) -> str:
    try:
        run = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=_DEADLINE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return ""
    return run.stdout


def main() -> int:
    found = False
    for place, report in _audits():
        print(f"{place.relative_to(ROOT)}: {report}")
        found |= bool(report.vulnerabilities)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
