"""What the processes export, and that the dashboard asks for nothing else.

Every query of the dashboard is put to a real Prometheus that scrapes the running stack under traffic. How Grafana
draws the answers is not tested.
"""

import asyncio
import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
import websockets
import yaml

from services.stack import free_port
from tests.support.client import Client, clients
from tests.support.processes import EmbeddedStack, Process
from tests.support.waiting import eventually, http_get, wait_until

MONITORING = Path(__file__).parents[2] / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana/dashboards/overview.json").read_text())
SCRAPED = ("gateway", "presence", "provisioner")
RATE_INTERVAL = "10s"
QUERY_DEADLINE_SECONDS = 60

OR_ZERO = " or vector(0)"
SILENT_WITHOUT_FAULT = {
    "studyroom_gateway_dropped_total",
    "studyroom_gateway_task_failures_total",
    "studyroom_presence_ghost_seconds_count",
    "studyroom_presence_ghost_seconds_sum",
    "studyroom_nats_errors_total",
    "studyroom_presence_requests_refused_total",
    "studyroom_presence_task_failures_total",
}
"""Counters by kind of fault: until the first one they have no sample, and their panels show zero instead."""

LABELS = {
    *("cause", "code", "kind", "lane", "outcome", "reason", "request", "result", "task", "type"),
    *("le", "generation", "implementation", "major", "minor", "patchlevel", "version"),
}
"""Each has few values, whatever the number of rooms and users."""


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """Every query of the dashboard, as Grafana would send it."""
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    variables = {variable["name"]: variable["current"]["value"] for variable in DASHBOARD["templating"]["list"]}
    variables |= {"__rate_interval": RATE_INTERVAL}
    return [re.sub(r"\$\{?(\w+)\}?", lambda match: variables[match[1]], expression) for expression in found]


def asked(query: str) -> set[str]:
    return set(re.findall(r"\bstudyroom_\w+", query))


def exported(text: str) -> set[str]:
    """The names of all series that this text has or may come to have."""
    names = set()
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
        names |= {f"{name}_{part}" for part in ("bucket", "count", "sum")} if kind == "histogram" else {name}
    return names


def metrics_of(stack: EmbeddedStack, *services: str) -> dict[str, str]:
    rows = [row for row in stack.table() if row["service"] in services]
    return {row["name"]: http_get(f"{row['admin_url']}/metrics")[1] for row in rows}


@dataclass
class Visit:
    """Who and what took part in a round of traffic."""

    room: str
    users: list[str]
    connections: list[str]


async def traffic(stack: EmbeddedStack) -> Visit:
    """Two users on two gateways do everything once, and some things that are refused."""
    with pytest.raises(websockets.InvalidStatus):
        await Client.connect(stack.gateways[0], token="not-a-token")
    room = str(uuid4())
    async with clients(*stack.gateways, username="Ada") as (ada, ben):
        await ada.chat("in no room")
        assert (await ada.next())["payload"]["code"] == "not_in_room"
        await ada.join(room)
        await ben.join(room)
        await ada.chat("hello")
        await ada.send("CursorMove", {"x": 1.0, "y": 2.0})
        await ada.send("Typing", {"is_typing": True})
        for message_type in ("Chat", "CursorUpdate", "TypingStatus"):
            await heard(ben, message_type)
        await ada.leave()
        await heard(ben, "UserLeft")
    return Visit(room, [ada.user, ben.user], [client.welcome["connection_id"] for client in (ada, ben)])


async def heard(client: Client, message_type: str) -> None:
    """Returns when a message of this type has arrived, whatever came before and after it."""
    await eventually(lambda: message_type in client.types(), f"{message_type} arrives")


# --- what is exported --------------------------------------------------------------------------------------


@pytest.mark.prometheus
async def test_promtool_finds_nothing_wrong_with_the_metrics(stack: EmbeddedStack):
    needs("promtool")
    await traffic(stack)
    for name, text in metrics_of(stack, *SCRAPED).items():
        checked = await asyncio.to_thread(
            subprocess.run, ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, ""), name


async def test_no_room_user_or_connection_is_named_in_a_metric(stack: EmbeddedStack):
    visit = await traffic(stack)
    for name, text in metrics_of(stack, *SCRAPED).items():
        assert "studyroom_" in text
        for identity in (visit.room, *visit.users, *visit.connections, "Ada"):
            assert identity not in text, name
        assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", text), name


