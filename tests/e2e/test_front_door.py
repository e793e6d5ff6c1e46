"""The first minutes of somebody who runs the system for the first time."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from studyroom.services.stack.stack import free_port
from tests.support.commands import studyroom
from tests.support.processes import EmbeddedStack, embedded_stack, running, service
from tests.support.waiting import http_get, wait_until


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    directory = tmp_path_factory.mktemp("stack")
    with running(embedded_stack(directory, "--host", "0.0.0.0", gateways=1, presence=1)) as ready:
        yield ready


def test_the_doctor_finds_the_system_that_runs_here(stack: EmbeddedStack):
    status, screen, _ = studyroom("doctor", "--data-dir", str(stack.data_dir), cwd=stack.data_dir)
    assert (status, screen.splitlines()[-1]) == (0, "All is well.")


def test_other_devices_get_an_address_that_is_answered(stack: EmbeddedStack):
    (address,) = re.findall(r"On other devices: (\S+)", stack.output())
    assert http_get(f"{address}/health")[0] == 200
    assert http_get(f"{address}/api/v1/ping")[0] == 200


def test_where_nothing_runs_the_doctor_reports_it_and_claims_nothing(tmp_path: Path):
    url = f"nats://127.0.0.1:{free_port()}"
    status, screen, _ = studyroom("doctor", cwd=tmp_path, STUDYROOM_NATS_URL=url)
    assert status == 1
    assert f"connection refused ({url})" in screen
    assert "unknown" in screen
    assert "64" not in screen.replace(url, "")


def test_a_gateway_without_nats_logs_why_it_waits(tmp_path: Path):
    url = f"nats://127.0.0.1:{free_port()}"
    gateway = service("gateway", tmp_path, url)
    gateway.start()
    try:
        wait_until(lambda: f"connection refused ({url})" in gateway.output(), "it logs why")
        assert gateway.output().count("connection refused") == 1
    finally:
        gateway.stop()


def test_settings_of_a_file_are_used_and_misspelled_settings_are_named(tmp_path: Path):
    (tmp_path / ".env").write_text("STUDYROOM_GATEWAY_PORT=70000\nSTUDYROOM_GATEWAY_GUEST=true\n")
    status, _, errors = studyroom("gateway", cwd=tmp_path)
    assert status == 2
    assert "STUDYROOM_GATEWAY_PORT" in errors
    assert "STUDYROOM_GATEWAY_GUEST is not a setting; did you mean STUDYROOM_GATEWAY_GUESTS?" in errors
