"""The system of `docker-compose.yml` in containers.

Grafana is left out: its dashboards are tested query by query (tests/project/test_monitoring.py), its rendering is not.
"""

import json
import shlex
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any

import pytest
import websockets
from playwright.async_api import BrowserContext, Page

from monitoring.dashboards import OVERVIEW
from studyroom.services.probe.probe import Step
from tests.support.browser import chromium, needs_chromium
from tests.support.client import clients
from tests.support.compose import ALWAYS, BUILD_SECONDS, NATS, RUN_HERE, SERVICES, Project, docker
from tests.support.markdown import ROOT, Document
from tests.support.waiting import http_get, wait_until

OPERATIONS = Document(ROOT / "docs" / "operations.md")

pytestmark = [pytest.mark.container, pytest.mark.timeout(BUILD_SECONDS + 200)]


async def enter(context: BrowserContext, project: Project, room: str) -> Page:
    """A page with an open WebSocket, `socket`, that is in the room; `received` has every message."""
    page = await context.new_page()
    await page.goto(f"{project.http}/health")
    await page.evaluate(
        """room => {
            window.received = [];
            window.socket = new WebSocket(`ws://${location.host}/ws?username=Ada`);
            socket.onmessage = event => received.push(JSON.parse(event.data));
            socket.onopen = () => socket.send(JSON.stringify({type: 'JoinRoom', payload: {room_id: room}}));
        }""",
        room,
    )
    await page.wait_for_function("received.some(one => one.type === 'JoinedRoom')")
    return page


def test_all_containers_become_healthy(project: Project):
    for name in RUN_HERE:
        states = project.states(name)
        assert len(states) == SERVICES[name].get("deploy", {}).get("replicas", 1)
        assert {(state["State"], state["Health"]) for state in states} == {("running", "healthy")}


def test_services_run_as_nobody_in_particular_and_can_write_nothing(project: Project):
    look = "import os; print(os.getuid(), os.access('/', os.W_OK), os.access('/opt/studyroom', os.W_OK))"
    for name in ALWAYS:
        assert project.compose("exec", "-T", name, "python", "-c", look).split() == ["10001", "False", "False"]


def test_the_image_has_the_program_and_nothing_to_build_with(project: Project):
    look = (
        "import os, importlib.util as found\n"
        "print([name for name in os.listdir('/opt/studyroom/bin') if not name.startswith('python')])\n"
        "print([name for name in ('pip', 'setuptools', 'hatchling') if found.find_spec(name)])"
    )
    there = project.compose("exec", "-T", "gateway", "python", "-c", look)
    assert there.split() == ["['studyroom']", "[]"]


def test_the_image_names_its_version_and_so_does_its_program(project: Project):
    image = project.environment["STUDYROOM_IMAGE"]
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", image))
    assert labels["org.opencontainers.image.version"] == version("studyroom")
    assert version("studyroom") in project.compose("exec", "-T", "gateway", "studyroom", "--version")


def test_prometheus_finds_every_container_by_the_name_of_its_service(project: Project):
    def scraped() -> bool:
        targets: list[dict[str, Any]] = json.loads(http_get(f"{project.prometheus}/api/v1/targets")[1])["data"][
            "activeTargets"
        ]
        jobs = sorted(target["labels"]["job"] for target in targets if target["health"] == "up")
        return jobs == sorted([*ALWAYS, "gateway", "presence", "documents", "haproxy", "prometheus"])

    wait_until(scraped, "all containers are scraped", 60)


def test_the_probe_meets_itself_through_the_load_balancer(project: Project):
    """The command is in `docs/operations.md`."""
    _, _, *profile, run, rm, probe, command = shlex.split(OPERATIONS.command("docker compose --profile probe run"))
    report = project.compose(*profile, run, rm, "--no-deps", "-T", probe, command)
    assert [line.split()[0] for line in report.splitlines()] == [step.value for step in Step], report


def test_the_doctor_finds_nothing_wrong(project: Project):
    """The command is in `docs/operations.md`."""
    docker, compose, run, *arguments = shlex.split(
        OPERATIONS.command("docker compose run --rm -e STUDYROOM_NATS_USER=doctor")
    )
    assert (docker, compose, run) == ("docker", "compose", "run")
    report = project.compose("run", "--no-deps", "-T", *arguments)
    assert report.splitlines()[-1] == "All is well."
    assert [line.split()[0] for line in report.splitlines()[1:4]] == list(NATS)


async def test_two_people_meet_through_the_load_balancer_on_two_gateways(project: Project, room: str):
    async with clients(project.websocket, project.websocket, username="Ada") as (ada, ben):
        await ada.join(room)
        await ben.join(room)
        await ada.chat("Hello, containers!")
        assert (await ben.expect("Chat"))["content"] == "Hello, containers!"
        await ben.send("CursorMove", {"x": 1.0, "y": 2.0})
        assert (await ada.expect("CursorUpdate"))["user_id"] == ben.user
        assert [project.connections(gateway) for gateway in project.containers("gateway")] == [1, 1]


async def test_a_client_behind_the_load_balancer_has_its_real_address_and_not_the_address_it_sends(project: Project):
    forged = [{"X-Forwarded-For": f"203.0.113.{number}"} for number in range(4)]
    async with AsyncExitStack() as opened:
        for headers in forged:
            await opened.enter_async_context(clients(project.websocket, additional_headers=headers))
        most = "studyroom_gateway_address_connections"
        assert [project.metric(gateway, most) for gateway in project.containers("gateway")] == [2, 2]
        outputs = project.compose("logs", "--no-color", "gateway")
    assert "ignored X-Forwarded-For" not in outputs


async def test_a_name_that_was_made_to_point_here_opens_nothing(project: Project):
    port = int(project.environment["STUDYROOM_PORT"])
    with pytest.raises(websockets.InvalidStatus) as caught:
        await websockets.connect("ws://evil.example/ws", host="127.0.0.1", port=port, proxy=None)
    assert caught.value.response.status_code == 421


@pytest.mark.browser
@needs_chromium
async def test_two_browsers_meet_through_the_load_balancer_on_two_gateways(project: Project, room: str):
    async with chromium() as browser:
        ada, ben = [await enter(await browser.new_context(), project, room) for _ in range(2)]
        assert [project.connections(gateway) for gateway in project.containers("gateway")] == [1, 1]
        await ada.evaluate("socket.send(JSON.stringify({type: 'Chat', payload: {content: 'Hello, Ben!'}}))")
        for page in (ada, ben):
            await page.wait_for_function("received.some(one => one.payload?.content === 'Hello, Ben!')")


def test_the_load_balancer_reports_how_many_sessions_each_gateway_has(project: Project):
    (query,) = [
        expression
        for row in OVERVIEW.rows
        for panel in row.panels
        for expression, _ in panel.queries
        if "haproxy_" in expression
    ]
    wait_until(lambda: project.query(query.removesuffix(" > 0")), "HAProxy is scraped", 30)
