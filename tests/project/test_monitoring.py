"""Rules, alerts and dashboards ask for metrics that exist, and get answers.

Every query is put to a real Prometheus that scrapes the running stack under traffic; every alert is made to fire by
promtool. How Grafana draws the answers is not tested.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.dashboards import DASHBOARDS
from monitoring.panels import SOURCE, render
from monitoring.slos import RUNBOOKS
from studyroom.services.stack.stack import free_port
from tests.project.alert_cases import CASES, MORE, Case, Series
from tests.support import probe
from tests.support.commands import needs
from tests.support.hooks import hook_receiver
from tests.support.markdown import Document
from tests.support.processes import EmbeddedStack, ServiceProcess, embedded_stack, running
from tests.support.prometheus import Prometheus, exported_by_nats, nats_exporter
from tests.support.traffic import metrics_of, traffic
from tests.support.waiting import eventually, http_get, wait_until

MONITORING = Path(__file__).parents[2] / "monitoring"
OPERATIONS = (MONITORING.parent / "docs" / "operations.md").read_text()
SCALE = Document(MONITORING.parent / "docs" / "how-to" / "scale.md")
SCRAPED = ("gateway", "presence", "documents", "hooks", "provisioner")
RATE_INTERVAL = "10s"
QUERY_DEADLINE_SECONDS = 90

OR_ZERO = " or vector(0)"
SILENT_WITHOUT_FAULT = {
    "studyroom_gateway_dropped_total",
    "studyroom_gateway_conflated_total",
    "studyroom_gateway_errors_sent_total",
    "studyroom_presence_ghost_seconds_count",
    "studyroom_presence_ghost_seconds_sum",
    "studyroom_nats_errors_total",
}
"""Counters by kind of fault: until the first one they have no sample, and their panels show zero instead."""
NOT_HERE = {
    "gnatsd_varz_jetstream_meta_cluster_size",
    "studyroom_nats_certificate_expires_timestamp_seconds",
    "studyroom_probe_certificate_expires_timestamp_seconds",
}
"""Series that only a cluster of NATS servers or a connection with TLS has."""
BUILT_IN = {"ALERTS"}
PLACE = ("cluster", "namespace", "instance")
"""The variables by which a reader chooses an installation and its processes."""

RULE_FILES = sorted((MONITORING / "rules").glob("*.yml"))
RULES = [rule for file in RULE_FILES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
NAMES = re.compile(r"\b(?:studyroom|gnatsd|jetstream|haproxy|process|slo|job|instance|namespace)(?::\w+|_\w+)[\w:]*")


def panels() -> list[dict[str, Any]]:
    return [panel for one in DASHBOARDS for panel in render(one)["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """Every query of the dashboards, annotations included, as Grafana would send it."""
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    found += [mark["expr"] for one in DASHBOARDS for mark in render(one)["annotations"]["list"]]
    for variable, value in (("$__rate_interval", RATE_INTERVAL), *((f"${name}", ".*") for name in PLACE)):
        found = [query.replace(variable, value) for query in found]
    return sorted(set(found))


def asked(expression: str) -> set[str]:
    """The names of all series it reads."""
    return set(NAMES.findall(re.sub(r'"[^"]*"', "", expression)))


def exported(text: str) -> set[str]:
    """The names of all series that this text has or may come to have."""
    names = set(re.findall(r"^(gnatsd_\w+|jetstream_\w+)\{", text, re.MULTILINE))
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
        names |= {f"{name}_{part}" for part in ("bucket", "count", "sum")} if kind == "histogram" else {name}
    return names


def monitor_url(stack: EmbeddedStack) -> str:
    url: str = stack.of("nats")[0]["admin_url"]
    return url


# --- as they are written -----------------------------------------------------------------------------------


def test_every_panel_has_a_title_a_unit_and_queries_for_the_data_source_that_the_reader_chooses():
    for dashboard in map(render, DASHBOARDS):
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in panels():
        assert panel["datasource"] == SOURCE == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]


def test_every_dashboard_lets_the_reader_choose_a_data_source_an_installation_and_an_instance():
    for dashboard in map(render, DASHBOARDS):
        variables = {one["name"]: one for one in dashboard["templating"]["list"]}
        assert list(variables) == ["datasource", *PLACE]
        assert variables["datasource"]["type"] == "datasource"
        for name in PLACE:
            # All of them includes series without the label, such as those outside Kubernetes.
            assert (variables[name]["includeAll"], variables[name]["allValue"]) == (True, ".*")
            assert variables[name]["datasource"] == SOURCE
        assert any(
            '=~"$instance"' in target["expr"] for one in dashboard["panels"] for target in one.get("targets", [])
        )


def test_every_series_of_a_dashboard_is_one_of_the_chosen_installation():
    written = [target["expr"] for panel in panels() for target in panel["targets"]]
    written += [mark["expr"] for one in DASHBOARDS for mark in render(one)["annotations"]["list"]]
    for expression in written:
        series = NAMES.findall(re.sub(r'"[^"]*"', "", expression)) + re.findall(r"\b(?:ALERTS|up)\b", expression)
        assert series
        assert expression.count('cluster=~"$cluster",namespace=~"$namespace"') == len(series), expression


def test_panels_do_not_overlap():
    for dashboard in map(render, DASHBOARDS):
        places = [panel["gridPos"] for panel in dashboard["panels"]]
        cells = [
            (x, y)
            for place in places
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24


def test_dashboards_have_their_rows():
    rows = {one.name: [row.title for row in one.rows] for one in DASHBOARDS}
    assert rows.keys() == {"overview", "gateway", "presence", "documents", "hooks", "nats"}
    assert all(any(title.startswith("RED") for title in titles) for titles in rows.values())
    assert all(any(title.startswith("USE") for title in titles) for titles in rows.values())
    assert "Presence correctness" in rows["presence"]
    assert "Resume and drain" in rows["gateway"]


def test_every_metric_that_is_named_is_exported(stack: EmbeddedStack, prober: ServiceProcess):
    there = set().union(*map(exported, metrics_of(stack, *SCRAPED).values())) | RECORDED
    there |= exported(exported_by_nats(monitor_url(stack))) | exported(prober.metrics())
    expressions = [*queries(), *(rule["expr"] for rule in RULES)]
    named = {name for expression in expressions for name in asked(expression)}
    missing = {name for name in named if not name.startswith("haproxy_")} - there - NOT_HERE
    assert not missing


def test_every_recorded_metric_is_used():
    """A dashboard, an alert, another rule, or the autoscaler uses it."""
    kubernetes = "".join(file.read_text() for file in (MONITORING.parent / "k8s").rglob("*.yaml"))
    elsewhere = [*queries(), *(rule["expr"] for rule in RULES)]
    for name in RECORDED - {name for expression in elsewhere for name in asked(expression)}:
        assert name in kubernetes or name.startswith("slo:"), name


def test_zero_stands_in_for_faults_only():
    for query in queries():
        if OR_ZERO in query:
            assert asked(query) <= SILENT_WITHOUT_FAULT | BUILT_IN
        else:
            assert not asked(query) & SILENT_WITHOUT_FAULT


@pytest.mark.prometheus
def test_promtool_accepts_the_scrape_configuration_and_the_rules():
    needs("promtool")
    for command in (["config", str(MONITORING / "prometheus.yml")], ["rules", *map(str, RULE_FILES)]):
        checked = subprocess.run(["promtool", "check", *command], check=False, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.prometheus
def test_promtool_accepts_the_targets_of_workers_that_the_how_to_shows(tmp_path: Path):
    needs("promtool")
    jobs = "\n".join(SCALE.code("yaml"))
    (static,) = yaml.safe_load(jobs)[0]["static_configs"]
    workers = int(SCALE.command("studyroom gateway --workers ").split()[-1])
    assert static["targets"] == [f"gateway-1:{8081 + worker}" for worker in range(workers)]
    (tmp_path / "prometheus.yml").write_text(f"scrape_configs:\n{jobs}\n")
    checked = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus.yml")], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


# --- alerts ------------------------------------------------------------------------------------------------


def test_every_alert_has_a_case_and_a_section_in_the_runbook():
    names = {rule["alert"] for rule in ALERTS}
    assert names == CASES.keys()
    headings = {heading.lower() for heading in re.findall(r"^#+ (\w+)$", OPERATIONS, re.MULTILINE)}
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["runbook_url"] == f"{RUNBOOKS}#{rule['alert'].lower()}"
        assert rule["alert"].lower() in headings


def test_the_address_of_the_runbook_is_set_once_and_then_stays(tmp_path: Path):
    for folder in ("monitoring", "k8s/monitoring"):
        shutil.copytree(MONITORING.parent / folder, tmp_path / folder)

    def written(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "monitoring.slos", *arguments],
            check=False, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, **environment},
        )  # fmt: skip

    assert written(RUNBOOKS="https://wiki.example/ops").returncode == 0
    assert written().returncode == 0
    assert written("--check").returncode == 0
    for file in [*(tmp_path / "monitoring" / "rules").glob("*.yml"), *(tmp_path / "k8s").rglob("prometheus-rule.yaml")]:
        assert set(re.findall(r"runbook_url: (\S+)#", file.read_text())) <= {"https://wiki.example/ops"}, file


ALIVE: Series = {'studyroom_event_loop_tasks{job="gateway",instance="alive"}': "1x240"}
HERE = {"cluster": "west", "namespace": "studyroom"}
ELSEWHERE = ({"cluster": "west", "namespace": "staging"}, {"cluster": "east", "namespace": "studyroom"})
STRANGERS = {"cluster": "west", "namespace": "others"}
"""A namespace without Studyroom, in which jobs and NATS servers of others have the same names."""


def at(place: dict[str, str], series: Series) -> Series:
    """These series with the labels of a place."""
    own = ",".join(f'{label}="{value}"' for label, value in place.items())
    split = {one: one.rstrip("}").partition("{") for one in series}
    return {f"{name}{{{','.join(filter(None, [own, more]))}}}": series[one] for one, (name, _, more) in split.items()}


def case(name: str, series: Series, minutes: int, firing: list[dict[str, Any]]) -> dict[str, Any]:
    """A test of promtool: after so many minutes the alert fires as often as `firing` says for each place."""
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count by (cluster, namespace) (ALERTS{{alertname="{name}",alertstate="firing"}})',
                "eval_time": f"{minutes}m",
                "exp_samples": firing,
            }
        ],
    }


def passes(alert: str, tests: list[dict[str, Any]], directory: Path) -> None:
    """Let promtool run the tests of an alert, with the alert and what it reads, because all rules would take long."""
    read = {name for rule in ALERTS if rule["alert"] == alert for name in asked(rule["expr"])}
    text = "".join(rule["expr"] for rule in ALERTS if rule["alert"] == alert)
    rules = [rule for rule in RULES if rule.get("record") in read and rule.get("labels", {}).get("slo", "") in text]
    rules += [rule for rule in ALERTS if rule["alert"] == alert]
    (directory / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "some", "rules": rules}]}))
    content = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    (directory / "tests.yml").write_text(yaml.safe_dump(content))
    tested = subprocess.run(
        ["promtool", "test", "rules", directory / "tests.yml"], check=False, capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.prometheus
@pytest.mark.parametrize(
    ("name", "found"), [*CASES.items(), *MORE], ids=lambda one: one if isinstance(one, str) else ""
)
def test_an_alert_fires_when_it_should_and_not_otherwise(name: str, found: Case, tmp_path: Path):
    needs("promtool")
    alive = ALIVE if found.of_one else {}
    fires = case(name, alive | found.fires, found.minutes, [{"labels": "{}", "value": found.times}])
    passes(name, [fires, case(name, alive | found.quiet, found.minutes, [])], tmp_path)


@pytest.mark.prometheus
@pytest.mark.parametrize(
    ("name", "found"),
    [(name, found) for name, found in [*CASES.items(), *MORE] if found.of_one],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_an_alert_fires_for_the_installation_that_it_is_about_and_for_no_other(name: str, found: Case, tmp_path: Path):
    needs("promtool")
    series = at(HERE, ALIVE | found.fires)
    for place in ELSEWHERE:
        series |= at(place, ALIVE | found.quiet)
    series |= at(STRANGERS, {one: values for one, values in found.fires.items() if not one.startswith("studyroom_")})
    labels = "{" + ",".join(f'{label}="{value}"' for label, value in HERE.items()) + "}"
    firing = [{"labels": labels, "value": found.times}]
    passes(name, [case(name, series, found.minutes, firing)], tmp_path)


def test_every_rule_keeps_the_cluster_and_the_namespace():
    for rule in RULES:
        for grouped in re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"]):
            assert {"cluster", "namespace"} <= set(grouped.replace(" ", "").split(",")), rule
        aggregated = re.findall(r"\b(?:sum|max|min|avg|count|group)\s*\(", rule["expr"])
        assert not aggregated, f"{rule}: an aggregation without `by` mixes installations"


# --- a real Prometheus -------------------------------------------------------------------------------------


def hasty_rules(directory: Path) -> list[str]:
    """The rules of this project, all evaluated as often as their metrics are scraped."""
    paths = []
    for path in sorted((MONITORING / "rules").glob("*.yml")):
        rules = yaml.safe_load(path.read_text())
        for group in rules["groups"]:
            group.pop("interval", None)
        (directory / path.name).write_text(yaml.safe_dump(rules))
        paths.append(str(directory / path.name))
    return paths


def scrape_configuration(
    stack: EmbeddedStack, exporter: str, prober: ServiceProcess, rules: list[str]
) -> dict[str, Any]:
    """The configuration of this project, with the addresses of the stack instead of names to look up."""
    configuration: dict[str, Any] = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = rules
    jobs = {job["job_name"]: job for job in configuration["scrape_configs"]}
    for name in SCRAPED:
        addresses = [row["admin_url"].removeprefix("http://") for row in stack.of(name)]
        jobs[name] = {"job_name": name, "static_configs": [{"targets": addresses}]}
    for name, address in (("nats", exporter), ("probe", prober.admin_url.removeprefix("http://"))):
        del jobs[name]["dns_sd_configs"]
        jobs[name]["static_configs"] = [{"targets": [address]}]
    del jobs["haproxy"]  # its query is asked where it runs, in tests/containers
    configuration["scrape_configs"] = list(jobs.values())
    return configuration


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """One that has just begun, for the lines that mark where processes do."""
    directory = tmp_path_factory.mktemp("stack")
    # Two updates are enough for a snapshot, so that there are some.
    settings: dict[str, Any] = {"STUDYROOM_DOCUMENTS_SNAPSHOT_UPDATES": "2"}
    with (
        hook_receiver() as backend,
        running(embedded_stack(directory, documents=1, **(settings | backend.settings))) as ready,
    ):
        yield ready


@pytest.fixture(scope="module")
def prober(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A probe that tries the stack every second."""
    with running(probe.exporter(tmp_path_factory.mktemp("probe"), stack.gateways[0])) as ready:
        yield ready


