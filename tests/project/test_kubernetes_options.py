"""The components of production for ingress, autoscaling and jobs, the examples, and two installations in one cluster.

Commands and examples are those of docs/operations.md.
"""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from studyroom.gateway.settings import GatewaySettings
from studyroom.services.stack.cli import main
from studyroom.services.stack.nats_server import program
from tests.project.haproxy_ingress import OF_CONFIG_MAPS, OF_INGRESSES, OF_SERVICES
from tests.project.schemas import GATEWAY_API, KEDA
from tests.project.test_kubernetes import (
    CERTIFICATES,
    CLIENTS_OF_NATS,
    CLUSTER_WIDE,
    K8S,
    OPERATIONS,
    VERSIONS,
    WORKLOADS,
    Manifest,
    configuration,
    container,
    environment,
    named,
    of_kind,
    pod,
    rendered,
    secret_keys,
    with_component,
    write_certificates,
)
from tests.support.commands import needs
from tests.support.processes import deployed_nats_server, running
from tests.support.waiting import eventually

HAPROXY = "haproxy.org/"


def own(annotations: dict[str, str]) -> set[str]:
    return {name.removeprefix(HAPROXY) for name in annotations if name.startswith(HAPROXY)}


def read(path: str) -> list[Manifest]:
    return list(yaml.safe_load_all((K8S / path).read_text()))


# --- ingress -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", ["", "homes/haproxy"])
def test_the_ingress_controller_ignores_none_of_our_annotations(component: str, tmp_path: Path):
    manifests = with_component(component, tmp_path) if component else rendered("prod")
    for ingress in of_kind(manifests, "Ingress"):
        assert own(ingress["metadata"]["annotations"]) <= OF_INGRESSES
    for service in of_kind(manifests, "Service"):
        assert own(service["metadata"].get("annotations", {})) <= OF_SERVICES


def test_timeouts_are_where_the_ingress_controller_reads_them_and_longer_than_gateways_ping():
    (config,) = read("ingress/haproxy.yaml")
    kubernetes_validate.validate(config, VERSIONS[-1], strict=True)
    assert config["data"].keys() <= OF_CONFIG_MAPS
    assert not config["data"].keys() & OF_INGRESSES
    tunnel = int(config["data"]["timeout-tunnel"].removesuffix("s"))
    assert tunnel > GatewaySettings.model_fields["ping_timeout_seconds"].default
    (rule,) = named(rendered("prod"), "NetworkPolicy", "gateway")["spec"]["ingress"]
    assert rule["from"][0]["namespaceSelector"]["matchLabels"].popitem()[1] == config["metadata"]["namespace"]


def test_traefik_answers_with_tls_only(tmp_path: Path):
    ingress = named(with_component("ingress/traefik", tmp_path), "Ingress", "gateway")
    kubernetes_validate.validate(ingress, VERSIONS[-1], strict=True)
    prefix = "traefik.ingress.kubernetes.io/router."
    annotations = ingress["metadata"]["annotations"]
    assert {name: value for name, value in annotations.items() if name.startswith("traefik.")} == {
        f"{prefix}entrypoints": "websecure",
        f"{prefix}tls": "true",
    }
    assert ingress["spec"]["ingressClassName"] == "traefik"


def test_the_gateway_api_takes_the_place_of_the_ingress(tmp_path: Path):
    manifests = with_component("gateway-api", tmp_path)
    assert not of_kind(manifests, "Ingress")
    for manifest in manifests:
        if schema := GATEWAY_API.get(manifest["kind"]):
            jsonschema.validate(manifest, schema)
        else:
            kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
    host = configuration(manifests)["STUDYROOM_GATEWAY_HOSTS"]
    (listener,) = named(manifests, "Gateway", "studyroom")["spec"]["listeners"]
    route = named(manifests, "HTTPRoute", "gateway")["spec"]
    assert [listener["hostname"]] == route["hostnames"] == [host]
    (rule,) = route["rules"]
    (backend,) = rule["backendRefs"]
    assert rule["timeouts"] == {"request": "0s"}
    assert backend["port"] in {port["port"] for port in named(manifests, "Service", backend["name"])["spec"]["ports"]}


# --- autoscaling -------------------------------------------------------------------------------------------


