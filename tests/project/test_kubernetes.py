"""`k8s/` as far as it can be judged without a cluster: rendered, validated, and its parts fit each other."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import trustme
import yaml

from studyroom.gateway.settings import GatewaySettings
from studyroom.services.stack.nats_server import program
from studyroom.shared.chassis.settings import ProcessSettings, load
from tests.project.schemas import SCHEMAS
from tests.support.accounts import PASSWORDS
from tests.support.commands import needs
from tests.support.markdown import Document
from tests.support.settings import settings_of

K8S = Path(__file__).parents[2] / "k8s"
OPERATIONS = Document(K8S.parent / "docs" / "operations.md")
OVERLAYS = ("dev", "prod")
SERVICES = ("gateway", "presence", "documents", "provisioner")
WORKLOADS = (*SERVICES, "nats")
VERSIONS = ("1.30", kubernetes_validate.latest_version())
"""The oldest and the newest Kubernetes that the manifests are written for."""
CLUSTER_WIDE = {"Namespace", "PriorityClass"}
CLIENTS_OF_NATS = (*SERVICES, "hooks", "doctor", "inspector", "backup")
CERTIFICATES = {"studyroom-nats-tls", *(f"studyroom-{name}-nats-tls" for name in CLIENTS_OF_NATS)}
FROM_OUTSIDE = {"studyroom-nats", "studyroom-gateway", "studyroom-tls", *CERTIFICATES}
"""Secrets that are made before `prod` is applied."""

Manifest = dict[str, Any]


@pytest.fixture(scope="module", params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return rendered(request.param)


def rendered(overlay: str, k8s: Path = K8S) -> list[Manifest]:
    needs("kubectl")
    output = subprocess.run(
        ["kubectl", "kustomize", k8s / "overlays" / overlay], check=False, capture_output=True, text=True, timeout=60
    )
    assert output.returncode == 0, output.stderr
    return list(yaml.safe_load_all(output.stdout))


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [manifest for manifest in of_kind(manifests, kind) if manifest["metadata"]["name"] == name]
    return found


def names(manifests: list[Manifest], *kinds: str) -> set[str]:
    return {manifest["metadata"]["name"] for manifest in of_kind(manifests, *kinds)}


def workload(manifests: list[Manifest], name: str) -> Manifest:
    (found,) = [
        manifest for manifest in of_kind(manifests, "Deployment", "StatefulSet") if manifest["metadata"]["name"] == name
    ]
    return found


def pod(manifests: list[Manifest], name: str) -> Manifest:
    spec: Manifest = workload(manifests, name)["spec"]["template"]["spec"]
    return spec


def container(manifests: list[Manifest], name: str) -> Manifest:
    """The container that the workload is there for."""
    found: Manifest = next(one for one in pod(manifests, name)["containers"] if one["name"] == name)
    return found


def containers(manifests: list[Manifest]) -> list[Manifest]:
    return [one for name in WORKLOADS for one in pod(manifests, name)["containers"]]


def ports(manifests: list[Manifest], name: str) -> dict[str, int]:
    """The ports of all containers of a pod."""
    found = [port for one in pod(manifests, name)["containers"] for port in one.get("ports", [])]
    return {port["name"]: port["containerPort"] for port in found}


def labels_of(manifests: list[Manifest], name: str) -> dict[str, str]:
    labels: dict[str, str] = workload(manifests, name)["spec"]["template"]["metadata"]["labels"]
    return labels


def selected(manifests: list[Manifest], selector: Manifest) -> set[str]:
    """The workloads whose pods a selector finds."""
    wanted = selector.get("matchLabels", {}).items()
    among = {one["key"]: one["values"] for one in selector.get("matchExpressions", [])}
    return {
        name
        for name in WORKLOADS
        if wanted <= labels_of(manifests, name).items()
        and all(labels_of(manifests, name).get(key) in values for key, values in among.items())
    }


def configuration(manifests: list[Manifest]) -> dict[str, str]:
    """The variables that every service gets."""
    (source,) = container(manifests, "gateway")["envFrom"]
    data: dict[str, str] = named(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    return data


def environment(manifests: list[Manifest], name: str) -> dict[str, Manifest]:
    return {variable["name"]: variable for variable in container(manifests, name).get("env", [])}


def nats_files(manifests: list[Manifest]) -> dict[str, str]:
    """The files of the configuration of NATS."""
    (volume,) = [volume for volume in pod(manifests, "nats")["volumes"] if "configMap" in volume]
    data: dict[str, str] = named(manifests, "ConfigMap", volume["configMap"]["name"])["data"]
    return data


# --- the documents -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid_to_the_last_field(manifests: list[Manifest], version: str):
    for manifest in manifests:
        if schema := SCHEMAS.get(manifest["kind"]):
            jsonschema.validate(manifest, schema)
        else:
            # An unknown kind raises too.
            kubernetes_validate.validate(manifest, version, strict=True)


def test_the_validation_refuses_unknown_kinds_and_fields(manifests: list[Manifest]):
    deployment = named(manifests, "Deployment", "gateway")
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        kubernetes_validate.validate({**deployment, "kind": "Deploymend"}, VERSIONS[-1], strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**deployment, "spek": {}}, VERSIONS[-1], strict=True)


def test_the_overlays_need_no_kinds_that_a_cluster_may_not_have(manifests: list[Manifest]):
    assert not {manifest["kind"] for manifest in manifests} & SCHEMAS.keys()
    for manifest in manifests:
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)  # an unknown kind raises


def test_every_manifest_is_in_the_namespace_that_enforces_restricted_pods(manifests: list[Manifest]):
    (namespace,) = of_kind(manifests, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for manifest in manifests:
        if manifest["kind"] not in CLUSTER_WIDE:
            assert manifest["metadata"]["namespace"] == namespace["metadata"]["name"]


def test_there_is_one_workload_per_service_and_nothing_else_runs(manifests: list[Manifest]):
    running = of_kind(manifests, "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod", "ReplicaSet")
    assert sorted(manifest["metadata"]["name"] for manifest in running) == sorted(WORKLOADS)
    for service in SERVICES:
        assert container(manifests, service)["args"] == [service]


def test_every_service_has_a_file_of_its_own():
    for name in WORKLOADS:
        documents = list(yaml.safe_load_all((K8S / "base" / f"{name}.yaml").read_text()))
        assert {document["metadata"]["name"] for document in documents} == {name}


# --- references between objects --------------------------------------------------------------------------------


def test_every_selector_finds_the_pods_of_exactly_the_workload_of_its_name(manifests: list[Manifest]):
    selectors = [(one, {"matchLabels": one["spec"]["selector"]}) for one in of_kind(manifests, "Service")]
    kinds = ("Deployment", "StatefulSet", "PodDisruptionBudget", "PodMonitor")
    selectors += [(one, one["spec"]["selector"]) for one in of_kind(manifests, *kinds)]
    for manifest, selector in selectors:
        assert selected(manifests, selector) == {manifest["metadata"]["name"]}, manifest


def test_pods_spread_by_labels_they_have(manifests: list[Manifest]):
    for name in ("gateway", "presence", "documents", "nats"):
        constraints = pod(manifests, name)["topologySpreadConstraints"]
        assert constraints
        for constraint in constraints:
            assert selected(manifests, constraint["labelSelector"]) == {name}


def test_replicas_of_services_spread_over_zones_too_and_each_version_by_itself(manifests: list[Manifest]):
    for name in ("gateway", "presence", "documents"):
        constraints = pod(manifests, name)["topologySpreadConstraints"]
        assert {one["topologyKey"] for one in constraints} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
        assert all(one["matchLabelKeys"] == ["pod-template-hash"] for one in constraints)


def test_with_zones_two_nats_servers_are_never_in_one_zone(tmp_path: Path):
    manifests = with_component("zones", tmp_path)
    constraints = pod(manifests, "nats")["topologySpreadConstraints"]
    hard = {one["topologyKey"]: one for one in constraints if one["whenUnsatisfiable"] == "DoNotSchedule"}
    assert hard.keys() == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    # In two zones, counts of two and one differ by no more than one.
    servers = workload(manifests, "nats")["spec"]["replicas"]
    assert hard["topology.kubernetes.io/zone"]["minDomains"] == servers


def test_a_nats_server_that_copies_all_its_data_or_has_a_slow_disk_is_not_ended(manifests: list[Manifest]):
    probed = container(manifests, "nats")
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert probed[kind]["timeoutSeconds"] >= 5
    claim = workload(manifests, "nats")["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
    starts = probed["startupProbe"]["periodSeconds"] * probed["startupProbe"]["failureThreshold"]
    slowest_megabytes_per_second = 5
    assert starts >= int(claim.removesuffix("Gi")) * 1024 / slowest_megabytes_per_second
    assert probed["livenessProbe"]["periodSeconds"] * probed["livenessProbe"]["failureThreshold"] >= 60


def test_a_frozen_process_is_ended_soon_and_the_provisioner_has_one_pod_at_a_time(manifests: list[Manifest]):
    for name in SERVICES:
        assert container(manifests, name)["livenessProbe"]["terminationGracePeriodSeconds"] == 5
    assert container(manifests, "nats")["livenessProbe"]["terminationGracePeriodSeconds"] == 10
    assert workload(manifests, "provisioner")["spec"]["strategy"] == {"type": "Recreate"}


def test_replicas_that_must_be_on_different_nodes_are(manifests: list[Manifest]):
    hard = [
        constraint["topologyKey"]
        for constraint in pod(manifests, "nats")["topologySpreadConstraints"]
        if constraint["whenUnsatisfiable"] == "DoNotSchedule"
    ]
    assert hard == ["kubernetes.io/hostname"]


def test_in_production_services_keep_running_while_nodes_are_drained():
    manifests = rendered("prod")
    for name in ("gateway", "presence", "documents", "nats"):
        allowed = named(manifests, "PodDisruptionBudget", name)["spec"]["maxUnavailable"]
        spec = workload(manifests, name)["spec"]
        replicas = spec.get("replicas") or named(manifests, "HorizontalPodAutoscaler", name)["spec"]["minReplicas"]
        assert replicas > allowed
    servers = workload(manifests, "nats")["spec"]["replicas"]
    assert servers - named(manifests, "PodDisruptionBudget", "nats")["spec"]["maxUnavailable"] > servers / 2


def test_service_ports_are_ports_of_the_pods(manifests: list[Manifest]):
    for service in of_kind(manifests, "Service"):
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports(manifests, service["metadata"]["name"])


def test_probes_ask_the_admin_port_for_life_and_readiness(manifests: list[Manifest]):
    for name in SERVICES:
        probed = container(manifests, name)
        assert probed["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "admin"}
        assert probed["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}


def test_every_probe_asks_a_port_of_its_container(manifests: list[Manifest]):
    for name in WORKLOADS:
        probed = container(manifests, name)
        for kind in {"livenessProbe", "readinessProbe", "startupProbe"} & probed.keys():
            assert probed[kind]["httpGet"]["port"] in {port["name"] for port in probed["ports"]}


def test_volumes_are_of_config_maps_and_claims_that_exist(manifests: list[Manifest]):
    for name in WORKLOADS:
        volumes = pod(manifests, name).get("volumes", [])
        claims = workload(manifests, name)["spec"].get("volumeClaimTemplates", [])
        files = [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
        assert set(files) <= names(manifests, "ConfigMap")
        mounted = {mount["name"] for mount in container(manifests, name).get("volumeMounts", [])}
        assert mounted == {volume["name"] for volume in volumes} | {claim["metadata"]["name"] for claim in claims}


def test_every_workload_has_an_account_without_a_token_and_a_priority(manifests: list[Manifest]):
    for name in WORKLOADS:
        assert pod(manifests, name)["serviceAccountName"] == name
        assert pod(manifests, name)["automountServiceAccountToken"] is False
        assert named(manifests, "ServiceAccount", name)["automountServiceAccountToken"] is False
        assert pod(manifests, name)["priorityClassName"] in names(manifests, "PriorityClass")


# --- secrets -----------------------------------------------------------------------------------------------


def secret_keys(manifests: list[Manifest]) -> dict[str, set[str]]:
    """Every secret that containers name, and the keys they read of it."""
    found: dict[str, set[str]] = {}
    for one in containers(manifests):
        for variable in one.get("env", []):
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                found.setdefault(reference["name"], set()).add(reference["key"])
    return found


def test_in_development_every_secret_that_is_read_is_there():
    manifests = rendered("dev")
    there = {one["metadata"]["name"]: set(one["data"]) for one in of_kind(manifests, "Secret")}
    assert secret_keys(manifests) == there


KUBECTL = """#!/bin/sh
# The real kubectl, as far as it needs no cluster: it shows what it would send.
echo ---
case "$1" in
  apply) exec "%(kubectl)s" kustomize "$3" ;;
  *) exec "%(kubectl)s" "$@" --dry-run=client --output=yaml ;;
