"""The cluster, through `kubectl`: one namespace of it, and the processes of its pods if the node is this machine."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMESPACE = "studyroom-check"
SERVICES = ("provisioner", "presence", "documents", "gateway")
"""In the order of an upgrade."""
WORKLOADS = {**dict.fromkeys(SERVICES, "deployment"), "nats": "statefulset"}
_KINDS = ("Deployment", "StatefulSet")
NAME = "app.kubernetes.io/name"
NODE_PORT = 30480
"""The port of `reach.yaml`."""
_LOCAL_CONTEXTS = ("kind-", "k3d-", "minikube", "docker-desktop", "rancher-desktop", "colima")
_LOCAL_SERVERS = ("//127.0.0.1:", "//localhost:", "//[::1]:")
_POLL_SECONDS = 0.5

Manifest = dict[str, Any]


class Failed(Exception):
    """A command failed, or the cluster did not do something in time. The argument describes it."""


@dataclass(frozen=True)
class Pod:
    name: str
    uid: str
    ready: bool
    going: bool
    """It is being deleted."""
    containers: dict[str, str]
    """The id of each container that has run."""
    restarts: dict[str, int]
    ended: dict[str, str]
    """The reason why each container ended the last time; empty if it has not."""

    @classmethod
    def of(cls, manifest: Manifest) -> "Pod":
        status = manifest.get("status", {})
        statuses = status.get("containerStatuses", [])
        conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
        return cls(
            manifest["metadata"]["name"],
            manifest["metadata"]["uid"],
            conditions.get("Ready") == "True",
            "deletionTimestamp" in manifest["metadata"],
            {one["name"]: one.get("containerID", "").rpartition("//")[2] for one in statuses},
            {one["name"]: one["restartCount"] for one in statuses},
            {one["name"]: one.get("lastState", {}).get("terminated", {}).get("reason", "") for one in statuses},
        )


def is_complete(workload: Manifest, pods: list[Pod]) -> bool:
    """Whether all pods of a Deployment or StatefulSet are there and ready, of its newest version, and no others."""
    wanted, status = workload["spec"]["replicas"], workload.get("status", {})
    return (
        status.get("observedGeneration", 0) >= workload["metadata"]["generation"]
        and status.get("readyReplicas", 0) == wanted
        and status.get("updatedReplicas", 0) == wanted
        and len(pods) == wanted
        and all(pod.ready and not pod.going for pod in pods)
    )


def run(*command: str, stdin: str | bytes | None = None, deadline_seconds: float = 120) -> str:
    """Return the output of a command. Raises Failed."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=deadline_seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        output = (done.stdout[-600:] + done.stderr[-600:]).decode(errors="replace").strip()
        raise Failed(f"{' '.join(command)}: {output}")
    return done.stdout.decode()


