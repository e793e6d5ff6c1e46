"""`k8s/homes`: the components of production that send the members of a room to one gateway."""

import re
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest

from tests.project.schemas import GATEWAY_API, SCHEMAS
from tests.project.test_kubernetes import (
    K8S,
    VERSIONS,
    Manifest,
    configuration,
    named,
    names,
    of_kind,
    ports,
    selected,
    with_component,
)

HAPROXY = [line.strip() for line in (K8S.parent / "deploy" / "haproxy.cfg").read_text().splitlines()]
ROOM = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
CONTROLLERS = ("haproxy", "envoy")


@pytest.fixture(scope="module", params=CONTROLLERS)
def homes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return with_component(f"homes/{request.param}", tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def haproxy(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return with_component("homes/haproxy", tmp_path_factory.mktemp("haproxy"))


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return with_component("homes/envoy", tmp_path_factory.mktemp("envoy"))


def test_every_manifest_is_valid_and_clients_learn_that_hints_count(homes: list[Manifest]):
    for manifest in homes:
        if schema := {**SCHEMAS, **GATEWAY_API}.get(manifest["kind"]):
            jsonschema.validate(manifest, schema)
        else:
            kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
    assert configuration(homes)["STUDYROOM_GATEWAY_ROOM_HINTS"] == "true"


def test_every_service_leads_to_pods_and_their_ports(homes: list[Manifest]):
    for service in of_kind(homes, "Service"):
        (workload,) = selected(homes, {"matchLabels": service["spec"]["selector"]})
        assert service["metadata"]["name"].removesuffix("-rooms") == workload
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports(homes, workload).keys()


# --- HAProxy's ingress controller --------------------------------------------------------------------------


def test_the_backend_of_rooms_has_the_lines_of_the_balancer_that_is_tested(haproxy: list[Manifest]):
    annotations = named(haproxy, "Service", "gateway-rooms")["metadata"]["annotations"]
    server = next(line for line in HAPROXY if line.startswith("server-template") and "hash-key" in line)
    lines = annotations["haproxy.org/backend-config-snippet"].splitlines()
    *same, default = lines
    assert [line for line in same if line not in HAPROXY] == [
        "http-request set-var(txn.room) url_param(room),lower"  # in the frontend, and for /ws only
    ]
    assert default.removeprefix("default-server ") in server
    assert annotations["haproxy.org/route-acl"] == f"url_param(room),lower -m reg ^{ROOM}$"
    assert any(f"-m reg ^{ROOM}$" in line for line in HAPROXY)


def test_only_handshakes_with_a_room_leave_the_backend_with_the_fewest_connections(haproxy: list[Manifest]):
    ingress = named(haproxy, "Ingress", "gateway")
    (rule,) = ingress["spec"]["rules"]
    found = [(path["path"], path["pathType"], path["backend"]["service"]) for path in rule["http"]["paths"]]
    assert found == [
        ("/", "Prefix", {"name": "gateway", "port": {"name": "http"}}),
        ("/ws", "Exact", {"name": "gateway-rooms", "port": {"name": "http"}}),
    ]
    assert ingress["metadata"]["annotations"]["haproxy.org/load-balance"] == "leastconn"


# --- the Gateway API, with Envoy Gateway -------------------------------------------------------------------


def test_the_gateway_takes_the_place_of_the_ingress(envoy: list[Manifest]):
    assert not of_kind(envoy, "Ingress")
    (listener,) = named(envoy, "Gateway", "studyroom")["spec"]["listeners"]
    assert listener["hostname"] == configuration(envoy)["STUDYROOM_GATEWAY_HOSTS"]
    (rule,) = named(envoy, "NetworkPolicy", "gateway")["spec"]["ingress"]
    (allowed,) = rule["from"]
    assert allowed["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "envoy-gateway-system"}


def test_routes_lead_to_the_gateways_and_end_no_connection(envoy: list[Manifest]):
    for route in of_kind(envoy, "HTTPRoute"):
        assert route["spec"]["parentRefs"] == [{"name": "studyroom"}]
        assert route["spec"]["hostnames"] == [configuration(envoy)["STUDYROOM_GATEWAY_HOSTS"]]
        (rule,) = route["spec"]["rules"]
        assert rule["timeouts"] == {"request": "0s"}
        (backend,) = rule["backendRefs"]
        service = named(envoy, "Service", backend["name"])
        assert backend["port"] in {port["port"] for port in service["spec"]["ports"]}


def test_only_requests_that_name_a_room_are_hashed(envoy: list[Manifest]):
    """The hash of nothing would send all other requests to one pod."""
    policies = {
        target["name"]: policy["spec"]
        for policy in of_kind(envoy, "BackendTrafficPolicy")
        for target in policy["spec"]["targetRefs"]
    }
    assert policies.keys() == names(envoy, "HTTPRoute")
    assert policies["gateway"]["loadBalancer"] == {"type": "LeastRequest"}
    assert policies["gateway-rooms"]["loadBalancer"]["consistentHash"]["queryParams"] == [{"name": "room"}]
    assert policies["gateway-rooms"]["retry"]["retryOn"]["httpStatusCodes"] == [503]
    (match,) = named(envoy, "HTTPRoute", "gateway-rooms")["spec"]["rules"][0]["matches"]
    assert match["path"] == {"type": "Exact", "value": "/ws"}
    assert match["queryParams"] == [{"type": "RegularExpression", "name": "room", "value": ROOM}]


def test_the_room_of_a_client_fits_and_nothing_else_does():
    assert re.fullmatch(ROOM, "550e8400-e29b-41d4-a716-446655440000")
    assert not re.fullmatch(ROOM, "550e8400e29b41d4a716446655440000")
    assert not re.fullmatch(ROOM, "")


def test_every_component_is_offered_by_production():
    overlay = (K8S / "overlays" / "prod" / "kustomization.yaml").read_text()
    offered = {Path(found).name for found in re.findall(r"  # - ../../homes/(\w+)\n", overlay)}
    assert offered == {path.name for path in (K8S / "homes").iterdir()} == set(CONTROLLERS)
