"""Steps in which a process is killed, frozen, or out of memory. The node must be this machine."""

import asyncio
import time
from contextlib import suppress
from signal import SIGCONT, SIGKILL, SIGSTOP

from tests.kube.cluster import Cluster, Failed, Pod
from tests.kube.ground import CRASHED_SECONDS, Act, Ground
from tests.kube.rolling import pods_of

_UNREADY_SECONDS = 60.0
_OUT_OF_MEMORY = "OOMKilled"
_FILL = """
import os, time
open("/proc/1/oom_score_adj", "w").write("1000")
for _ in range(200):
    if os.fork() == 0:
        held = b"x" * (16 << 20)
        time.sleep(60)
        os._exit(0)
    time.sleep(0.02)
time.sleep(60)
"""
"""Uses up the memory of its container. The kernel ends the service for that: each of these processes is smaller."""


def kill(workload: str) -> Act:
    async def act(ground: Ground) -> str:
        pod = await _victim(ground.cluster, workload)
        ground.cluster.signal(pod, workload, SIGKILL)
        return f"restarted after {await _restarted(ground.cluster, pod, workload, CRASHED_SECONDS):.0f} s"

    return act


def freeze(workload: str, *, restarts_within_seconds: float) -> Act:
    """Until its liveness probe lets Kubernetes restart it."""

    async def act(ground: Ground) -> str:
        cluster, began = ground.cluster, time.monotonic()
        pod = await _victim(cluster, workload)
        cluster.signal(pod, workload, SIGSTOP)
        try:
            unready = await cluster.until(lambda: not _is_ready(cluster, pod), "it is not ready", _UNREADY_SECONDS)
            await _restarted(cluster, pod, workload, restarts_within_seconds)
        except Failed:
            _thaw(cluster, pod, workload)
            raise
        return f"not ready after {unready:.0f} s, restarted after {time.monotonic() - began:.0f} s"

    return act


def freeze_briefly(workload: str, *, seconds: float) -> Act:
    """Long enough for its readiness probe, and too short for the liveness probe."""

    async def act(ground: Ground) -> str:
        cluster, began = ground.cluster, time.monotonic()
        pod = await _victim(cluster, workload)
        cluster.signal(pod, workload, SIGSTOP)
        try:
            unready = await cluster.until(lambda: not _is_ready(cluster, pod), "it is not ready", seconds)
            await asyncio.sleep(began + seconds - time.monotonic())
        finally:
            _thaw(cluster, pod, workload)
        await cluster.until(lambda: _is_ready(cluster, pod), "it is ready again", _UNREADY_SECONDS)
        if _restarts(cluster, pod, workload) != pod.restarts[workload]:
            raise Failed(f"{pod.name} was restarted")
        return f"not ready after {unready:.0f} s, not restarted"

    return act


def run_out_of_memory(workload: str) -> Act:
    async def act(ground: Ground) -> str:
        cluster = ground.cluster
        pod = await _victim(cluster, workload)
        command = ("exec", pod.name, "-c", workload, "--", "python", "-c", _FILL)
        filling = asyncio.create_task(cluster.do(*command, deadline_seconds=CRASHED_SECONDS))
        try:
            took = await _restarted(cluster, pod, workload, CRASHED_SECONDS)
        finally:
            # It ends with the container, which is an error.
            await asyncio.gather(filling, return_exceptions=True)
        found = await asyncio.to_thread(cluster.pod, pod.name)
        if found is None or found.ended[workload] != _OUT_OF_MEMORY:
            raise Failed(f"{pod.name} ended in another way: {found and found.ended[workload]}")
        return f"restarted after {took:.0f} s"

    return act


def _thaw(cluster: Cluster, pod: Pod, container: str) -> None:
    """It may have been restarted meanwhile."""
    with suppress(Failed):
        cluster.signal(pod, container, SIGCONT)


async def _victim(cluster: Cluster, workload: str) -> Pod:
    """The pod of a service that was restarted least, or the NATS server that leads the stream of chat.

    Kubernetes waits before it restarts a container for the second time.
    """
    pods = await pods_of(cluster, workload)
    if workload != "nats":
        return min(pods, key=lambda pod: pod.restarts.get(workload, 0))
    name = await asyncio.to_thread(leader_of_chat, cluster)
    return next(pod for pod in pods if pod.name == name)


def leader_of_chat(cluster: Cluster) -> str:
    """The name of the pod. Raises Failed."""
    for account in cluster.monitor("nats-0", "jsz?accounts=true&streams=true").get("account_details", []):
        for stream in account.get("stream_detail", []):
            if stream["name"] == "CHAT" and stream["cluster"].get("leader"):
                leader: str = stream["cluster"]["leader"]
                return leader
    raise Failed("nats-0 does not know the leader of chat")


async def _restarted(cluster: Cluster, pod: Pod, container: str, within_seconds: float) -> float:
    return await cluster.until(
        lambda: _restarts(cluster, pod, container) > pod.restarts[container], f"{pod.name} restarts", within_seconds
    )


def _restarts(cluster: Cluster, pod: Pod, container: str) -> int:
    found = cluster.pod(pod.name)
    return 0 if found is None else found.restarts.get(container, 0)


def _is_ready(cluster: Cluster, pod: Pod) -> bool:
    found = cluster.pod(pod.name)
    return found is not None and found.ready
