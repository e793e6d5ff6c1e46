"""`k8s/base` as far as it can be judged without a cluster: rendered, validated, and its parts fit each other."""

import shutil
import subprocess
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.settings import GatewaySettings
from services.cli import ENTRY_POINTS
from services.nats_server import program
from services.settings import NatsSettings, ProcessSettings, Settings, load

BASE = Path(__file__).parents[2] / "k8s" / "base"
SERVICES = ("gateway", "presence", "provisioner")
WORKLOADS = (*SERVICES, "nats")
VERSIONS = ("1.30", kubernetes_validate.latest_version())
"""The oldest and the newest Kubernetes that the manifests are written for."""

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed, and it renders the manifests")
    rendered = subprocess.run(["kubectl", "kustomize", BASE], check=False, capture_output=True, text=True, timeout=60)
    assert rendered.returncode == 0, rendered.stderr
    return list(yaml.safe_load_all(rendered.stdout))


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [manifest for manifest in of_kind(manifests, kind) if manifest["metadata"]["name"] == name]
    return found


def workload(manifests: list[Manifest], name: str) -> Manifest:
    (found,) = [
        manifest for manifest in of_kind(manifests, "Deployment", "StatefulSet") if manifest["metadata"]["name"] == name
    ]
    return found


def pod(manifests: list[Manifest], name: str) -> Manifest:
    spec: Manifest = workload(manifests, name)["spec"]["template"]["spec"]
    return spec


def container(manifests: list[Manifest], name: str) -> Manifest:
    (only,) = pod(manifests, name)["containers"]
    found: Manifest = only
    return found


def ports(manifests: list[Manifest], name: str) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container(manifests, name)["ports"]}


def configuration(manifests: list[Manifest]) -> dict[str, str]:
    """The variables that every service gets."""
    (source,) = container(manifests, "gateway")["envFrom"]
    data: dict[str, str] = named(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    return data


def settings_of(service: str) -> list[type[Settings]]:
    (entry,) = entry_points(group=ENTRY_POINTS, name=service)
    return [ProcessSettings, NatsSettings, *entry.load().settings]


def matches(selector: dict[str, str], manifest: Manifest) -> bool:
    labels: dict[str, str] = manifest["spec"]["template"]["metadata"]["labels"]
    return selector.items() <= labels.items()


# --- the documents -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid_to_the_last_field(manifests: list[Manifest], version: str):
    for manifest in manifests:
        # An unknown kind raises too.
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_validation_refuses_unknown_kinds_and_fields(manifests: list[Manifest]):
    deployment = named(manifests, "Deployment", "gateway")
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        kubernetes_validate.validate({**deployment, "kind": "Deploymend"}, VERSIONS[-1], strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**deployment, "spek": {}}, VERSIONS[-1], strict=True)


def test_every_manifest_is_in_the_namespace_that_enforces_restricted_pods(manifests: list[Manifest]):
    (namespace,) = of_kind(manifests, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for manifest in manifests:
        if manifest is not namespace:
            assert manifest["metadata"]["namespace"] == namespace["metadata"]["name"]


def test_there_is_one_workload_per_service_and_nothing_else_runs(manifests: list[Manifest]):
    running = of_kind(manifests, "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod", "ReplicaSet")
    assert sorted(manifest["metadata"]["name"] for manifest in running) == sorted(WORKLOADS)
    for service in SERVICES:
        assert container(manifests, service)["args"] == [service]


# --- what refers to what -----------------------------------------------------------------------------------


def test_every_selector_finds_the_pods_of_exactly_the_workload_of_its_name(manifests: list[Manifest]):
    workloads = of_kind(manifests, "Deployment", "StatefulSet")
    selectors = [
        *((manifest, manifest["spec"]["selector"]) for manifest in of_kind(manifests, "Service")),
        *((manifest, manifest["spec"]["selector"]["matchLabels"]) for manifest in workloads),
        *(
            (manifest, manifest["spec"]["selector"]["matchLabels"])
            for manifest in of_kind(manifests, "PodDisruptionBudget")
        ),
        *(
            (manifest, manifest["spec"]["podSelector"]["matchLabels"])
            for manifest in of_kind(manifests, "NetworkPolicy")
        ),
    ]
    for manifest, selector in selectors:
        found = [candidate["metadata"]["name"] for candidate in workloads if matches(selector, candidate)]
        assert found == [manifest["metadata"]["name"]], manifest


def test_pods_spread_by_labels_they_have(manifests: list[Manifest]):
    for name in ("gateway", "presence"):
        (constraint,) = pod(manifests, name)["topologySpreadConstraints"]
        assert matches(constraint["labelSelector"]["matchLabels"], workload(manifests, name))


def test_gateway_and_presence_keep_running_while_nodes_are_drained(manifests: list[Manifest]):
    for name in ("gateway", "presence"):
        allowed = named(manifests, "PodDisruptionBudget", name)["spec"]["maxUnavailable"]
        assert workload(manifests, name)["spec"]["replicas"] > allowed


def test_service_ports_are_ports_of_the_pods(manifests: list[Manifest]):
    for service in of_kind(manifests, "Service"):
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports(manifests, service["metadata"]["name"])
    policy = named(manifests, "NetworkPolicy", "nats")
    assert [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]] == ["client"]


def test_every_service_may_talk_to_nats(manifests: list[Manifest]):
    (rule,) = named(manifests, "NetworkPolicy", "nats")["spec"]["ingress"]
    (peer,) = rule["from"]
    for name in SERVICES:
        assert matches(peer["podSelector"]["matchLabels"], workload(manifests, name))


