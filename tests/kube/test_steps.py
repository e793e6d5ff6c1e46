"""The installation and the steps of the check, as far as they can be judged without a cluster."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.kube import steps
from tests.kube.cluster import NAMESPACE, NODE_PORT, WORKLOADS, Failed, Pod, is_complete, run
from tests.kube.install import EARLIER_IMAGE, IMAGE, ROOT, Certificates, loader_of, passwords, services_at, with_hosts
from tests.kube.steps import STEPS, chosen
from tests.project.test_chart import assert_same, charted
from tests.project.test_kubernetes import (
    VERSIONS,
    Manifest,
    configuration,
    container,
    of_kind,
    pod,
    ports,
    rendered,
    selected,
    workload,
)
from tests.support.commands import needs

HERE = Path(__file__).parent
REACH: list[Manifest] = list(yaml.safe_load_all((HERE / "reach.yaml").read_text()))


@pytest.fixture(scope="module")
def installed() -> list[Manifest]:
    needs("kubectl")
    return list(yaml.safe_load_all(run("kubectl", "kustomize", str(HERE / "overlay"))))


# --- the installation --------------------------------------------------------------------------------------


def test_production_is_checked_with_smaller_requests_and_nothing_else(installed: list[Manifest]):
    production = rendered("prod")
    assert configuration(installed) == configuration(production)
    for name in WORKLOADS:
        ours, theirs = deepcopy(pod(installed, name)), pod(production, name)
        for spec in (ours, theirs):
            for one in spec["containers"]:
                del one["image"], one["resources"]["requests"]
        assert ours == theirs


def test_the_chart_is_checked_as_the_overlay_is(installed: list[Manifest]):
    values = yaml.safe_load((HERE / "values.yaml").read_text())
    assert_same(charted(values, NAMESPACE), installed)


def test_every_image_of_the_tree_is_the_one_that_was_built(installed: list[Manifest]):
    for name in WORKLOADS:
        image = container(installed, name)["image"]
        assert image == ("nats:2.15-alpine" if name == "nats" else IMAGE)
    assert EARLIER_IMAGE != IMAGE


def test_clients_reach_gateways_and_the_check_the_monitor_port_of_nats(installed: list[Manifest]):
    for manifest in REACH:
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
        assert manifest["metadata"]["namespace"] == NAMESPACE
    (service,) = of_kind(REACH, "Service")
    assert service["spec"]["ports"][0]["nodePort"] == NODE_PORT
    assert selected(installed, {"matchLabels": service["spec"]["selector"]}) == {"gateway"}
    for policy in of_kind(REACH, "NetworkPolicy"):
        (name,) = selected(installed, policy["spec"]["podSelector"])
        ((port,),) = (rule["ports"] for rule in policy["spec"]["ingress"])
        assert port["port"] in ports(installed, name)


def test_gateways_know_the_addresses_of_the_nodes(installed: list[Manifest]):
    changed = list(with_hosts(iter(installed), "127.0.0.1,10.0.0.1"))
    assert configuration(changed)["STUDYROOM_GATEWAY_HOSTS"] == "127.0.0.1,10.0.0.1"
    assert len(changed) == len(installed)


def test_every_secret_that_is_read_is_made(installed: list[Manifest]):
    made = {one["metadata"]["name"]: set(one["stringData"]) for one in (*passwords(), *Certificates().secrets())}
    for name in WORKLOADS:
        for reference in filter(None, map(_secret_of, container(installed, name)["env"])):
            assert reference.get("optional") or reference["key"] in made[reference["name"]], reference
    volumes = [volume for name in WORKLOADS for volume in pod(installed, name)["volumes"]]
    assert {volume["secret"]["secretName"] for volume in volumes if "secret" in volume} <= made.keys()


def _secret_of(variable: Manifest) -> Manifest | None:
    found: Manifest | None = variable.get("valueFrom", {}).get("secretKeyRef")
    return found


def test_new_certificates_are_from_the_same_authority():
    certificates = Certificates()
    first, second = certificates.secrets(), certificates.secrets()
    assert [one["metadata"]["name"] for one in first] == [one["metadata"]["name"] for one in second]
    for before, after in zip(first, second, strict=True):
        assert before["stringData"]["ca.crt"] == after["stringData"]["ca.crt"]
        assert before["stringData"]["tls.crt"] != after["stringData"]["tls.crt"]


def test_images_are_given_to_clusters_that_are_known_by_their_context():
    assert loader_of("kind-check") == ["kind", "load", "docker-image", "--name", "check"]
    assert loader_of("minikube")[-2:] == ["image", "load"]
    assert loader_of("production") == []


# --- steps -------------------------------------------------------------------------------------------------


def test_rolling_updates_and_evictions_promise_that_nobody_notices():
    gentle = [step for step in STEPS if step.name.startswith(("roll-", "evict-", "versions"))]
    assert {step.name for step in gentle} >= {f"roll-{name}" for name in WORKLOADS}
    for step in gentle:
        promise = step.promise
        assert (promise.lost, promise.doubled, promise.left, promise.resets) == (0, 0, 0, 0), step.name


def test_no_step_promises_less_than_that_chat_is_stored_once():
    assert {(step.promise.lost, step.promise.doubled) for step in STEPS} == {(0, 0)}


def test_steps_are_chosen_by_name_and_keep_their_order():
    assert [step.name for step in chosen(("restore", "roll-gateway"), on_chart=False)] == ["roll-gateway", "restore"]
    assert chosen((), on_chart=False) == list(STEPS)
    of_the_chart = chosen((), on_chart=True)
    assert {step.name for step in of_the_chart} == {"jobs", "roll-all", "evict-gateway"}
    assert len({step.name for step in STEPS}) == len(STEPS)


@pytest.mark.parametrize(
    ("name", "kind"), [("gateway", "readinessProbe"), ("presence", "livenessProbe"), ("nats", "startupProbe")]
)
def test_a_probe_of_each_kind_can_be_made_to_fail(installed: list[Manifest], name: str, kind: str):
    for change in steps._probe(kind, periodSeconds=2):
        *parents, last = change["path"].strip("/").split("/")
        found: Any = workload(installed, name)
        for part in parents:
            found = found[int(part) if isinstance(found, list) else part]
        assert change["op"] == "add" or last in found
    assert pod(installed, name)["containers"][0]["name"] == name


# --- the state of a workload -------------------------------------------------------------------------------

READY = Pod("presence-1", "1", ready=True, going=False, containers={}, restarts={}, ended={})
DONE: Manifest = {
    "metadata": {"generation": 2},
    "spec": {"replicas": 1},
    "status": {"observedGeneration": 2, "readyReplicas": 1, "updatedReplicas": 1},
}


def test_a_rollout_is_complete_when_all_pods_are_ready_and_no_old_one_is_left():
    assert is_complete(DONE, [READY])
    going = Pod("presence-0", "0", ready=True, going=True, containers={}, restarts={}, ended={})
    unready = Pod("presence-1", "1", ready=False, going=False, containers={}, restarts={}, ended={})
    for pods in ([], [READY, going], [unready]):
        assert not is_complete(DONE, pods)
    for missing in ("observedGeneration", "readyReplicas", "updatedReplicas"):
        status = {key: value for key, value in DONE["status"].items() if key != missing}
        assert not is_complete({**DONE, "status": status}, [READY])


def test_a_pod_shows_its_containers_and_the_reason_of_their_last_end():
    ended = {"terminated": {"reason": "OOMKilled"}}
    statuses = [{"name": "gateway", "containerID": "containerd://abc", "restartCount": 1, "lastState": ended}]
    conditions = [{"type": "Ready", "status": "True"}]
    found = Pod.of({
        "metadata": {"name": "gateway-1", "uid": "1"},
        "status": {"containerStatuses": statuses, "conditions": conditions},
    })  # fmt: skip
    assert (found.ready, found.going, found.containers) == (True, False, {"gateway": "abc"})
    assert (found.restarts, found.ended) == ({"gateway": 1}, {"gateway": "OOMKilled"})


def test_the_makefile_offers_the_check_and_the_handbook_has_the_bounds_of_every_step():
    assert "\nkube-check:" in (ROOT / "Makefile").read_text()
    section = (ROOT / "docs" / "operations.md").read_text().split("### Trying it in a cluster")[1].split("\n### ")[0]
    rows = re.findall(r"^\| (.+) \| (\d+) s \| (\d+) s \|$", section, re.MULTILINE)
    bounds = {
        name: (float(outside), float(chat))
        for steps_of_row, outside, chat in rows
        for name in re.findall(r"`([a-z-]+)`", steps_of_row)
    }
    assert bounds == {step.name: (step.promise.outside_seconds, step.promise.chat_seconds) for step in STEPS}


def test_a_version_before_may_have_fewer_services():
    assert services_at("HEAD") >= {"gateway", "presence", "documents", "provisioner"}
    with pytest.raises(Failed):
        services_at("no-such-commit")
