"""Steps about NATS as a whole, its certificates and its volumes, and those that run jobs."""

import asyncio
import time

from tests.kube.cluster import NAMESPACE, Cluster, Failed
from tests.kube.ground import ROLL_SECONDS, Ground
from tests.kube.history import Span
from tests.kube.rolling import pods_of, roll

SERVERS = ("nats-0", "nats-1", "nats-2")
_GONE_SECONDS = 180.0
_JOB_SECONDS = 240.0
_RENEWED_SECONDS = 240.0
"""Kubelets write a changed secret into volumes within about 90 s, and the container `reloader` looks every 30 s."""
_NOTICED_SECONDS = 15.0
"""Gateways notice a restored stream within 12 s (docs/operations.md, "Purging chat")."""


async def restart_at_once(ground: Ground) -> str:
    cluster, began = ground.cluster, time.monotonic()
    before = {pod.uid for pod in await pods_of(cluster, "nats")}
    # They would hand over to each other in vain, so they get less time for it.
    await cluster.do("delete", "pod", *SERVERS, "--grace-period=10", "--wait=false")
    await cluster.until(lambda: not before & {pod.uid for pod in cluster.pods("nats")}, "all are gone", _GONE_SECONDS)
    await cluster.whole(ROLL_SECONDS)
    return f"ready after {time.monotonic() - began:.0f} s"


async def renew_certificates(ground: Ground) -> str:
    """New certificates for servers and clients. Every server reads them, none restarts, and services accept them."""
    cluster = ground.cluster

    def loaded_at(key: str) -> dict[str, str]:
        return {server: cluster.monitor(server, "varz")[key] for server in SERVERS}

    read, started = await asyncio.to_thread(loaded_at, "config_load_time"), await asyncio.to_thread(loaded_at, "start")
    await asyncio.to_thread(cluster.apply, ground.certificates.secrets())

    def is_read() -> bool:
        return all(read[server] != now for server, now in loaded_at("config_load_time").items())

    took = await cluster.until(is_read, "every server reads its new certificate", _RENEWED_SECONDS)
    if await asyncio.to_thread(loaded_at, "start") != started:
        raise Failed("a server was restarted")
    # New connections have new certificates on both sides.
    await roll("presence")(ground)
    return f"read after {took:.0f} s, without a restart"


async def lose_volume(ground: Ground) -> str:
    """One server loses its volume, and copies everything from the others."""
    began = time.monotonic()
    await _delete_volumes(ground.cluster, SERVERS[-1])
    await ground.cluster.whole(ROLL_SECONDS)
    return f"copied after {time.monotonic() - began:.0f} s"


async def restore(ground: Ground) -> str:
    """All servers lose their volumes. A backup from before is restored into new ones."""
    cluster, since = ground.cluster, time.time()
    await run_job(cluster, "backup")
    await cluster.do("scale", "statefulset/nats", "--replicas=0")
    await cluster.until(lambda: not cluster.pods("nats"), "all servers are gone", _GONE_SECONDS)
    await _delete_volumes(cluster, *SERVERS)
    await cluster.do("scale", "statefulset/nats", f"--replicas={len(SERVERS)}")
    await cluster.whole(ROLL_SECONDS)
    began = time.monotonic()
    await run_job(cluster, "restore", "restore", "/backup", "--replace")
    took = time.monotonic() - began
    await cluster.whole(ROLL_SECONDS)
    await asyncio.sleep(_NOTICED_SECONDS)
    # Chat that was written while the backup ran may be in it or not.
    ground.crowd.forgiven.append(Span(since, time.time()))
    return f"restored in {took:.0f} s"


async def _delete_volumes(cluster: Cluster, *servers: str) -> None:
    """Also the pods of these servers, and return when new pods may have new volumes."""
    claims = [f"data-{server}" for server in servers]
    before = {cluster.get("pvc", claim)["metadata"]["uid"] for claim in claims}
    await cluster.do("delete", "pvc", *claims, "--wait=false")
    # The claims go with the last pod that uses them.
    await cluster.do("delete", "pod", *servers, "--grace-period=5", "--ignore-not-found", "--wait=false")

    def are_gone() -> bool:
        return not before & {one["metadata"]["uid"] for one in cluster.get("pvc")["items"]}

    await cluster.until(are_gone, "the volumes are deleted", _GONE_SECONDS)
    await asyncio.to_thread(cluster.free_volumes)


async def run_jobs(ground: Ground) -> str:
    """The doctor finds nothing wrong, the inspector no difference in a room, and the probe gets its chat back."""
    cluster, room = ground.cluster, next(iter(ground.crowd.rooms.values()))
    await run_job(cluster, "doctor")
    await run_job(cluster, "inspector", "room", room)
    await run_job(cluster, "probe-once", "probe")
    return "of doctor, inspector, probe"


async def run_job(cluster: Cluster, name: str, *arguments: str) -> None:
    """Run the job of a CronJob, with other arguments if there are any. Raises Failed."""
    spec = cluster.get("cronjob", name)["spec"]["jobTemplate"]["spec"]
    if arguments:
        spec["template"]["spec"]["containers"][0]["args"] = list(arguments)
    made = f"{name}-{int(time.time())}"
    metadata = {"name": made, "namespace": NAMESPACE}
    manifest = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
    await asyncio.to_thread(cluster.apply, [manifest])
    await cluster.until(lambda: _outcome(cluster, made), f"the job {made} ends", _JOB_SECONDS)
    if _outcome(cluster, made) != "Complete":
        raise Failed(f"the job {made} failed: {cluster.kubectl('logs', f'job/{made}', '--tail=5').strip()}")


def _outcome(cluster: Cluster, job: str) -> str:
    """`Complete` or `Failed`; empty while it runs."""
    for condition in cluster.get("job", job)["status"].get("conditions", []):
        if condition["status"] == "True" and condition["type"] in {"Complete", "Failed"}:
            ended: str = condition["type"]
            return ended
    return ""
