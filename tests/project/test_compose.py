"""`docker-compose.yml`: its parts fit each other, and the system runs in containers as it says.

Grafana is left out of what runs: its dashboard is tested query by query (test_metrics.py), its rendering is not.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from services.cli import ENTRY_POINTS
from services.settings import NatsSettings, ProcessSettings, load
from services.stack import free_port
from tests.support.client import Client
from tests.support.waiting import http_get, wait_until

ROOT = Path(__file__).parents[2]
OURS = ("gateway", "presence", "provisioner")
RUN_HERE = ("nats", *OURS, "prometheus")
BUILD_SECONDS = 400

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def answers(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0


# --- as it is written --------------------------------------------------------------------------------------


def test_compose_accepts_the_file():
    if not answers("docker", "compose", "version"):
        pytest.skip("docker's compose plugin is not installed")
    checked = subprocess.run(
        ["docker", "compose", "config", "-q"], check=False, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stderr
    assert not checked.stderr


def test_the_file_names_all_services():
    assert set(SERVICES) == {*RUN_HERE, "grafana"}
    for name in OURS:
        assert SERVICES[name]["command"] == [name]
        assert SERVICES[name]["build"] == "."


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting_and_its_value_is_accepted(name: str, monkeypatch: pytest.MonkeyPatch):
    (entry,) = entry_points(group=ENTRY_POINTS, name=name)
    classes = [ProcessSettings, NatsSettings, *entry.load().settings]
    given = SERVICES[name]["environment"]
    assert given.keys() <= {variable for cls in classes for variable in cls.variables().values()}
    for variable, value in given.items():
        if value is not None:  # passed on when it is set
            monkeypatch.setenv(variable, value)
    load(classes)


def test_ports_are_published_on_loopback_and_can_be_moved():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 3
    for port in published:
        assert re.fullmatch(r"127\.0\.0\.1:\$\{STUDYROOM_\w+:-\d+\}:\d+", port)
    assert SERVICES["gateway"]["ports"][0].endswith(f":{SERVICES['gateway']['environment']['STUDYROOM_GATEWAY_PORT']}")


def test_everything_that_can_be_asked_is_asked_whether_it_is_healthy():
    # The NATS image need not have a program to ask with; the provisioner's readiness stands for it.
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == {"nats"}
    for name in OURS:
        asked = SERVICES[name]["healthcheck"]["test"][-1]
        assert f"127.0.0.1:{SERVICES[name]['environment']['STUDYROOM_ADMIN_PORT']}/readyz" in asked


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_hardened(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["restart"] == "unless-stopped"
    assert "privileged" not in service


@pytest.mark.parametrize("name", OURS)
def test_compose_waits_longer_than_the_stop_deadline(name: str):
    deadline = ProcessSettings.model_fields["stop_deadline_seconds"].default
    assert "STUDYROOM_STOP_DEADLINE_SECONDS" not in SERVICES[name]["environment"]
    assert float(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= deadline + 5


def test_what_is_mounted_exists():
    mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert {mount for mount in mounts if not mount.startswith(".")} == set(COMPOSE["volumes"])
    assert all((ROOT / mount).exists() for mount in mounts if mount.startswith("."))


def test_prometheus_scrapes_the_admin_port_of_every_service():
    scraped = yaml.safe_load((ROOT / "monitoring/prometheus.yml").read_text())["scrape_configs"]
    found = {job["job_name"]: job["dns_sd_configs"][0] for job in scraped}
    assert set(found) == set(OURS)
    for name, target in found.items():
        assert target["names"] == [name]
        assert str(target["port"]) == SERVICES[name]["environment"]["STUDYROOM_ADMIN_PORT"]


def test_grafana_finds_its_dashboards_and_prometheus():
    provisioning = ROOT / "monitoring/grafana/provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards/studyroom.yml").read_text())["providers"]
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"])
    assert mounts["./monitoring/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert mounts["./monitoring/grafana/dashboards"] == provider["options"]["path"]
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (ROOT / "monitoring/grafana/dashboards" / home.relative_to(provider["options"]["path"])).exists()
    assert source["url"] == "http://prometheus:9090"


# --- as it runs --------------------------------------------------------------------------------------------


@dataclass
class Project:
    """The compose file, running under a name and ports of its own."""

    name: str
    environment: dict[str, str]

    def compose(self, *arguments: str, deadline_seconds: float = 120) -> str:
        run = subprocess.run(
            ["docker", "compose", "--project-name", self.name, *arguments],
            check=False, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=deadline_seconds,
        )  # fmt: skip
        assert run.returncode == 0, f"docker compose {' '.join(arguments)}\n{run.stdout}\n{run.stderr}"
        return run.stdout

    def up(self) -> None:
        try:
            self.compose("up", "--detach", "--wait", "--wait-timeout", "90", *RUN_HERE)
        except AssertionError as error:
            error.add_note(self.compose("logs", "--no-color", "--tail", "30"))
            raise

    def down(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "40")
        subprocess.run(
            ["docker", "image", "rm", "--force", self.environment["STUDYROOM_IMAGE"]],
            check=False, capture_output=True, timeout=60,
        )  # fmt: skip

    def state(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.compose("ps", "--all", "--format", "json", service))
        return found

    @property
    def websocket(self) -> str:
        return f"ws://127.0.0.1:{self.environment['STUDYROOM_PORT']}/ws"

    @property
    def prometheus(self) -> str:
        return f"http://127.0.0.1:{self.environment['STUDYROOM_PROMETHEUS_PORT']}"


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    if not answers("docker", "info") or not answers("docker", "compose", "version"):
        pytest.skip("no Docker engine with the compose plugin answers")
    name = f"studyroom-test-{uuid4().hex[:8]}"
    running = Project(
        name,
        {key: value for key, value in os.environ.items() if not key.startswith("STUDYROOM_")}
        | {
            "STUDYROOM_IMAGE": f"studyroom:{name}",
            "STUDYROOM_PORT": str(free_port()),
            "STUDYROOM_PROMETHEUS_PORT": str(free_port()),
        },
    )
    try:
        running.compose("build", *OURS, deadline_seconds=BUILD_SECONDS)
        running.up()
        yield running
    finally:
        running.down()


@pytest.mark.container
@pytest.mark.timeout(BUILD_SECONDS + 120)
def test_all_containers_become_healthy(project: Project):
    for name in RUN_HERE:
        state = project.state(name)
        assert state["State"] == "running"
        assert state["Health"] == ("" if name == "nats" else "healthy")


@pytest.mark.container
@pytest.mark.timeout(BUILD_SECONDS + 120)
def test_services_run_as_nobody_in_particular_and_can_write_nothing(project: Project):
    look = "import os; print(os.getuid(), os.access('/', os.W_OK), os.access('/opt/studyroom', os.W_OK))"
    for name in OURS:
        assert project.compose("exec", "-T", name, "python", "-c", look).split() == ["10001", "False", "False"]


@pytest.mark.container
@pytest.mark.timeout(BUILD_SECONDS + 120)
def test_prometheus_finds_every_service_by_its_name(project: Project):
    def scraped() -> bool:
        targets = json.loads(http_get(f"{project.prometheus}/api/v1/targets")[1])["data"]["activeTargets"]
        return sorted(target["labels"]["job"] for target in targets if target["health"] == "up") == sorted(OURS)

    wait_until(scraped, "all services are scraped", 60)


@pytest.mark.container
@pytest.mark.timeout(BUILD_SECONDS + 120)
async def test_stopping_a_gateway_closes_its_clients_with_1012_and_exits_0(project: Project, room: str):
    client = await Client.connect(project.websocket, username="Ada")
    joined = await client.join(room)
    assert [user["username"] for user in joined["users"]] == ["Ada"]
    await client.chat("Hello, containers!")
    assert (await client.expect("Chat"))["content"] == "Hello, containers!"
    try:
        await asyncio.to_thread(project.compose, "stop", "gateway")
        assert await client.ended() == 1012
        assert project.state("gateway")["ExitCode"] == 0
    finally:
        await asyncio.to_thread(project.up)
