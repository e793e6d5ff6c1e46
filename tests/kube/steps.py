"""The steps of the check, in their order: each does something to the cluster, and promises what that costs people."""

from dataclasses import dataclass

from tests.kube.cluster import WORKLOADS, Cluster, Manifest
from tests.kube.ground import Act
from tests.kube.pods import freeze, freeze_briefly, kill, run_out_of_memory
from tests.kube.promises import Promise
from tests.kube.rolling import back_and_forth, evict, get_stuck, roll
from tests.kube.storage import lose_volume, renew_certificates, restart_at_once, restore, run_jobs


@dataclass(frozen=True)
class Step:
    name: str
    text: str
    act: Act
    promise: Promise
    signals: bool = False
    """It sends signals to processes, so the node must be this machine."""
    loses_volumes: bool = False
    needs_earlier: bool = False
    on_chart: bool = False
    """It runs on the chart too, unless steps are chosen."""


QUIET = Promise(outside_seconds=1, chat_seconds=5)
"""Nobody needs to notice: another replica does the work."""
MOVED = Promise(outside_seconds=7, chat_seconds=10)
"""Gateways ask clients to move. Those that have not moved in time come back within 5 s (k8s/base/settings.env)."""
DROPPED = Promise(outside_seconds=8, chat_seconds=12)
"""Connections are lost. Clients come back at once, and may meet the dead gateway a few times before it is unready."""
NO_LEADER = Promise(outside_seconds=1, chat_seconds=10)
"""A server that stops hands its streams over, and authors ask again."""
KILLED_LEADER = Promise(outside_seconds=1, chat_seconds=20)
"""The others elect a leader 4 to 9 s after they miss one, and once more if none of them gets most votes."""
ALL_MOVED = Promise(outside_seconds=7, chat_seconds=15)
FROZEN = Promise(outside_seconds=8, chat_seconds=35, left=None)
"""Clients notice after 15 s of silence and 8 s without an answer. Others see them leave after 8 s."""
FROZEN_BRIEFLY = Promise(outside_seconds=8, chat_seconds=25, left=None)
FROZEN_LEADER = Promise(outside_seconds=1, chat_seconds=20)
"""Its clients leave it after they miss its answers, and then the streams elect other leaders."""
NO_NATS = Promise(outside_seconds=5, chat_seconds=90)
"""Three servers start and elect leaders, with everything else on the same machine."""
RESTORED = Promise(outside_seconds=5, chat_seconds=30, resets=None)
"""Chat that was written since the backup is gone, and not counted."""


def _probe(kind: str, path: str = "/nothing", **fields: int) -> list[Manifest]:
    """A change of the first container's probe, so that it fails."""
    probe = f"/spec/template/spec/containers/0/{kind}"
    others = [{"op": "add", "path": f"{probe}/{name}", "value": value} for name, value in fields.items()]
    return [{"op": "replace", "path": f"{probe}/httpGet/path", "value": path}, *others]


_LATE = _probe("readinessProbe", "/readyz", initialDelaySeconds=30)
"""Later than the liveness probe below ends it."""

STEPS = (
    Step("jobs", "the doctor, the inspector and the probe run as jobs", run_jobs, QUIET, on_chart=True),
    Step("roll-provisioner", "the provisioner is rolled", roll("provisioner"), QUIET),
    Step("roll-presence", "presence is rolled", roll("presence"), QUIET),
    Step("roll-documents", "the documents service is rolled", roll("documents"), QUIET),
    Step("roll-gateway", "the gateways are rolled", roll("gateway"), MOVED),
    Step("roll-nats", "NATS is rolled, server by server", roll("nats"), NO_LEADER),
    Step("roll-all", "everything is rolled at once", roll(*WORKLOADS), ALL_MOVED, on_chart=True),
    Step("versions", "one version back, and forth again", back_and_forth, MOVED, needs_earlier=True),
    Step("evict-gateway", "all gateways are evicted", evict("gateway"), MOVED, on_chart=True),
    Step("evict-presence", "all replicas of presence are evicted", evict("presence"), QUIET),
    Step("evict-documents", "all replicas of the documents service are evicted", evict("documents"), QUIET),
    Step("evict-nats", "all NATS servers are evicted", evict("nats"), NO_LEADER),
    Step("evict-all", "all of these are evicted", evict("nats", "presence", "documents", "gateway"), ALL_MOVED),
    Step("kill-gateway", "a gateway is killed", kill("gateway"), DROPPED, signals=True),
    Step("kill-presence", "a replica of presence is killed", kill("presence"), QUIET, signals=True),
    Step("kill-nats", "the leader of chat is killed", kill("nats"), KILLED_LEADER, signals=True),
    Step("memory-gateway", "a gateway runs out of memory", run_out_of_memory("gateway"), DROPPED),
    Step("memory-presence", "a replica of presence runs out of memory", run_out_of_memory("presence"), QUIET),
    Step(
        "freeze-gateway", "a gateway freezes until its liveness probe fails",
        freeze("gateway", restarts_within_seconds=60), FROZEN, signals=True,
    ),
    Step(
        "freeze-presence", "a replica of presence freezes until its liveness probe fails",
        freeze("presence", restarts_within_seconds=60), QUIET, signals=True,
    ),
    Step(
        "freeze-nats", "the leader of chat freezes until its liveness probe fails",
        freeze("nats", restarts_within_seconds=110), FROZEN_LEADER, signals=True,
    ),
    Step(
        "unready-gateway", "a gateway freezes until its readiness probe fails",
        freeze_briefly("gateway", seconds=12), FROZEN_BRIEFLY, signals=True,
    ),
    Step(
        "stuck-gateway", "the next version of the gateway fails its readiness probe",
        get_stuck("gateway", *_probe("readinessProbe")), QUIET,
    ),
    Step(
        "stuck-presence", "the next version of presence fails its liveness probe",
        get_stuck("presence", *_probe("livenessProbe", periodSeconds=2), *_LATE), QUIET,
    ),
    Step(
        "stuck-nats", "the next version of NATS fails its startup probe",
        get_stuck("nats", *_probe("startupProbe")), NO_LEADER,
    ),
    Step("nats-at-once", "all NATS servers are restarted at once", restart_at_once, NO_NATS),
    Step("certificates", "all certificates of NATS are renewed", renew_certificates, QUIET),
    Step("lose-volume", "a NATS server loses its volume", lose_volume, NO_LEADER, loses_volumes=True),
    Step("restore", "all volumes are lost, and a backup is restored", restore, RESTORED, loses_volumes=True),
)  # fmt: skip


def chosen(names: tuple[str, ...], *, on_chart: bool) -> list[Step]:
    """The steps with these names, in the order of `STEPS`; without names, all that an installation gets."""
    return [step for step in STEPS if (step.name in names if names else step.on_chart or not on_chart)]


def why_not(step: Step, cluster: Cluster, *, has_earlier: bool) -> str:
    """Return the reason why the step cannot be carried out; empty if it can. Raises Failed."""
    if step.needs_earlier and not has_earlier:
        return "without an image of the version before"
    if step.signals and not any(cluster.processes(pod, "gateway") for pod in cluster.pods("gateway")):
        return "the node is not this machine, or these processes belong to another user"
    if step.loses_volumes:
        return cluster.why_no_volumes()
    return ""
