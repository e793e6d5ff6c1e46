"""Installs Studyroom into the cluster, by kustomize or by Helm, with images that are built from the tree."""

import json
import secrets
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import trustme
import yaml

from tests.kube.cluster import NAMESPACE, NODE_PORT, WORKLOADS, Cluster, Failed, Manifest, run
from tests.support.tokens import SECRET
from tests.support.waiting import http_get

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
IMAGE = "registry.example.com/studyroom:check"
EARLIER_IMAGE = "registry.example.com/studyroom:check-earlier"
SERVICE = "check"
"""The name of the Service in `reach.yaml`, by which the probe reaches gateways."""
_STAND_IN = "registry.example.com/exporter-stand-in:check"
_NATS_IMAGE = "nats:2.15-alpine"
_BUILD_SECONDS = 1800
_READY_SECONDS = 420
_REACHED_SECONDS = 60
_SERVERS = ("nats-0.nats", "nats-1.nats", "nats-2.nats")
_CLIENTS = ("gateway", "presence", "documents", "hooks", "provisioner", "doctor", "inspector", "backup")
_USERS = (*_CLIENTS, "operator", "route")
_HOSTS = "STUDYROOM_GATEWAY_HOSTS"
_PRIORITIES = ("studyroom-state", "studyroom-edge")

# --- images ------------------------------------------------------------------------------------------------


def build_images(earlier: str | None) -> list[str]:
    """Build the images with Docker, and return their names. `earlier`: the commit of the version before.

    Raises Failed.
    """
    _build(IMAGE, str(ROOT))
    _build(_STAND_IN, "-", f'FROM {_NATS_IMAGE}\nENTRYPOINT ["/bin/sh", "-c", "exec sleep 1000000"]\n'.encode())
    if earlier is None:
        return [IMAGE, _STAND_IN, _NATS_IMAGE]
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", earlier], capture_output=True, check=False)
    if archive.returncode:
        raise Failed(f"git archive {earlier}: {archive.stderr.decode(errors='replace').strip()}")
    _build(EARLIER_IMAGE, "-", archive.stdout)
    return [IMAGE, _STAND_IN, _NATS_IMAGE, EARLIER_IMAGE]


def _build(image: str, context: str, stdin: bytes | None = None) -> None:
    run("docker", "build", "--quiet", "--tag", image, context, stdin=stdin, deadline_seconds=_BUILD_SECONDS)


def services_at(commit: str) -> frozenset[str]:
    """The services of the version at a commit. Raises Failed."""
    project = tomllib.loads(run("git", "-C", str(ROOT), "show", f"{commit}:pyproject.toml"))["project"]
    return frozenset(project["entry-points"]["studyroom.services"])


def loader_of(context: str) -> list[str]:
    """The command that gives images to the nodes of a cluster with such a context. Empty if nobody knows it."""
    if context.startswith("kind-"):
        return ["kind", "load", "docker-image", "--name", context.removeprefix("kind-")]
    if context.startswith("k3d-"):
        return ["k3d", "image", "import", "--cluster", context.removeprefix("k3d-")]
    if context.startswith("minikube"):
        return ["minikube", "--profile", context, "image", "load"]
    return []


# --- secrets -----------------------------------------------------------------------------------------------


class Certificates:
    """The certificates of NATS and its clients, from one authority."""

    def __init__(self) -> None:
        self._authority = trustme.CA()

    def secrets(self) -> list[Manifest]:
        """New certificates for all of them."""
        of_servers = _secret("studyroom-nats-tls", self._files(*_SERVERS))
        of_clients = (_secret(f"studyroom-{name}-nats-tls", self._files(f"{name}.client")) for name in _CLIENTS)
        return [of_servers, *of_clients]

    def _files(self, *names: str) -> dict[str, str]:
        issued = self._authority.issue_cert(*names)
        return {
            "ca.crt": self._authority.cert_pem.bytes().decode(),
            "tls.crt": issued.cert_chain_pems[0].bytes().decode(),
            "tls.key": issued.private_key_pem.bytes().decode(),
        }