esac
"""


SENT = ("kubectl create namespace ", "kubectl -n studyroom create secret ", "kubectl apply ", "openssl req ", "for ")
"""How the commands begin that send manifests, and those that make the certificates in them."""


def installed_by_the_handbook(directory: Path) -> list[Manifest]:
    """The manifests that the commands of the handbook for Kubernetes send to the cluster."""
    needs("kubectl")
    needs("openssl")
    for folder in ("k8s", "deploy", "monitoring"):
        shutil.copytree(K8S.parent / folder, directory / folder)
    certificate = trustme.CA().issue_cert("study.example")
    certificate.private_key_pem.write_to_path(directory / "tls.key")
    certificate.cert_chain_pems[0].write_to_path(directory / "tls.crt")
    kubectl = directory / "kubectl"
    kubectl.write_text(KUBECTL % {"kubectl": shutil.which("kubectl")})
    kubectl.chmod(0o755)
    output = subprocess.run(
        "\n".join(["set -e", *(command for command in OPERATIONS.commands if command.startswith(SENT))]),
        shell=True, check=False, cwd=directory, env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert output.returncode == 0, output.stderr
    return [manifest for manifest in yaml.safe_load_all(output.stdout) if manifest]


def test_in_production_no_secret_is_in_the_manifests_and_the_handbook_makes_each(tmp_path: Path):
    assert not of_kind(rendered("prod"), "Secret")
    manifests = installed_by_the_handbook(tmp_path)
    secrets = of_kind(manifests, "Secret")
    made = {one["metadata"]["name"]: one["data"].keys() for one in secrets}
    read = secret_keys(manifests)
    assert {one["metadata"]["namespace"] for one in (*secrets, workload(manifests, "gateway"))} == {"studyroom"}
    assert made.keys() == FROM_OUTSIDE == read.keys() | {"studyroom-tls"} | CERTIFICATES
    assert made["studyroom-nats"] == read["studyroom-nats"]
    assert read["studyroom-gateway"] - made["studyroom-gateway"] == {"api-keys"}
    assert any(one.startswith("--from-literal=api-keys=") for one in OPERATIONS.quoted)


def test_nats_and_services_read_the_same_passwords(manifests: list[Manifest]):
    nats = environment(manifests, "nats")
    for name in SERVICES:
        own = environment(manifests, name)
        assert own["STUDYROOM_NATS_USER"]["value"] == name
        assert own["STUDYROOM_NATS_PASSWORD"]["valueFrom"] == nats[f"NATS_{name.upper()}_PASSWORD"]["valueFrom"]


def test_nats_is_given_everything_that_its_configuration_reads(manifests: list[Manifest]):
    read = set(re.findall(r"\$(NATS_\w+)", "".join(nats_files(manifests).values())))
    assert read <= environment(manifests, "nats").keys()
    assert PASSWORDS.keys() <= environment(manifests, "nats").keys()


# --- the network -------------------------------------------------------------------------------------------


def policies(manifests: list[Manifest], direction: str) -> list[tuple[set[str], Manifest]]:
    """Each rule of a direction with the workloads that it is for."""
    return [
        (selected(manifests, policy["spec"]["podSelector"]), rule)
        for policy in of_kind(manifests, "NetworkPolicy")
        for rule in policy["spec"].get(direction, [])
    ]


def test_traffic_is_denied_by_default(manifests: list[Manifest]):
    policy = named(manifests, "NetworkPolicy", "default-deny")["spec"]
    assert policy == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_pods_that_may_talk_to_nats_are_let_out_and_in(manifests: list[Manifest]):
    for name in SERVICES:
        out = [rule for pods, rule in policies(manifests, "egress") if name in pods]
        assert any(rule["ports"] == [{"port": "client"}] for rule in out)
        allowed = [
            peer
            for pods, rule in policies(manifests, "ingress")
            if "nats" in pods and {"port": "client"} in rule["ports"]
            for peer in rule["from"]
        ]
        assert any(name in selected(manifests, peer["podSelector"]) for peer in allowed)


def test_names_are_looked_up_at_any_server_of_any_cluster(manifests: list[Manifest]):
    """Also at an address of the node (NodeLocal DNS), and at the port of OpenShift."""
    policy = named(manifests, "NetworkPolicy", "dns")["spec"]
    (rule,) = policy["egress"]
    assert (policy["podSelector"], rule.keys()) == ({}, {"ports"})
    assert {(port["port"], port["protocol"]) for port in rule["ports"]} == {
        (port, protocol) for port in (53, 5353) for protocol in ("UDP", "TCP")
    }


def test_policies_name_ports_that_pods_have(manifests: list[Manifest]):
    for pods, rule in policies(manifests, "ingress"):
        for name in pods:
            assert {port["port"] for port in rule["ports"]} <= ports(manifests, name).keys()


def test_only_prometheus_reaches_the_admin_port_of_a_gateway(manifests: list[Manifest]):
    for _, rule in policies(manifests, "ingress"):
        if {"port": "admin"} in rule["ports"]:
            peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
            assert rule["from"] == peers


# --- settings ----------------------------------------------------------------------------------------------


def test_every_variable_is_a_setting(manifests: list[Manifest]):
    for service in SERVICES:
        known = {variable for cls in settings_of(service) for variable in cls.variables().values()}
        assert environment(manifests, service).keys() <= known
    all_known = {variable for name in SERVICES for cls in settings_of(name) for variable in cls.variables().values()}
    assert configuration(manifests).keys() <= all_known


def test_every_service_accepts_its_settings(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    write_certificates(tmp_path / "tls")
    for variable, value in configuration(manifests).items():
        monkeypatch.setenv(variable, f"{tmp_path}{value}" if value.startswith("/tls/") else value)
    for service in SERVICES:
        assert container(manifests, service)["envFrom"] == container(manifests, "gateway")["envFrom"]
        load(settings_of(service))


def test_services_listen_on_all_interfaces_at_the_ports_of_the_manifests(manifests: list[Manifest]):
    given = configuration(manifests)
    assert given["STUDYROOM_ADMIN_HOST"] == given["STUDYROOM_GATEWAY_HOST"] == "0.0.0.0"
    assert int(given["STUDYROOM_GATEWAY_PORT"]) == ports(manifests, "gateway")["http"]
    for service in SERVICES:
        assert int(given["STUDYROOM_ADMIN_PORT"]) == ports(manifests, service)["admin"]


def test_the_nats_addresses_are_those_of_its_pods(manifests: list[Manifest]):
    service, servers = named(manifests, "Service", "nats"), workload(manifests, "nats")
    assert servers["spec"]["serviceName"] == service["metadata"]["name"]
    client = {port["name"]: port["port"] for port in service["spec"]["ports"]}["client"]
    addresses = [f"nats://nats-{index}.nats:{client}" for index in range(servers["spec"]["replicas"])]
    assert configuration(manifests)["STUDYROOM_NATS_URL"] == ",".join(addresses)


def test_there_are_as_many_copies_of_a_stream_as_nats_servers(manifests: list[Manifest]):
    servers = workload(manifests, "nats")["spec"]["replicas"]
    assert int(configuration(manifests)["STUDYROOM_STORAGE_REPLICAS"]) == servers


def write_certificates(directory: Path) -> None:
    """The files of the secret studyroom-nats-tls, for a server on this machine."""
    directory.mkdir(exist_ok=True)
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(directory / "ca.crt")
    issued.cert_chain_pems[0].write_to_path(directory / "tls.crt")
    issued.private_key_pem.write_to_path(directory / "tls.key")


def test_nats_accepts_its_configuration_and_listens_at_the_ports_of_the_manifests(
    manifests: list[Manifest], tmp_path: Path
):
    write_certificates(tmp_path / "tls")
    for name, content in nats_files(manifests).items():
        (tmp_path / name).write_text(content.replace('"/tls/', f'"{tmp_path}/tls/'))
    routes = environment(manifests, "nats")["NATS_ROUTES"]["value"].replace("$(NATS_ROUTE_PASSWORD)", "secret")
    checked = subprocess.run(
        [program(), "-t", "-c", tmp_path / "nats.conf"],
        check=False, capture_output=True, text=True,
        env={
            **PASSWORDS, "NATS_NAME": "nats-0", "NATS_STORE_DIR": "/data", "NATS_MAX_FILE_STORE": "8Gi",
            "NATS_ROUTES": routes,
        },
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
    text = "".join(nats_files(manifests).values())
    listening = {int(port) for port in re.findall(r"^\s*(?:http_)?port: (\d+)$", text, re.MULTILINE)}
    assert listening <= set(ports(manifests, "nats").values())
    clustered = workload(manifests, "nats")["spec"]["replicas"] > 1
    assert ("cluster {" in text) is clustered


def test_the_store_is_four_fifths_of_its_volume(manifests: list[Manifest]):
    assert "max_file_store: $NATS_MAX_FILE_STORE\n" in nats_files(manifests)["nats.conf"]
    size = int(environment(manifests, "nats")["NATS_MAX_FILE_STORE"]["value"].removesuffix("Gi"))
    (claim,) = workload(manifests, "nats")["spec"]["volumeClaimTemplates"]
    volume = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))
    assert size / volume == pytest.approx(0.8)


# --- safety ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_pod_is_restricted(manifests: list[Manifest], name: str):
    spec = pod(manifests, name)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & spec.keys()
    for one in spec["containers"]:
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_every_container_requests_its_resources_and_is_not_throttled(manifests: list[Manifest]):
    for one in containers(manifests):
        assert one["resources"]["requests"].keys() == {"cpu", "memory"}
        assert one["resources"]["limits"].keys() == {"memory"}


@pytest.mark.parametrize("name", WORKLOADS)
def test_kubernetes_adds_no_variables_to_containers(manifests: list[Manifest], name: str):
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
        + gateway.move_within_ms / 1000
        + gateway.close_timeout_seconds
    )
    assert worst < process.stop_deadline_seconds


@pytest.mark.parametrize("name", SERVICES)
def test_kubernetes_waits_longer_than_the_stop_deadline(manifests: list[Manifest], name: str):
    deadline = float(configuration(manifests)["STUDYROOM_STOP_DEADLINE_SECONDS"])
    before = container(manifests, name).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pod(manifests, name)["terminationGracePeriodSeconds"] >= before + deadline + 5


def test_a_gateway_goes_on_serving_until_no_client_is_sent_to_it(manifests: list[Manifest]):
    assert container(manifests, "gateway")["lifecycle"]["preStop"]["sleep"]["seconds"] >= 5


def test_a_nats_server_hands_over_before_it_stops(manifests: list[Manifest]):
    *shell, command = container(manifests, "nats")["lifecycle"]["preStop"]["exec"]["command"]
    assert shell == ["/bin/sh", "-c"]
    # With other processes in sight the server has another id than 1, which it writes into a file.
    (written,) = re.findall(r"^pid_file: (\S+)$", "".join(nats_files(manifests).values()), re.MULTILINE) or ["1"]
    assert bool(pod(manifests, "nats").get("shareProcessNamespace")) is (written != "1")
    assert command == f"nats-server --signal ldm={written} && sleep 2"
    (seconds,) = re.findall(r"^lame_duck_duration: (\d+)s$", nats_files(manifests)["nats.conf"], re.MULTILINE)
    assert pod(manifests, "nats")["terminationGracePeriodSeconds"] >= int(seconds) + 10


# --- production --------------------------------------------------------------------------------------------


def test_the_ingress_leads_to_the_gateways_and_waits_longer_than_they_ping():
    manifests = rendered("prod")
    ingress = named(manifests, "Ingress", "gateway")
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    service = named(manifests, "Service", path["backend"]["service"]["name"])
    assert path["backend"]["service"]["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
    assert configuration(manifests)["STUDYROOM_GATEWAY_HOSTS"] == rule["host"]
    assert ingress["metadata"]["annotations"]["haproxy.org/forwarded-for"] == "true"
    assert configuration(manifests)["STUDYROOM_GATEWAY_TRUSTED_PROXIES"]


def test_the_autoscaler_knows_cpu_without_anything_but_kubernetes():
    manifests = rendered("prod")
    (metric,) = named(manifests, "HorizontalPodAutoscaler", "gateway")["spec"]["metrics"]
    assert (metric["type"], metric["resource"]["name"]) == ("Resource", "cpu")
    assert container(manifests, "gateway")["resources"]["requests"]["cpu"]


def test_the_autoscaler_asks_for_metrics_that_the_adapter_has_and_the_rules_record(tmp_path: Path):
    manifests = with_component("autoscaling/adapter", tmp_path)
    for manifest in manifests:
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
    scaler = named(manifests, "HorizontalPodAutoscaler", "gateway")["spec"]
    assert scaler["scaleTargetRef"]["name"] == "gateway"
    assert "replicas" not in workload(manifests, "gateway")["spec"]
    adapter = yaml.safe_load((K8S / "monitoring" / "adapter-values.yaml").read_text())["rules"]["custom"]
    asked = [metric["pods"]["metric"]["name"] for metric in scaler["metrics"] if metric["type"] == "Pods"]
    assert asked == [one["name"]["as"] for one in adapter]
    assert scaler["metrics"][0]["type"] == "Resource"
    target = next(metric["pods"]["target"]["averageValue"] for metric in scaler["metrics"] if metric["type"] == "Pods")
    most = int(configuration(manifests)["STUDYROOM_GATEWAY_CONNECTIONS_MAX"])
    assert int(target.removesuffix("k")) * 1000 <= 0.6 * most
    written = (K8S / "monitoring" / "operator" / "prometheus-rule.yaml").read_text()
    groups = yaml.safe_load(written)["spec"]["groups"]
    recorded = {rule.get("record") for group in groups for rule in group["rules"]}
    for one in adapter:
        (series,) = re.findall(r'__name__="([^"]+)"', one["seriesQuery"])
        assert series in recorded


def test_the_autoscaler_lets_pods_go_slowly():
    manifests = rendered("prod")
    scaler = named(manifests, "HorizontalPodAutoscaler", "gateway")["spec"]
    (policy,) = scaler["behavior"]["scaleDown"]["policies"]
    assert (policy["type"], policy["value"]) == ("Pods", 1)
    assert policy["periodSeconds"] > pod(manifests, "gateway")["terminationGracePeriodSeconds"]


# --- options: TLS, and the keys of an identity provider ----------------------------------------------------


def with_component(name: str, directory: Path) -> list[Manifest]:
    """Production with a component that its overlay offers."""
    for folder in ("k8s", "deploy", "monitoring"):
        shutil.copytree(K8S.parent / folder, directory / folder)
    overlay = directory / "k8s" / "overlays" / "prod" / "kustomization.yaml"
    offered = overlay.read_text()
    assert f"  # - ../../{name}\n" in offered
    overlay.write_text(offered.replace(f"  # - ../../{name}\n", f"  - ../../{name}\n"))
    return rendered("prod", directory / "k8s")


@pytest.fixture(scope="module")
def encrypted() -> list[Manifest]:
    """Production, which has TLS without asking."""
    return rendered("prod")


def test_with_keys_every_manifest_is_valid_and_gateways_may_and_can_read_them(tmp_path: Path):
    manifests = with_component("keys", tmp_path)
    for manifest in manifests:
        if manifest["kind"] not in SCHEMAS:
            kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
    assert configuration(manifests)["STUDYROOM_GATEWAY_JWKS_URL"].startswith("https://")
    https = [{"port": 443, "protocol": "TCP"}]
    assert [pods for pods, rule in policies(manifests, "egress") if rule["ports"] == https] == [{"gateway"}]
    secret = environment(manifests, "gateway")["STUDYROOM_GATEWAY_JWT_SECRET"]["valueFrom"]["secretKeyRef"]
    assert secret["optional"]


def test_with_tls_everyone_has_the_certificates_where_they_are_looked_for(encrypted: list[Manifest]):
    paths = {value for name, value in configuration(encrypted).items() if "_TLS_" in name}
    for name in WORKLOADS:
        (volume,) = [volume for volume in pod(encrypted, name)["volumes"] if "secret" in volume]
        mounts = container(encrypted, name)["volumeMounts"]
        (mount,) = [mount for mount in mounts if mount["name"] == volume["name"]]
        own = "studyroom-nats-tls" if name == "nats" else f"studyroom-{name}-nats-tls"
        assert volume["secret"]["secretName"] == own
        assert {str(Path(path).parent) for path in paths} == {mount["mountPath"]}
    for file in ("tls.conf", "routes-tls.conf"):
        assert set(re.findall(r'"(/\S+)"', nats_files(encrypted)[file])) == paths
    assert "verify: true" in nats_files(encrypted)["tls.conf"]
