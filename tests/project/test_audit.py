"""The reports that `make audit` makes of the answers of pip-audit and npm."""

import json

import pytest

from tests.project.audit import NODE, PYTHON, Report, read_npm_audit, read_pip_audit

KNOWN = {"name": "jinja2", "version": "2.4.1", "vulns": [{"id": "PYSEC-2014-8", "fix_versions": ["2.7.2"]}]}
WELL = {"name": "uvloop", "version": "0.23.0", "vulns": []}
SKIPPED = {"name": "nats-py", "skip_reason": "Dependency not found on PyPI and could not be audited: nats-py (2.16.0)"}


def pip_audit(*dependencies: object) -> Report:
    return read_pip_audit(json.dumps({"dependencies": dependencies, "fixes": []}))


def test_a_known_vulnerability_is_named():
    report = pip_audit(WELL, KNOWN, SKIPPED)
    assert report == Report(2, 1, ["jinja2 2.4.1: PYSEC-2014-8"])
    assert "1 known vulnerabilities in 2 packages, nothing is known of 1 others" in str(report)


def test_an_answer_about_nothing_does_not_look_like_nothing_found():
    assert str(pip_audit(SKIPPED, SKIPPED)).startswith("NOT AUDITED")
    assert str(pip_audit(WELL)) == "0 known vulnerabilities in 1 packages"


@pytest.mark.parametrize(
    "output", ["", "null", "Traceback", "{}", '{"message": "405 Method Not Allowed", "error": {}}']
)
def test_a_missing_answer_is_reported_as_such(output: str):
    for report in (read_pip_audit(output), read_npm_audit(output)):
        assert str(report).startswith("NOT AUDITED")
        assert report.vulnerabilities == []


def test_vulnerabilities_that_npm_knows_are_named():
    answer = {"vulnerabilities": {"ws": {"severity": "high"}}, "metadata": {"dependencies": {"total": 40}}}
    assert read_npm_audit(json.dumps(answer)) == Report(40, vulnerabilities=["ws: high"])


def test_every_lock_file_is_asked_about():
    assert {lock.name for lock in PYTHON} == {
        "audit.txt",
        "bench.txt",
        "build.txt",
        "compile.txt",
        "dev.txt",
        "docs.txt",
        "fuzz.txt",
        "release.txt",
        "runtime.txt",
    }
    assert [directory.name for directory in NODE] == ["web", "bun", "hocuspocus", "socketio_node", "y_websocket"]