def why_not(context: str | None) -> str:
    """Return the reason why no cluster can be used; empty if there is one.

    The check breaks things, so without `context`, the name that a user gives, it uses only a cluster on this machine.
    """
    if not shutil.which("kubectl"):
        return "kubectl is not installed"
    chosen = ["--context", context] if context else []
    try:
        run("kubectl", *chosen, "get", "--raw", "/readyz", "--request-timeout", "5s")
        server = run("kubectl", *chosen, "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    except Failed as error:
        return f"no cluster answers: {' '.join(str(error).split())}"
    name = context or current_context()
    if context or any(one in server for one in _LOCAL_SERVERS) or name.startswith(_LOCAL_CONTEXTS):
        return ""
    return f"people may use the cluster {name} at {server}. To break things in it, name it with --context"


def current_context() -> str:
    """Raises Failed."""
    return run("kubectl", "config", "current-context").strip()


class Cluster:
    """Commands raise Failed."""

    def __init__(self, context: str | None, *, clears_volumes: bool) -> None:
        """`clears_volumes`: whether `free_volumes` may delete files of this machine."""
        self.context = context or current_context()
        self.clears_volumes = clears_volumes

    # --- commands -----------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, stdin: str | None = None, deadline_seconds: float = 120) -> str:
        command = ("kubectl", "--context", self.context, "-n", NAMESPACE, *arguments)
        return run(*command, stdin=stdin, deadline_seconds=deadline_seconds)

    async def do(self, *arguments: str, stdin: str | None = None, deadline_seconds: float = 120) -> str:
        """Run `kubectl` while other tasks go on."""
        return await asyncio.to_thread(self.kubectl, *arguments, stdin=stdin, deadline_seconds=deadline_seconds)

    def helm(self, *arguments: str, deadline_seconds: float = 300) -> str:
        command = ("helm", "--kube-context", self.context, "-n", NAMESPACE, *arguments)
        return run(*command, deadline_seconds=deadline_seconds)

    def apply(self, manifests: Iterable[Manifest]) -> None:
        made = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(made))

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def exists(self, kind: str, name: str) -> bool:
        return bool(self.kubectl("get", kind, name, "--ignore-not-found", "-o", "name").strip())

    def monitor(self, pod: str, page: str) -> Any:
        """A page of the monitor port of a NATS server. Also an error of the server raises Failed."""
        return json.loads(self.kubectl("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8222/proxy/{page}"))

    def addresses(self) -> list[str]:
        """Addresses at which a port of the node may be reached, those of this machine first."""
        nodes = self.get("nodes")["items"]
        found = [address for node in nodes for address in node["status"].get("addresses", [])]
        of_nodes = [one["address"] for one in found if one["type"] == "InternalIP" and ":" not in one["address"]]
        return ["127.0.0.1", *of_nodes]

    # --- pods ---------------------------------------------------------------------------------------------

    def pods(self, workload: str) -> list[Pod]:
        return [Pod.of(one) for one in self.get("pods", "-l", f"{NAME}={workload}")["items"]]

    def pod(self, name: str) -> Pod | None:
        found = self.get("pods", "--field-selector", f"metadata.name={name}")["items"]
        return Pod.of(found[0]) if found else None

    def evict(self, pod: str) -> bool:
        """Ask for an eviction. False if a budget does not allow it now."""
        metadata = {"name": pod, "namespace": NAMESPACE}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
        try:
            self.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
        except Failed as error:
            if "disruption budget" in str(error):
                return False
            if "(NotFound)" not in str(error):
                raise
        return True

    def processes(self, pod: Pod, container: str) -> list[int]:
        """Its processes, as this machine numbers them. Empty if the node is another machine."""
        wanted = pod.containers.get(container, "")
        if not wanted:
            return []
        found = []
        for group in Path("/proc").glob("[0-9]*/cgroup"):
            try:
                if wanted in group.read_text():
                    found.append(int(group.parent.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has ended, or belongs to another user
        return sorted(found)

    def signal(self, pod: Pod, container: str, number: signal.Signals) -> None:
        processes = self.processes(pod, container)
        if not processes:
            raise Failed(f"no process of {pod.name} is on this machine")
        for process in processes:
            os.kill(process, number)

    # --- waiting ------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], Any], goal: str, deadline_seconds: float) -> float:
        """Wait, and return the seconds that it took. A command that fails counts as not yet. Raises Failed."""
        began = time.monotonic()
        last = ""
        while True:
            try:
                if await asyncio.to_thread(condition):
                    return time.monotonic() - began
            except Failed as error:
                last = f" ({error})"
            if time.monotonic() - began > deadline_seconds:
                raise Failed(f"{goal}: not within {deadline_seconds:g} s{last}")
            await asyncio.sleep(_POLL_SECONDS)

    async def rolled(self, *workloads: str, deadline_seconds: float) -> None:
        """Wait until their rollouts are complete."""
        for workload in workloads:
            rollout = ("rollout", "status", f"{WORKLOADS[workload]}/{workload}", f"--timeout={deadline_seconds:g}s")
            await self.do(*rollout, deadline_seconds=deadline_seconds + 10)

    async def whole(self, deadline_seconds: float = 300) -> float:
        """Wait until every workload has all of its pods, of its newest version, and NATS has all copies of streams."""
        return await self.until(self._is_whole, "everything is ready", deadline_seconds)

    def _is_whole(self) -> bool:
        found = self.get("deployments,statefulsets,horizontalpodautoscalers,pods")["items"]
        by_kind = {kind: [one for one in found if one["kind"] == kind] for kind in {one["kind"] for one in found}}
        workloads = {one["metadata"]["name"]: one for kind in _KINDS for one in by_kind.get(kind, [])}
        for scaler in by_kind.get("HorizontalPodAutoscaler", []):
            scaled = workloads.get(scaler["spec"]["scaleTargetRef"]["name"])
            if scaled is None or scaled["spec"]["replicas"] < scaler["spec"]["minReplicas"]:
                return False
        for name in WORKLOADS:
            pods = [one for one in by_kind.get("Pod", []) if one["metadata"].get("labels", {}).get(NAME) == name]
            if name not in workloads or not is_complete(workloads[name], list(map(Pod.of, pods))):
                return False
        servers = range(workloads["nats"]["spec"]["replicas"])
        return all(self.monitor(f"nats-{number}", "healthz")["status"] == "ok" for number in servers)

    # --- volumes ------------------------------------------------------------------------------------------

    def why_no_volumes(self) -> str:
        """Return the reason why a server that lost its volume would get no new one; empty if it would."""
        by_hand = [one for one in self.get("pv")["items"] if _is_made_by_hand(one)]
        return "" if self.clears_volumes or not by_hand else "its volumes are kept; --clear-volumes deletes their files"

    def free_volumes(self) -> None:
        """Clear the volumes that claims of the namespace had, and let others claim them.

        Only those that were made by hand, of folders of this machine. Provisioners of clusters do it themselves.
        """
        if not self.clears_volumes:
            return
        claims = {one["metadata"]["uid"] for one in self.get("pvc")["items"]}
        for volume in filter(_is_made_by_hand, self.get("pv")["items"]):
            claim = volume["spec"].get("claimRef", {})
            if claim.get("namespace") != NAMESPACE or claim.get("uid") in claims:
                continue
            for part in Path(volume["spec"]["hostPath"]["path"]).iterdir():
                shutil.rmtree(part) if part.is_dir() and not part.is_symlink() else part.unlink()
            change = '[{"op": "remove", "path": "/spec/claimRef"}]'
            self.kubectl("patch", "pv", volume["metadata"]["name"], "--type=json", "--patch", change)


def _is_made_by_hand(volume: Manifest) -> bool:
    return "hostPath" in volume["spec"] and volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
