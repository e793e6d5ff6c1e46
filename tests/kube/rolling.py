"""Steps that replace pods in order: rollouts, also those that cannot succeed, and evictions."""

import asyncio
import json
import time
from collections import Counter

from tests.kube.cluster import SERVICES, WORKLOADS, Cluster, Failed, Manifest, Pod
from tests.kube.ground import CHANGED_SECONDS, CHECKED_SECONDS, ROLL_SECONDS, Act, Ground
from tests.kube.install import EARLIER_IMAGE, IMAGE, run_image


def roll(*workloads: str) -> Act:
    async def act(ground: Ground) -> str:
        for workload in workloads:
            await ground.cluster.do("rollout", "restart", f"{WORKLOADS[workload]}/{workload}")
        await ground.cluster.rolled(*workloads, deadline_seconds=ROLL_SECONDS)
        return ""

    return act


async def back_and_forth(ground: Ground) -> str:
    """To the version before and to this one again, each time in the order of the handbook."""
    both = [service for service in SERVICES if service in ground.earlier_services]
    for image in (EARLIER_IMAGE, IMAGE):
        for service in both:
            await run_image(ground.cluster, image, service)
            await ground.cluster.rolled(service, deadline_seconds=ROLL_SECONDS)
        await ground.cluster.whole()
    return f"of {', '.join(both)}"


def get_stuck(workload: str, *changes: Manifest) -> Act:
    """A rollout to a pod that never becomes ready. All other pods go on, and then it is undone."""

    async def act(ground: Ground) -> str:
        cluster, kind = ground.cluster, WORKLOADS[workload]
        before = {pod.uid for pod in await pods_of(cluster, workload)}
        await cluster.do("patch", kind, workload, "--type=json", "--patch", json.dumps(changes))
        try:
            await cluster.until(lambda: _newcomers(cluster, workload, before), f"{workload} rolls", CHANGED_SECONDS)
            await asyncio.sleep(CHECKED_SECONDS)
            pods = await pods_of(cluster, workload)
        finally:
            await cluster.do("rollout", "undo", f"{kind}/{workload}")
        newcomers = [pod for pod in pods if pod.uid not in before]
        going_on = sum(pod.ready and pod.uid in before for pod in pods)
        least = len(before)
        if kind == "statefulset":
            # The new pod has the name and the volume of an old one. After an undo, a StatefulSet still waits for it to
            # become ready, so its documentation asks for this.
            least -= 1
            await cluster.do("delete", "pod", *(pod.name for pod in newcomers), "--wait=false")
        if len(newcomers) != 1 or any(pod.ready for pod in newcomers) or going_on < least:
            raise Failed(f"{len(newcomers)} pods are new, and {going_on} of {len(before)} went on")
        return f"{going_on} of {len(before)} went on"

    return act


def _newcomers(cluster: Cluster, workload: str, before: set[str]) -> list[Pod]:
    """Those whose container has run."""
    return [pod for pod in cluster.pods(workload) if pod.uid not in before and pod.containers.get(workload)]


def evict(*workloads: str) -> Act:
    """All pods at once, again and again until each was evicted, as drains of all nodes do."""

    async def act(ground: Ground) -> str:
        cluster, waiting = ground.cluster, dict[str, str]()
        for workload in workloads:
            waiting |= {pod.uid: workload for pod in await pods_of(cluster, workload)}
        count = Counter(waiting.values())
        least, refused = Counter(count), 0
        deadline = time.monotonic() + ROLL_SECONDS
        while waiting:
            if time.monotonic() > deadline:
                raise Failed(f"pods of {sorted(set(waiting.values()))} could not be evicted in {ROLL_SECONDS:g} s")
            for workload in workloads:
                there = {pod.uid: pod for pod in await pods_of(cluster, workload) if not pod.going}
                least[workload] = min(least[workload], sum(pod.ready for pod in there.values()))
                for uid in [one for one, of in waiting.items() if of == workload]:
                    if uid not in there:
                        del waiting[uid]
                    elif not await asyncio.to_thread(cluster.evict, there[uid].name):
                        refused += 1
            await asyncio.sleep(1)
        await cluster.whole(ROLL_SECONDS)
        if away := [workload for workload in workloads if least[workload] < count[workload] - 1]:
            raise Failed(f"more than one pod of {', '.join(away)} was away at a time")
        if not refused:
            raise Failed("the budgets have refused no eviction")
        return f"{refused} refused"

    return act


async def pods_of(cluster: Cluster, workload: str) -> list[Pod]:
    return await asyncio.to_thread(cluster.pods, workload)
