"""`k8s/monitoring`: the component of production for the Prometheus operator and Grafana."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from monitoring.dashboards import DASHBOARDS
from tests.project.schemas import SCHEMAS
from tests.project.test_kubernetes import (
    K8S,
    VERSIONS,
    WORKLOADS,
    Manifest,
    labels_of,
    named,
    names,
    of_kind,
    policies,
    ports,
    rendered,
    selected,
    with_component,
)
from tests.support.commands import needs


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return with_component("monitoring", tmp_path_factory.mktemp("monitoring"))


def test_every_manifest_is_valid_and_in_the_namespace_of_the_others(monitored: list[Manifest]):
    for manifest in monitored:
        if schema := SCHEMAS.get(manifest["kind"]):
            jsonschema.validate(manifest, schema)
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({**manifest, "spec": {**manifest["spec"], "selektor": {}}}, schema)
        else:
            kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
    own = of_kind(monitored, *SCHEMAS)
    assert {manifest["kind"] for manifest in own} == SCHEMAS.keys()
    assert {manifest["metadata"]["namespace"] for manifest in own} == {"studyroom"}


def test_monitors_and_rules_have_the_label_that_prometheus_selects_and_nothing_else_has(monitored: list[Manifest]):
    labelled = [one for one in monitored if "release" in one["metadata"].get("labels", {})]
    assert {one["kind"] for one in labelled} == SCHEMAS.keys()
    assert len(labelled) == len(of_kind(monitored, *SCHEMAS))


def test_every_dashboard_is_a_config_map_that_grafana_looks_for(monitored: list[Manifest]):
    found = [
        one for one in of_kind(monitored, "ConfigMap") if one["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    titles = {json.loads(text)["title"] for one in found for text in one["data"].values()}
    assert titles == {dashboard.title for dashboard in DASHBOARDS}
    # `kubectl apply` keeps a copy in an annotation, and annotations have at most 262,144 bytes.
    assert all(len(json.dumps(one)) < 200_000 for one in found)


def test_every_service_is_scraped_under_the_name_that_rules_and_dashboards_know(monitored: list[Manifest]):
    assert names(monitored, "PodMonitor") == {*WORKLOADS, "probe", "hooks"}  # the last two are components of their own
    for monitor in of_kind(monitored, "PodMonitor"):
        name = monitor["metadata"]["name"]
        if name in {"probe", "hooks"}:
            continue
        assert selected(monitored, monitor["spec"]["selector"]) == {name}
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["port"] in ports(monitored, name)
        assert labels_of(monitored, name)[monitor["spec"]["jobLabel"]] == name
        allowed = [rule for pods, rule in policies(monitored, "ingress") if name in pods]
        assert any({"port": endpoint["port"]} in rule["ports"] for rule in allowed)


def test_the_name_of_the_nats_cluster_is_never_taken_for_that_of_the_kubernetes_cluster(monitored: list[Manifest]):
    (endpoint,) = named(monitored, "PodMonitor", "nats")["spec"]["podMetricsEndpoints"]
    emptied, dropped = endpoint["metricRelabelings"]
    assert (emptied["targetLabel"], emptied["replacement"]) == ("cluster", "")
    assert (dropped["action"], dropped["regex"]) == ("labeldrop", "exported_cluster")


def test_an_installation_may_leave_the_dashboards_to_another_one(tmp_path: Path):
    """With the resource that docs/operations.md names in place of the component."""
    for folder in ("k8s", "deploy", "monitoring"):
        shutil.copytree(K8S.parent / folder, tmp_path / folder)
    overlay = tmp_path / "k8s" / "overlays" / "prod" / "kustomization.yaml"
    overlay.write_text(
        overlay.read_text().replace("  - autoscaler.yaml\n", "  - autoscaler.yaml\n  - ../../monitoring/operator\n")
    )
    manifests = rendered("prod", tmp_path / "k8s")
    assert {one["kind"] for one in of_kind(manifests, *SCHEMAS)} == SCHEMAS.keys()
    assert not [one for one in manifests if "dashboard" in one["metadata"]["name"]]


def test_without_the_component_nothing_of_it_is_applied():
    assert not [one for one in rendered("prod") if "dashboard" in one["metadata"]["name"]]


# --- the metrics of the autoscaler -------------------------------------------------------------------------


@pytest.mark.prometheus
def test_the_lag_of_gateways_without_clients_adds_none(tmp_path: Path):
    needs("promtool")
    lag, connections = (
        "instance:studyroom_gateway_event_loop_lag_seconds:p99_5m",
        "instance:studyroom_gateway_connections:sum",
    )
    rules = yaml.safe_load((K8S / "monitoring" / "adapter-values.yaml").read_text())["rules"]["custom"]
    (rule,) = [one for one in rules if one["name"]["as"] == "studyroom_gateway_event_loop_lag_p99"]
    # The question of prometheus-adapter for two pods.
    asked = {"Series": lag, "LabelMatchers": 'namespace="studyroom",pod=~"idle|busy"', "GroupBy": "pod"}
    query = re.sub(r"<<\.(\w+)>>", lambda found: asked[found[1]], rule["metricsQuery"])
    pods = {pod: f'{{namespace="studyroom",pod="{pod}",instance="{pod}:8081"}}' for pod in ("idle", "busy")}
    values = ((lag, "idle", 0.2), (lag, "busy", 0.04), (connections, "idle", 0), (connections, "busy", 8000))
    series = [{"series": f"{name}{pods[pod]}", "values": f"{value}x4"} for name, pod, value in values]
    samples = [{"labels": '{pod="busy"}', "value": 0.04}, {"labels": '{pod="idle"}', "value": 0}]
    test = {"input_series": series, "promql_expr_test": [{"expr": query, "eval_time": "2m", "exp_samples": samples}]}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}))
    tested = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "tests.yml"], check=False, capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