async def test_labels_are_those_that_have_few_values(stack: EmbeddedStack):
    await traffic(stack)
    for text in metrics_of(stack, *SCRAPED).values():
        samples = [line for line in text.splitlines() if not line.startswith("#")]
        assert {label for line in samples for label in re.findall(r'[{,](\w+)="', line)} <= LABELS


# --- what is asked for -------------------------------------------------------------------------------------


def test_every_panel_has_a_title_a_unit_and_queries_for_the_provisioned_data_source():
    (source,) = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in panels():
        assert panel["datasource"]["uid"] == source["uid"]
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]


def test_every_metric_of_the_dashboard_is_exported(stack: EmbeddedStack):
    there = set().union(*map(exported, metrics_of(stack, *SCRAPED).values()))
    missing = {name for query in queries() for name in asked(query)} - there
    assert not missing


def test_zero_stands_in_for_faults_only():
    for query in queries():
        if OR_ZERO in query:
            assert asked(query) <= SILENT_WITHOUT_FAULT
        else:
            assert not asked(query) & SILENT_WITHOUT_FAULT


@pytest.mark.prometheus
def test_promtool_accepts_the_scrape_configuration():
    needs("promtool")
    checked = subprocess.run(
        ["promtool", "check", "config", MONITORING / "prometheus.yml"], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


# --- a real Prometheus -------------------------------------------------------------------------------------


@dataclass
class Prometheus(Process):
    url: str = ""

    def query(self, query: str) -> list[dict[str, Any]]:
        """The series of the answer that have a number now. Fails the test when the query is refused."""
        status, body = http_get(f"{self.url}/api/v1/query?{urlencode({'query': query})}")
        answer = json.loads(body)
        assert (status, answer["status"]) == (200, "success"), f"{query}: {answer}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return [series for series in result if math.isfinite(float(series["value"][1]))]


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


def scrape_configuration(stack: EmbeddedStack) -> dict[str, Any]:
    """The configuration of this project, with the addresses of the stack instead of names to look up."""
    configuration: dict[str, Any] = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    for job in configuration["scrape_configs"]:
        del job["dns_sd_configs"]
        addresses = [row["admin_url"].removeprefix("http://") for row in stack.of(job["job_name"])]
        job["static_configs"] = [{"targets": addresses}]
    return configuration


@pytest.fixture
def prometheus(stack: EmbeddedStack, tmp_path: Path) -> Iterator[Prometheus]:
    needs("prometheus")
    config, port = tmp_path / "prometheus.yml", free_port()
    config.write_text(yaml.safe_dump(scrape_configuration(stack)))
    server = Prometheus(
        name="prometheus",
        command=[
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        log=tmp_path / "prometheus.log",
        url=f"http://127.0.0.1:{port}",
    )
    server.start()
    try:
        wait_until(lambda: http_get(f"{server.url}/-/ready")[0] == 200, "Prometheus is ready")
        yield server
    finally:
        server.stop()


@pytest.mark.prometheus
async def test_every_query_of_the_dashboard_has_an_answer_under_traffic(stack: EmbeddedStack, prometheus: Prometheus):
    without_data = set(queries())
    assert without_data

    async def all_answered() -> bool:
        await traffic(stack)
        for query in sorted(without_data):
            if await asyncio.to_thread(prometheus.query, query):
                without_data.discard(query)
        return not without_data

    try:
        await eventually(all_answered, "every query has data", QUERY_DEADLINE_SECONDS)
    except AssertionError as error:
        error.add_note("no data:\n" + "\n".join(sorted(without_data)))
        raise


@pytest.mark.prometheus
async def test_delivery_latency_is_known_for_chat_cursors_and_typing(stack: EmbeddedStack, prometheus: Prometheus):
    (p99,) = [query for query in queries() if "delivery_latency" in query and "0.99" in query]

    async def types() -> bool:
        await traffic(stack)
        series = await asyncio.to_thread(prometheus.query, p99)
        assert all(0 < float(one["value"][1]) < 5 for one in series)
        return {one["metric"]["type"] for one in series} == {"Chat", "CursorUpdate", "TypingStatus"}

    await eventually(types, "all types have a latency", QUERY_DEADLINE_SECONDS)
