"""`k8s/probe`: the component of production for the probe, with monitoring and with the Gateway API."""

from pathlib import Path
from urllib.parse import urlsplit

import kubernetes_validate
import pytest

from studyroom.services.probe.settings import GatewayTokens, ProbeSettings
from studyroom.services.stack.cli import main
from studyroom.shared.chassis.settings import ProcessSettings, load
from tests.project.schemas import GATEWAY_API, SCHEMAS
from tests.project.test_kubernetes import (
    VERSIONS,
    Manifest,
    configuration,
    container,
    environment,
    named,
    of_kind,
    rendered,
    with_component,
)


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return with_component("probe", tmp_path_factory.mktemp("probe"))


def templates(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pods of the probe by their args: those of the exporter, and of a single pass."""
    of_job = named(manifests, "CronJob", "probe-once")["spec"]["jobTemplate"]["spec"]["template"]
    return {"exporter": named(manifests, "Deployment", "probe")["spec"]["template"], "once": of_job}


def test_every_manifest_is_valid_and_the_rest_is_as_before(probed: list[Manifest]):
    for manifest in probed:
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
    before = rendered("prod")
    assert [manifest for manifest in probed if manifest in before] == before


@pytest.mark.parametrize("kind", ["exporter", "once"])
def test_its_pods_are_restricted_and_have_no_account_and_no_way_to_nats(probed: list[Manifest], kind: str):
    template = templates(probed)[kind]
    spec = template["spec"]
    assert (spec["securityContext"]["runAsNonRoot"], spec["automountServiceAccountToken"]) == (True, False)
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["enableServiceLinks"] is False
    (one,) = spec["containers"]
    assert one["securityContext"] == container(probed, "gateway")["securityContext"]
    assert one["resources"]["requests"].keys() == {"cpu", "memory"}
    assert one["resources"]["limits"].keys() == {"memory"}
    assert (one["image"], one["envFrom"]) == tuple(container(probed, "gateway")[key] for key in ("image", "envFrom"))
    assert "studyroom/nats-client" not in template["metadata"]["labels"]
    assert not {"STUDYROOM_NATS_USER", "STUDYROOM_NATS_PASSWORD"} & {variable["name"] for variable in one["env"]}


@pytest.mark.parametrize("kind", ["exporter", "once"])
def test_it_comes_by_the_host_of_the_ingress_and_signs_with_the_secret_of_the_gateway(
    probed: list[Manifest], kind: str, monkeypatch: pytest.MonkeyPatch
):
    (one,) = templates(probed)[kind]["spec"]["containers"]
    given = {variable["name"]: variable for variable in one["env"]}
    for variable, value in {
        **configuration(probed),
        "STUDYROOM_PROBE_URL": given["STUDYROOM_PROBE_URL"]["value"],
    }.items():
        monkeypatch.setenv(variable, value)
    settings = load([ProcessSettings, ProbeSettings, GatewayTokens])[ProbeSettings]
    assert isinstance(settings, ProbeSettings)
    parts = urlsplit(settings.url)
    (ingress,) = of_kind(probed, "Ingress")
    assert (parts.scheme, parts.hostname, parts.path) == ("wss", ingress["spec"]["rules"][0]["host"], "/ws")
    secret = given["STUDYROOM_GATEWAY_JWT_SECRET"]["valueFrom"]["secretKeyRef"]
    of_gateway = environment(probed, "gateway")["STUDYROOM_GATEWAY_JWT_SECRET"]["valueFrom"]["secretKeyRef"]
    assert {key: secret[key] for key in ("name", "key")} == of_gateway
    assert secret["optional"] is True
    main.commands["probe"].make_context("probe", one["args"][1:]).close()
    assert one["args"][0] == "probe"
    assert ("--every" in one["args"]) is (kind == "exporter")


def test_a_single_pass_runs_only_when_somebody_wants_it_and_once(probed: list[Manifest]):
    job = named(probed, "CronJob", "probe-once")["spec"]
    assert job["suspend"] is True
    assert job["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert job["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_policies_let_it_reach_the_ingress_and_the_world_by_https_and_let_prometheus_in(probed: list[Manifest]):
    out = named(probed, "NetworkPolicy", "public-clients")["spec"]
    for template in templates(probed).values():
        assert out["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    to_ingress, to_world = out["egress"]
    (from_ingress,) = named(probed, "NetworkPolicy", "gateway")["spec"]["ingress"]
    assert to_ingress == {"to": from_ingress["from"]}
    assert to_world == {"ports": [{"port": 443, "protocol": "TCP"}]}
    scrapes = named(probed, "NetworkPolicy", "probe")["spec"]
    assert scrapes["podSelector"]["matchLabels"].items() <= templates(probed)["exporter"]["metadata"]["labels"].items()
    assert scrapes["ingress"] == named(probed, "NetworkPolicy", "scrapes")["spec"]["ingress"]


def test_prometheus_scrapes_it_under_the_name_that_rules_and_dashboards_know(tmp_path: Path):
    manifests = with_both("monitoring", tmp_path)
    monitor = named(manifests, "PodMonitor", "probe")["spec"]
    template = templates(manifests)["exporter"]
    assert monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert template["metadata"]["labels"][monitor["jobLabel"]] == "probe"
    (endpoint,) = monitor["podMetricsEndpoints"]
    (one,) = template["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in one["ports"]}
    assert ports[endpoint["port"]] == int(configuration(manifests)["STUDYROOM_ADMIN_PORT"])


@pytest.mark.parametrize("component", ["gateway-api", "homes/envoy"])
def test_with_another_way_in_it_may_go_that_way(component: str, tmp_path: Path):
    manifests = with_both(component, tmp_path)
    to_proxies, _ = named(manifests, "NetworkPolicy", "public-clients")["spec"]["egress"]
    (from_proxies,) = named(manifests, "NetworkPolicy", "gateway")["spec"]["ingress"]
    assert to_proxies["to"] == from_proxies["from"]
    for manifest in manifests:
        if manifest["kind"] not in {*SCHEMAS, *GATEWAY_API}:
            kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


def with_both(component: str, directory: Path) -> list[Manifest]:
    """Production with the probe and another component."""
    with_component("probe", directory)
    overlay = directory / "k8s" / "overlays" / "prod" / "kustomization.yaml"
    overlay.write_text(overlay.read_text().replace(f"  # - ../../{component}\n", f"  - ../../{component}\n"))
    return rendered("prod", directory / "k8s")