@pytest.fixture(scope="module")
def prometheus(
    stack: EmbeddedStack, prober: ServiceProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    needs("prometheus")
    directory = tmp_path_factory.mktemp("prometheus")
    config, port = directory / "prometheus.yml", free_port()
    with nats_exporter(monitor_url(stack)) as exporter:
        config.write_text(yaml.safe_dump(scrape_configuration(stack, exporter, prober, hasty_rules(directory))))
        server = Prometheus(
            name="prometheus",
            command=[
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            log=directory / "prometheus.log",
            url=f"http://127.0.0.1:{port}",
        )
        server.start()
        try:
            wait_until(lambda: http_get(f"{server.url}/-/ready")[0] == 200, "Prometheus is ready")
            yield server
        finally:
            server.stop()


async def all_answered(stack: EmbeddedStack, prometheus: Prometheus, wanted: set[str]) -> None:
    """Returns when each query has had an answer, with traffic going on meanwhile."""
    without_data = set(wanted)

    async def answered() -> bool:
        await traffic(stack)
        for query in sorted(without_data):
            if await asyncio.to_thread(prometheus.query, query):
                without_data.discard(query)
        return not without_data

    try:
        await eventually(answered, "every query has data", QUERY_DEADLINE_SECONDS)
    except AssertionError as error:
        error.add_note("no data:\n" + "\n".join(sorted(without_data)))
        raise


@pytest.mark.prometheus
async def test_every_query_of_the_dashboards_has_an_answer_under_traffic(stack: EmbeddedStack, prometheus: Prometheus):
    here = {query for query in queries() if "haproxy_" not in query and "changes(" not in query}
    # The mark of a start is there for a minute.
    here = {query.partition(" and time() - process_start_time_seconds")[0] for query in here}
    await all_answered(stack, prometheus, here)


@pytest.mark.prometheus
async def test_everything_that_is_recorded_has_a_value(stack: EmbeddedStack, prometheus: Prometheus):
    recorded = {
        rule["record"] + (f'{{slo="{rule["labels"]["slo"]}"}}' if "labels" in rule else "")
        for rule in RULES
        if "record" in rule
    }
    await all_answered(stack, prometheus, recorded)


@pytest.mark.prometheus
async def test_the_metrics_that_the_autoscaler_asks_for_have_a_value(stack: EmbeddedStack, prometheus: Prometheus):
    """The queries are filled in as prometheus-adapter fills its templates in, for all pods of a namespace."""
    rules = yaml.safe_load((MONITORING.parent / "k8s/monitoring/adapter-values.yaml").read_text())["rules"]["custom"]
    found = set()
    for rule in rules:
        (series,) = re.findall(r'__name__="([^"]+)"', rule["seriesQuery"])
        query = rule["metricsQuery"].replace("<<.Series>>", series)
        found.add(query.replace("<<.LabelMatchers>>", "").replace("<<.GroupBy>>", "pod"))
    await all_answered(stack, prometheus, found)


@pytest.mark.prometheus
async def test_everything_that_alerts_look_at_is_there(stack: EmbeddedStack, prometheus: Prometheus):
    """An alert has no answer while all is well, but the metrics that it compares have. promtool shows that it fires."""
    looked_at = {name for rule in ALERTS for name in asked(rule["expr"])} - SILENT_WITHOUT_FAULT - NOT_HERE
    looked_at -= {"studyroom_presence_ghost_seconds_bucket"}
    await all_answered(stack, prometheus, looked_at)


@pytest.mark.prometheus
async def test_a_healthy_installation_gives_no_alert_a_reason(stack: EmbeddedStack, prometheus: Prometheus):
    """Those about speed are left out, because a busy machine has reasons for them."""
    judged = [rule for rule in ALERTS if not re.search("EventLoopLag|^Slo", rule["alert"])]
    await all_answered(stack, prometheus, {"namespace:studyroom_processes:count", "jetstream_server_total_streams"})

    async def quiet() -> bool:
        answers = [await asyncio.to_thread(prometheus.query, rule["expr"]) for rule in judged]
        return not any(answers)

    await eventually(quiet, "no alert has a reason", QUERY_DEADLINE_SECONDS)


@pytest.mark.prometheus
async def test_the_name_of_the_nats_cluster_never_becomes_the_label_cluster(
    stack: EmbeddedStack, prometheus: Prometheus
):
    await all_answered(stack, prometheus, {"jetstream_server_total_streams"})
    (series,) = await asyncio.to_thread(prometheus.query, "jetstream_server_total_streams")
    assert "cluster" not in series["metric"]
    assert 'cluster="nats"' in await asyncio.to_thread(exported_by_nats, monitor_url(stack))


@pytest.mark.prometheus
async def test_delivery_latency_is_known_for_each_message_that_users_send(stack: EmbeddedStack, prometheus: Prometheus):
    p99 = next(query for query in queries() if "delivery_latency" in query and "0.99" in query)

    async def types() -> bool:
        await traffic(stack)
        series = await asyncio.to_thread(prometheus.query, p99)
        assert all(0 < float(one["value"][1]) < 5 for one in series)
        return {one["metric"]["type"] for one in series} == {"Chat", "CursorUpdate", "TypingStatus", "Broadcast"}

    await eventually(types, "all types have a latency", QUERY_DEADLINE_SECONDS)
