"""`docker-compose.yml` as it runs, under a name and ports of its own."""

import json
import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
import yaml

from studyroom.services.stack.stack import free_port
from tests.support.settings import without_settings
from tests.support.tokens import SECRET
from tests.support.waiting import http_get, wait_until

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ALWAYS = ("gateway", "presence", "documents", "provisioner")
OURS = (*ALWAYS, "hooks")
"""The last one is in a profile of its own, since it needs a backend."""
NATS = ("nats-1", "nats-2", "nats-3")
RUN_HERE = (*NATS, *ALWAYS, "haproxy", "prometheus")
"""Grafana and the exporter are left out: their images are not everywhere, and Studyroom only has files for them."""
BUILD_SECONDS = 400


def need(*command: str) -> None:
    """Skips the test, with a reason, where this does not succeed."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"{' '.join(command)}: {error}")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{' '.join(command)}: {error.stderr.strip().splitlines()[-1:]}")


def docker(*arguments: str, deadline_seconds: float = 120) -> str:
    run = subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True, timeout=deadline_seconds)
    assert run.returncode == 0, f"docker {' '.join(arguments)}\n{run.stdout}\n{run.stderr}"
    return run.stdout


@dataclass
class Project:
    name: str
    environment: dict[str, str]

    @classmethod
    def new(cls) -> "Project":
        name = f"studyroom-test-{uuid4().hex[:8]}"
        return cls(
            name,
            {
                **without_settings(),
                "STUDYROOM_IMAGE": f"studyroom:{name}",
                "STUDYROOM_PORT": str(free_port()),
                "STUDYROOM_PROMETHEUS_PORT": str(free_port()),
                "STUDYROOM_GATEWAY_JWT_SECRET": SECRET,
            },
        )

    def compose(self, *arguments: str, deadline_seconds: float = 120) -> str:
        run = subprocess.run(
            ["docker", "compose", "--project-name", self.name, *arguments],
            check=False, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=deadline_seconds,
        )  # fmt: skip
        assert run.returncode == 0, f"docker compose {' '.join(arguments)}\n{run.stdout}\n{run.stderr}"
        return run.stdout

    def build(self) -> None:
        self.compose("build", "gateway", deadline_seconds=BUILD_SECONDS)

    def up(self, *options: str) -> None:
        try:
            self.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "90", *options, *RUN_HERE)
        except AssertionError as error:
            error.add_note(self.compose("logs", "--no-color", "--tail", "30"))
            raise

    def wait_healthy(self) -> None:
        """Every container is healthy, the services are ready, and the load balancer has a gateway for clients."""
        wait_until(self._is_healthy, "all containers are healthy", 90)
        self._wait_ready()

    def _is_healthy(self) -> bool:
        states = [state for name in RUN_HERE for state in self.states(name)]
        return all((state["State"], state["Health"]) == ("running", "healthy") for state in states)

    def down(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "40")
        subprocess.run(
            ["docker", "image", "rm", "--force", self.environment["STUDYROOM_IMAGE"]],
            check=False, capture_output=True, timeout=60,
        )  # fmt: skip

    def states(self, service: str) -> list[dict[str, Any]]:
        """The states of all containers of a service, in the order of their numbers."""
        lines = self.compose("ps", "--all", "--format", "json", service).splitlines()
        return sorted((json.loads(line) for line in lines), key=lambda state: str(state["Name"]))

    def containers(self, service: str) -> list[str]:
        return [state["Name"] for state in self.states(service)]

    def ask(self, container: str, url: str) -> tuple[int, str]:
        """A GET from within a container of a service: status and body."""
        program = (
            "import sys, urllib.request, urllib.error\n"
            "try: answer = urllib.request.urlopen(sys.argv[1], timeout=5)\n"
            "except urllib.error.HTTPError as error: answer = error\n"
            "print(answer.status); print(answer.read().decode())"
        )
        status, body = docker("exec", container, "python", "-c", program, url).split("\n", 1)
        return int(status), body

    def connections(self, container: str) -> int:
        """Open WebSockets of a gateway."""
        return self.metric(container, "studyroom_gateway_connections")

    def metric(self, container: str, name: str) -> int:
        """The value of a metric without labels."""
        text = self.ask(container, "http://127.0.0.1:8081/metrics")[1]
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        return int(float(line.split()[1]))

    def wait_balanced(self) -> None:
        """The load balancer sends clients to every gateway that there is, and to no other."""
        count = len(self.containers("gateway"))
        wait_until(lambda: self._ups() == {"rooms": count, "gateways": count}, f"it knows {count} gateways", 30)

    def _ups(self) -> Counter[str]:
        """How many gateways each backend of the load balancer has."""
        metrics = self.ask(self.containers("presence")[0], "http://haproxy:8405/metrics")[1]
        ups = re.compile(r'^haproxy_server_status\{proxy="(\w+)",server="\w+",state="UP"\} 1$', re.MULTILINE)
        return Counter(ups.findall(metrics))

    def _wait_ready(self) -> None:
        for service in OURS:
            for container in self.containers(service):
                wait_until(partial(self._is_ready, container), f"{container} is ready", 60)
        wait_until(lambda: http_get(f"{self.http}/health")[0] == 200, "a gateway answers", 30)

    def _is_ready(self, container: str) -> bool:
        return self.ask(container, "http://127.0.0.1:8081/readyz")[0] == 200

    @property
    def websocket(self) -> str:
        return f"ws://127.0.0.1:{self.environment['STUDYROOM_PORT']}/ws"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.environment['STUDYROOM_PORT']}"

    @property
    def prometheus(self) -> str:
        return f"http://127.0.0.1:{self.environment['STUDYROOM_PROMETHEUS_PORT']}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        status, body = http_get(f"{self.prometheus}/api/v1/query?{urlencode({'query': expression})}")
        assert status == 200, body
        found: list[dict[str, Any]] = json.loads(body)["data"]["result"]
        return found