def test_probes_ask_the_admin_port_for_life_and_readiness(manifests: list[Manifest]):
    for name in SERVICES:
        probed = container(manifests, name)
        assert probed["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "admin"}
        assert probed["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}


def test_every_probe_and_scrape_asks_a_port_of_its_container(manifests: list[Manifest]):
    for name in WORKLOADS:
        probed = container(manifests, name)
        for kind in {"livenessProbe", "readinessProbe", "startupProbe"} & probed.keys():
            assert probed[kind]["httpGet"]["port"] in ports(manifests, name)
    for name in SERVICES:
        annotations = workload(manifests, name)["spec"]["template"]["metadata"]["annotations"]
        assert annotations["prometheus.io/port"] == str(ports(manifests, name)["admin"])


def test_volumes_are_of_config_maps_and_claims_that_exist(manifests: list[Manifest]):
    config_maps = {manifest["metadata"]["name"] for manifest in of_kind(manifests, "ConfigMap")}
    for name in WORKLOADS:
        volumes = pod(manifests, name).get("volumes", [])
        claims = workload(manifests, name)["spec"].get("volumeClaimTemplates", [])
        assert all(volume["configMap"]["name"] in config_maps for volume in volumes)
        mounted = {mount["name"] for mount in container(manifests, name).get("volumeMounts", [])}
        assert mounted == {volume["name"] for volume in volumes} | {claim["metadata"]["name"] for claim in claims}


# --- settings ----------------------------------------------------------------------------------------------


def test_every_variable_is_a_setting(manifests: list[Manifest]):
    for service in SERVICES:
        known = {variable for cls in settings_of(service) for variable in cls.variables().values()}
        assert {variable["name"] for variable in container(manifests, service).get("env", [])} <= known
    all_known = {variable for name in SERVICES for cls in settings_of(name) for variable in cls.variables().values()}
    assert configuration(manifests).keys() <= all_known


def test_every_service_accepts_its_settings(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch):
    for variable, value in configuration(manifests).items():
        monkeypatch.setenv(variable, value)
    for service in SERVICES:
        assert container(manifests, service)["envFrom"] == container(manifests, "gateway")["envFrom"]
        load(settings_of(service))


def test_services_listen_on_all_interfaces_at_the_ports_of_the_manifests(manifests: list[Manifest]):
    given = configuration(manifests)
    assert given["STUDYROOM_ADMIN_HOST"] == given["STUDYROOM_GATEWAY_HOST"] == "0.0.0.0"
    assert int(given["STUDYROOM_GATEWAY_PORT"]) == ports(manifests, "gateway")["http"]
    for service in SERVICES:
        assert int(given["STUDYROOM_ADMIN_PORT"]) == ports(manifests, service)["admin"]


def test_the_nats_address_is_the_nats_service(manifests: list[Manifest]):
    (port,) = named(manifests, "Service", "nats")["spec"]["ports"]
    assert configuration(manifests)["STUDYROOM_NATS_URL"] == f"nats://nats:{port['port']}"
    assert ports(manifests, "nats")[port["targetPort"]] == port["port"]


def test_there_are_no_more_copies_of_a_stream_than_nats_servers(manifests: list[Manifest]):
    servers = workload(manifests, "nats")["spec"]["replicas"]
    assert int(configuration(manifests)["STUDYROOM_STORAGE_REPLICAS"]) <= servers


def test_nats_accepts_its_configuration_and_listens_at_the_ports_of_the_manifests(manifests: list[Manifest]):
    checked = subprocess.run(
        [program(), "-t", "-c", BASE / "nats-server.conf"], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    listening = dict(
        line.split(": ") for line in (BASE / "nats-server.conf").read_text().splitlines() if "port: " in line
    )
    assert ports(manifests, "nats") == {"client": int(listening["port"]), "monitor": int(listening["http_port"])}


def test_the_token_secret_may_be_missing_and_is_not_in_the_manifests(manifests: list[Manifest]):
    (secret,) = container(manifests, "gateway")["env"]
    assert secret["name"] == GatewaySettings.variables()["jwt_secret"]
    assert secret["valueFrom"]["secretKeyRef"]["optional"] is True
    assert not of_kind(manifests, "Secret")
    assert secret["name"] not in configuration(manifests)


# --- safety ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_container_is_restricted(manifests: list[Manifest], name: str):
    spec, only = pod(manifests, name), container(manifests, name)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & spec.keys()
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_container_says_what_it_needs_and_is_not_throttled(manifests: list[Manifest], name: str):
    resources = container(manifests, name)["resources"]
    assert resources["requests"].keys() == {"cpu", "memory"}
    assert resources["limits"].keys() == {"memory"}


@pytest.mark.parametrize("name", WORKLOADS)
def test_kubernetes_adds_no_variables_of_its_own(manifests: list[Manifest], name: str):
    assert pod(manifests, name)["enableServiceLinks"] is False


# --- stopping ----------------------------------------------------------------------------------------------


def test_a_gateway_has_time_to_drain_before_its_deadline(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch):
    for variable, value in configuration(manifests).items():
        monkeypatch.setenv(variable, value)
    process, gateway = ProcessSettings(), GatewaySettings()
    worst = (
        gateway.drain_delay_seconds
        + gateway.chat_deadline_seconds
        + gateway.drain_spread_seconds
        + gateway.close_timeout_seconds
    )
    assert gateway.drain_delay_seconds > 0
    assert worst < process.stop_deadline_seconds


@pytest.mark.parametrize("name", SERVICES)
def test_kubernetes_waits_longer_than_the_stop_deadline(manifests: list[Manifest], name: str):
    deadline = float(configuration(manifests)["STUDYROOM_STOP_DEADLINE_SECONDS"])
    assert pod(manifests, name)["terminationGracePeriodSeconds"] >= deadline + 5