def passwords() -> list[Manifest]:
    # NATS reads a password of digits as a number, so each begins with a letter.
    made = {user: f"p{secrets.token_hex(16)}" for user in _USERS}
    return [_secret("studyroom-nats", made), _secret("studyroom-gateway", {"jwt-secret": SECRET})]


def _secret(name: str, data: dict[str, str]) -> Manifest:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


# --- installations -----------------------------------------------------------------------------------------


class Installation(Protocol):
    name: str

    def apply(self, hosts: str) -> None:
        """Install it into the namespace, which has its secrets. `hosts`: the names of gateways. Raises Failed."""


class Overlay:
    """`k8s/overlays/prod`, by kustomize."""

    name = "overlay"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def apply(self, hosts: str) -> None:
        made = yaml.safe_load_all(run("kubectl", "kustomize", str(HERE / "overlay")))
        self._cluster.apply(with_hosts(made, hosts))


def with_hosts(manifests: Iterator[Manifest], hosts: str) -> Iterator[Manifest]:
    """The same with other names of gateways."""
    for manifest in manifests:
        if manifest["kind"] == "ConfigMap" and _HOSTS in manifest["data"]:
            yield {**manifest, "data": {**manifest["data"], _HOSTS: hosts}}
        else:
            yield manifest


class Chart:
    """`charts/studyroom`, by Helm."""

    name = "chart"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def apply(self, hosts: str) -> None:
        has_priorities = self._cluster.exists("priorityclass", _PRIORITIES[0])
        self._cluster.helm(
            "upgrade", "--install", "studyroom", str(ROOT / "charts" / "studyroom"),
            "--values", str(HERE / "values.yaml"),
            "--set-json", f"settings={json.dumps({_HOSTS: hosts})}",
            "--set", f"priorityClasses={str(not has_priorities).lower()}",
        )  # fmt: skip

    def test(self) -> None:
        """Let the doctor look at the release. Raises Failed."""
        self._cluster.helm("test", "studyroom", "--logs")


def why_no_chart() -> str:
    return "" if shutil.which("helm") else "helm is not installed"


async def install(cluster: Cluster, installation: Installation, certificates: Certificates) -> str:
    """Return the address of the gateways, for clients on this machine, when everything is ready. Raises Failed."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}])
    cluster.apply([*passwords(), *certificates.secrets()])
    cluster.apply(yaml.safe_load_all((HERE / "reach.yaml").read_text()))
    hosts = cluster.addresses()
    installation.apply(",".join((*hosts, SERVICE)))
    await cluster.whole(_READY_SECONDS)
    urls = [f"http://{host}:{NODE_PORT}" for host in hosts]
    await cluster.until(lambda: any(map(_answers, urls)), f"a gateway answers at one of {urls}", _REACHED_SECONDS)
    return next(url for url in urls if _answers(url))


def _answers(url: str) -> bool:
    return http_get(f"{url}/health", 2)[0] == 200


def has_priorities(cluster: Cluster) -> bool:
    """Whether somebody has the PriorityClasses of Studyroom, which are the same for all installations."""
    return any(cluster.exists("priorityclass", name) for name in _PRIORITIES)


async def remove(cluster: Cluster, *, keep_priorities: bool) -> None:
    """Delete everything of the namespace. Raises Failed."""
    if cluster.exists("namespace", NAMESPACE):
        for kind in ("cronjobs,jobs", "deployments,statefulsets"):
            await cluster.do("delete", kind, "--all", "--wait=false")
        await cluster.do("delete", "pods", "--all", "--wait=false", "--grace-period=1")
        await cluster.do("delete", "namespace", NAMESPACE, deadline_seconds=300)
    if not keep_priorities:
        await cluster.do("delete", "priorityclass", *_PRIORITIES, "--ignore-not-found")
    cluster.free_volumes()


async def run_image(cluster: Cluster, image: str, workload: str) -> None:
    """Let a workload run an image from now on. Raises Failed."""
    await cluster.do("set", "image", f"{WORKLOADS[workload]}/{workload}", f"{workload}={image}")