def test_keda_scales_by_connections_and_by_cpu_with_the_bounds_of_the_autoscaler(tmp_path: Path):
    manifests = with_component("autoscaling/keda", tmp_path)
    assert not of_kind(manifests, "HorizontalPodAutoscaler")
    (scaled,) = of_kind(manifests, "ScaledObject")
    jsonschema.validate(scaled, KEDA["ScaledObject"])
    before = named(rendered("prod"), "HorizontalPodAutoscaler", "gateway")["spec"]
    spec = scaled["spec"]
    assert spec["scaleTargetRef"]["name"] == before["scaleTargetRef"]["name"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (before["minReplicas"], before["maxReplicas"])
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == before["behavior"]
    by = {trigger["type"]: trigger["metadata"] for trigger in spec["triggers"]}
    assert by.keys() == {"prometheus", "cpu"}
    assert int(by["cpu"]["value"]) == before["metrics"][0]["resource"]["target"]["averageUtilization"]
    most = int(configuration(manifests)["STUDYROOM_GATEWAY_CONNECTIONS_MAX"])
    assert int(by["prometheus"]["threshold"]) <= 0.6 * most
    assert f'namespace="{scaled["metadata"]["namespace"]}"' in by["prometheus"]["query"]


# --- jobs --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return with_component("jobs", tmp_path_factory.mktemp("jobs"))


def job(manifests: list[Manifest], name: str) -> Manifest:
    template: Manifest = named(manifests, "CronJob", name)["spec"]["jobTemplate"]["spec"]["template"]
    return template


JOBS = ("doctor", "inspector", "backup", "restore")


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_restricted_and_may_reach_nats(with_jobs: list[Manifest], name: str):
    for manifest in with_jobs:
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
    template = job(with_jobs, name)
    assert template["metadata"]["labels"]["studyroom/nats-client"] == "true"
    spec = template["spec"]
    assert (spec["securityContext"]["runAsNonRoot"], spec["automountServiceAccountToken"]) == (True, False)
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (one,) = spec["containers"]
    assert one["securityContext"] == container(with_jobs, "gateway")["securityContext"]
    assert one["resources"].keys() == {"requests", "limits"}
    assert {mount["name"] for mount in one["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    assert (one["image"], one["envFrom"]) == tuple(container(with_jobs, "gateway")[key] for key in ("image", "envFrom"))
    (papers,) = [volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume]
    assert papers in CERTIFICATES
    keys = {
        variable["valueFrom"]["secretKeyRef"]["key"]
        for variable in one["env"]
        if "secretKeyRef" in variable.get("valueFrom", {})
    }
    assert keys <= secret_keys(with_jobs)["studyroom-nats"]


def test_jobs_run_their_command_and_only_the_backup_runs_by_itself(with_jobs: list[Manifest]):
    for name in JOBS:
        (one,) = job(with_jobs, name)["spec"]["containers"]
        command, *arguments = one["args"]
        main.commands[command].make_context(command, [*arguments]).close()
        assert command == {"inspector": "room"}.get(name, name)
        assert named(with_jobs, "CronJob", name)["spec"].get("suspend", False) is (name != "backup")


def test_the_restore_reads_the_volume_of_the_backup_and_is_not_tried_twice(with_jobs: list[Manifest]):
    written, read = (job(with_jobs, name)["spec"] for name in ("backup", "restore"))
    assert written["volumes"] == read["volumes"]
    for spec in (written, read):
        (one,) = spec["containers"]
        assert {"name": "backup", "mountPath": one["args"][1]} in one["volumeMounts"]
    assert named(with_jobs, "CronJob", "restore")["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
    keys = {one["spec"]["containers"][0]["env"][0]["value"] for one in (job(with_jobs, name) for name in JOBS)}
    assert keys == {"doctor", "inspector", "backup", "operator"}


# --- OpenShift ---------------------------------------------------------------------------------------------


def test_on_openshift_no_pod_names_a_user_or_a_group_and_none_runs_as_root(tmp_path: Path):
    overlay = Path("k8s") / "overlays" / "prod" / "kustomization.yaml"
    with_component("jobs", tmp_path)
    written = (tmp_path / overlay).read_text().replace("  # - ../../openshift\n", "  - ../../openshift\n")
    (tmp_path / overlay).write_text(written)
    manifests = rendered("prod", tmp_path / "k8s")
    pods = [pod(manifests, name) for name in WORKLOADS]
    pods += [job(manifests, name)["spec"] for name in JOBS]
    for spec in pods:
        seccomp = {"type": "RuntimeDefault"}
        kept = {key: value for key, value in spec["securityContext"].items() if key != "fsGroupChangePolicy"}
        assert kept == {"runAsNonRoot": True, "seccompProfile": seccomp}
    for manifest in manifests:
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


# --- certificates of NATS ----------------------------------------------------------------------------------


@pytest.mark.parametrize("renewed_before", [False, True])
async def test_a_nats_server_reads_renewed_certificates_without_a_restart(tmp_path: Path, *, renewed_before: bool):
    """Also those that were renewed before the container started that looks for them."""
    (reloader,) = [one for one in pod(rendered("prod"), "nats")["containers"] if one["name"] == "reloader"]
    papers = tmp_path / "tls"
    write_certificates(papers)
    files = ", ".join(
        f'{name}: "{papers / file}"' for name, file in (("cert_file", "tls.crt"), ("key_file", "tls.key"))
    )
    tls = f"tls {{ {files} }}\npid_file: {tmp_path / 'nats.pid'}\n"
    (tmp_path / "nats-server").symlink_to(program())
    with running(deployed_nats_server(tmp_path / "nats", tls=tls)) as server:
        script = reloader["args"][0].replace("/tls/", f"{papers}/").replace("/run/nats/", f"{tmp_path}/")
        script = script.replace("sleep 30", "sleep 0.2")
        path = f"{tmp_path}:{os.environ['PATH']}"
        started = server.monitor("varz")["start"]
        loaded = server.monitor("varz")["config_load_time"]
        if renewed_before:
            write_certificates(papers)
            later = time.time() + 5  # some shells compare whole seconds
            os.utime(papers / "tls.crt", (later, later))
        watching = await asyncio.create_subprocess_exec(
            *reloader["command"], script, env={"PATH": path}, start_new_session=True
        )
        try:

            def is_read() -> bool:
                if not renewed_before:
                    write_certificates(papers)
                return bool(server.monitor("varz")["config_load_time"] != loaded)

            await eventually(is_read, "the server has read its configuration again")
            assert server.monitor("varz")["start"] == started
        finally:
            os.killpg(watching.pid, signal.SIGTERM)
            await watching.wait()


def test_the_commands_of_the_handbook_make_certificates_for_every_server_and_client(tmp_path: Path):
    needs("openssl")
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\n")
    kubectl.chmod(0o755)
    commands = [command for command in OPERATIONS.commands if command.startswith(("openssl req", "for "))]
    subprocess.run(
        "\n".join(["set -e", *commands]), shell=True, check=True, cwd=tmp_path, capture_output=True, timeout=60,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    addresses = configuration(rendered("prod"))["STUDYROOM_NATS_URL"]
    for host in re.findall(r"nats://([\w.-]+):", addresses):
        assert "does match" in openssl(tmp_path, "x509", "-in", "nats.crt", "-noout", "-checkhost", host)
    for role in ("nats", *CLIENTS_OF_NATS):
        for purpose, is_for in (("sslserver", role == "nats"), ("sslclient", True)):
            verified = openssl(tmp_path, "verify", "-purpose", purpose, "-CAfile", "nats-ca.crt", f"{role}.crt")
            assert verified.endswith(": OK\n") is is_for, (role, purpose)


def openssl(directory: Path, *arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], check=False, cwd=directory, capture_output=True, text=True).stdout


# --- examples ----------------------------------------------------------------------------------------------


def test_external_secrets_give_every_key_that_containers_need():
    made = {
        one["spec"]["target"]["name"]: {entry["secretKey"] for entry in one["spec"]["data"]}
        for one in read("examples/external-secrets.yaml")
    }
    needed = secret_keys(rendered("prod"))
    assert made["studyroom-nats"] == needed["studyroom-nats"]
    assert made["studyroom-gateway"] <= needed["studyroom-gateway"]
    assert "jwt-secret" in made["studyroom-gateway"]


def test_the_certificates_of_the_example_are_for_every_server_and_each_client():
    certificates = {
        one["spec"]["secretName"]: one["spec"]
        for one in read("examples/nats-certificate.yaml")
        if "secretName" in one["spec"]
    }
    del certificates["studyroom-nats-ca"]
    assert certificates.keys() == CERTIFICATES
    servers = certificates.pop("studyroom-nats-tls")
    assert servers["dnsNames"] == re.findall(
        r"nats://([\w.-]+):", configuration(rendered("prod"))["STUDYROOM_NATS_URL"]
    )
    assert {"server auth", "client auth"} <= set(servers["usages"])
    for one in certificates.values():
        assert set(one["usages"]) == {"digital signature", "client auth"}


# --- all components ----------------------------------------------------------------------------------------


def test_production_offers_every_component():
    offered = set(re.findall(r"- \.\./\.\./(\S+)", (K8S / "overlays" / "prod" / "kustomization.yaml").read_text()))
    components = {
        str(path.parent.relative_to(K8S))
        for path in K8S.rglob("kustomization.yaml")
        if yaml.safe_load(path.read_text())["kind"] == "Component"
    }
    assert offered - {"base"} == components


# --- two installations -------------------------------------------------------------------------------------


def test_two_installations_in_one_cluster_share_nothing_but_priorities(tmp_path: Path):
    needs("kubectl")
    for folder in ("k8s", "deploy", "monitoring"):
        shutil.copytree(K8S.parent / folder, tmp_path / folder)
    staging = tmp_path / "k8s" / "overlays" / "staging"
    staging.mkdir()
    (example,) = [block.text for block in OPERATIONS.blocks if "namespace: staging" in block.text]
    (staging / "kustomization.yaml").write_text(example)
    second, first = rendered("staging", tmp_path / "k8s"), rendered("prod")

    def names(manifests: list[Manifest]) -> set[tuple[Any, ...]]:
        return {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in manifests}

    assert names(first) & names(second) == {
        (one["kind"], None, one["metadata"]["name"]) for one in of_kind(first, "PriorityClass")
    }
    assert of_kind(first, "PriorityClass") == of_kind(second, "PriorityClass")
    assert {one["metadata"].get("namespace") for one in second if one["kind"] not in CLUSTER_WIDE} == {"staging"}
    assert configuration(second)["STUDYROOM_GATEWAY_HOSTS"] != configuration(first)["STUDYROOM_GATEWAY_HOSTS"]
    assert environment(second, "gateway") == environment(first, "gateway")
