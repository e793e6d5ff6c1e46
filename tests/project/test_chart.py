"""`charts/studyroom`: rendered by helm, it is the same as `k8s/`, with each option as with each component."""

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.project.schemas import GATEWAY_API, KEDA, SCHEMAS
from tests.project.test_kubernetes import (
    CERTIFICATES,
    K8S,
    VERSIONS,
    Manifest,
    named,
    of_kind,
    rendered,
    with_component,
)
from tests.project.test_kubernetes_options import read
from tests.support import helm
from tests.support.helm import Values

CHART = K8S.parent / "charts" / "studyroom"
MINIMAL = yaml.safe_load((CHART / "ci" / "minimal-values.yaml").read_text())
"""The values that have no default."""
OF_HELM = {"app.kubernetes.io/managed-by", "helm.sh/chart", "helm.sh/resource-policy"}
HASHED = re.compile(r"^(studyroom-settings|nats-config)-[a-z0-9]{10}$")
"""Names of ConfigMaps by kustomize. The chart has annotations with checksums instead."""

COMPONENTS: dict[str, Values] = {
    "zones": {"nats": {"requireZones": True}},
    "hooks": {"hooks": {"url": "https://backend.example.com/studyroom"}},
    "jobs": {"jobs": {"enabled": True}},
    "monitoring": {"monitoring": {"enabled": True}},
    "probe": {"probe": {"enabled": True}},
    "autoscaling/adapter": {"gateway": {"autoscaling": {"by": "adapter"}}},
    "autoscaling/keda": {"gateway": {"autoscaling": {"by": "keda"}}},
    "ingress/traefik": {
        "ingress": {
            "className": "traefik",
            "annotations": {
                "traefik.ingress.kubernetes.io/router.entrypoints": "websecure",
                "traefik.ingress.kubernetes.io/router.tls": "true",
            },
        }
    },
    "gateway-api": {"gatewayApi": {"enabled": True}, "networkPolicies": {"ingressNamespace": "gateway-system"}},
    "openshift": {"openshift": True},
    "keys": {
        "identityProvider": {
            "jwksUrl": "https://id.example.com/.well-known/jwks.json",
            "issuer": "https://id.example.com/",
            "audience": "studyroom",
        }
    },
}
"""Components of `k8s/overlays/prod`, and the values of the chart that mean the same."""


def charted(values: Values, namespace: str = "studyroom") -> list[Manifest]:
    """Without the pod of `helm test`."""
    files = helm.render(CHART, merged(MINIMAL, values), namespace=namespace)
    made = (yaml.load_all(text, yaml.CSafeLoader) for path, text in files.items() if "/tests/" not in path)
    return [manifest for manifests in made for manifest in manifests if manifest]


def merged(below: Values, above: Values) -> Values:
    return {
        **below,
        **{
            key: merged(below[key], value) if isinstance(value, dict) and key in below else value
            for key, value in above.items()
        },
    }


def comparable(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    """The objects by kind and name, without the additions of kustomize and of helm. The chart has no Namespace."""
    found = {}
    for manifest in manifests:
        one = plain(manifest)
        if one["kind"] != "Namespace":
            found[one["kind"], one["metadata"]["name"]] = one
    return found


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, str):
        return HASHED.sub(r"\1", value)
    if not isinstance(value, dict):
        return value
    kept = {key: plain(one) for key, one in value.items() if key not in OF_HELM and not key.startswith("checksum/")}
    # An empty `annotations` is none. The order of variables and volumes means nothing.
    kept = {key: one for key, one in kept.items() if not (key == "annotations" and not one)}
    for key in {"env", "volumes", "volumeMounts", "containers"} & kept.keys():
        kept[key] = sorted(kept[key], key=lambda one: one["name"])
    return kept


def assert_same(ours: list[Manifest], theirs: list[Manifest]) -> None:
    chart, kustomize = comparable(ours), comparable(theirs)
    assert chart.keys() == kustomize.keys()
    for key, wanted in kustomize.items():
        assert chart[key] == wanted, key


def test_the_chart_is_the_overlay_of_production():
    assert_same(charted({}), rendered("prod"))


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_option_of_the_chart_is_a_component(component: str, tmp_path: Path):
    assert_same(charted(COMPONENTS[component]), with_component(component, tmp_path))


def test_every_component_is_an_option_or_has_a_reason():
    components = {
        str(path.parent.relative_to(K8S))
        for path in K8S.rglob("kustomization.yaml")
        if yaml.safe_load(path.read_text())["kind"] == "Component"
    }
    # TLS is on. Homes depend on the controller: their manifests are applied beside the release.
    assert components - COMPONENTS.keys() == {"tls", "homes/haproxy", "homes/envoy"}


def test_helm_finds_nothing_wrong_and_the_schema_refuses_values_that_are_unknown_or_missing():
    helm.lint(CHART, MINIMAL)
    for values, problem in (
        ({}, "host"),
        ({**MINIMAL, "hots": "rooms.example.com"}, "hots"),
        (merged(MINIMAL, {"gateway": {"replica": 2}}), "replica"),
        (merged(MINIMAL, {"nats": {"replicas": 2}}), "replicas"),
        (merged(MINIMAL, {"settings": {"GATEWAY_GUESTS": True}}), "GATEWAY_GUESTS"),
        (merged(MINIMAL, {"image": {"digest": "1234"}}), "digest"),
    ):
        with pytest.raises(helm.Refused, match=problem):
            helm.render(CHART, values, namespace="studyroom")


def test_the_chart_has_the_version_of_the_package():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version("studyroom")


def test_the_schema_knows_every_value_and_its_default():
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(merged(defaults, MINIMAL), schema)

    def described(value: Any, by: dict[str, Any], path: str) -> None:
        by = by if "$ref" not in by else schema["definitions"][by["$ref"].rpartition("/")[2]]
        if isinstance(value, dict) and by.get("additionalProperties") is False and not path.endswith(".resources"):
            assert value.keys() == by["properties"].keys(), path
            for key, one in value.items():
                described(one, by["properties"][key], f"{path}.{key}")

    described(defaults, schema, "")


def test_cert_manager_makes_the_certificates_of_the_example():
    made = [one for one in charted({"nats": {"tls": {"certManager": True}}}) if "cert-manager" in one["apiVersion"]]
    assert {one["spec"].get("secretName") for one in of_kind(made, "Certificate")} == CERTIFICATES | {
        "studyroom-nats-ca"
    }
    example = {(one["kind"], one["metadata"]["name"]): one["spec"] for one in read("examples/nats-certificate.yaml")}
    assert {(one["kind"], one["metadata"]["name"]): one["spec"] for one in made} == example


def test_helm_test_runs_the_doctor_of_the_jobs():
    pod = yaml.safe_load(helm.render(CHART, MINIMAL, namespace="studyroom")["templates/tests/doctor.yaml"])
    doctor = named(charted({"jobs": {"enabled": True}}), "CronJob", "doctor")["spec"]["jobTemplate"]["spec"]["template"]
    assert pod["spec"] == doctor["spec"]
    assert doctor["metadata"]["labels"].items() <= pod["metadata"]["labels"].items()
    kubernetes_validate.validate(pod, VERSIONS[-1], strict=True)


def test_helm_test_makes_a_pass_of_the_probe_if_there_is_one():
    values = merged(MINIMAL, COMPONENTS["probe"])
    pod = yaml.safe_load(helm.render(CHART, values, namespace="studyroom")["templates/tests/probe.yaml"])
    once = named(charted(COMPONENTS["probe"]), "CronJob", "probe-once")["spec"]["jobTemplate"]["spec"]["template"]
    assert pod["spec"] == once["spec"]
    assert once["metadata"]["labels"].items() <= pod["metadata"]["labels"].items()
    kubernetes_validate.validate(pod, VERSIONS[-1], strict=True)
    without = helm.render(CHART, MINIMAL, namespace="studyroom")
    assert not yaml.safe_load(without.get("templates/tests/probe.yaml", ""))


def test_the_probe_has_the_address_the_interval_and_the_place_of_the_values():
    manifests = charted({
        "probe": {"enabled": True, "every": "1m", "url": "wss://else.example/ws", "nodeSelector": {"pool": "edge"}},
        "image": {"pullSecrets": ["registry"]},
    })  # fmt: skip
    spec = named(manifests, "Deployment", "probe")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert (spec["nodeSelector"], spec["imagePullSecrets"]) == ({"pool": "edge"}, [{"name": "registry"}])
    assert container["args"] == ["probe", "--every", "1m"]
    assert container["env"][0] == {"name": "STUDYROOM_PROBE_URL", "value": "wss://else.example/ws"}


def test_alerts_link_to_your_page_and_dashboards_have_your_labels_or_are_left_out():
    def monitored(**values: Any) -> list[Manifest]:
        return charted({"monitoring": {"enabled": True, **values}})

    of_grafana = {"labels": {"dashboards": "yes"}, "annotations": {"folder": "Rooms"}}
    manifests = monitored(labels={"team": "rooms"}, runbooks="https://wiki.example/ops", dashboards=of_grafana)
    (rule,) = of_kind(manifests, "PrometheusRule")
    alerts = [one for group in rule["spec"]["groups"] for one in group["rules"] if "alert" in one]
    assert {one["annotations"]["runbook_url"] for one in alerts} == {
        f"https://wiki.example/ops#{one['alert'].lower()}" for one in alerts
    }
    assert all(
        one["metadata"]["labels"]["team"] == "rooms" for one in of_kind(manifests, "PodMonitor", "PrometheusRule")
    )
    dashboards = [one for one in of_kind(manifests, "ConfigMap") if "dashboard" in one["metadata"]["name"]]
    assert dashboards
    assert all(one["metadata"]["labels"]["dashboards"] == "yes" for one in dashboards)
    assert all(one["metadata"]["annotations"]["folder"] == "Rooms" for one in dashboards)
    without = monitored(dashboards={"enabled": False})
    assert not [one for one in of_kind(without, "ConfigMap") if "dashboard" in one["metadata"]["name"]]
    assert of_kind(without, "PodMonitor")


def test_values_reach_the_pods():
    manifests = charted({
        "image": {"digest": "sha256:" + "a" * 64, "pullSecrets": ["registry"]},
        "settings": {"STUDYROOM_GATEWAY_GUESTS": True, "STUDYROOM_GATEWAY_CONNECTIONS_MAX": 20000000},
        "gateway": {
            "autoscaling": {"by": "none"}, "replicas": 5, "preStopSeconds": 30, "nodeSelector": {"pool": "edge"},
        },
        "nats": {"replicas": 1, "storage": {"gibibytes": 5, "className": "fast"}, "tls": {"enabled": False}},
        "priorityClasses": False, "networkPolicies": {"enabled": False}, "ingress": {"enabled": False},
    })  # fmt: skip
    gateway = named(manifests, "Deployment", "gateway")["spec"]
    pod = gateway["template"]["spec"]
    (container,) = pod["containers"]
    assert (gateway["replicas"], pod["nodeSelector"], pod["terminationGracePeriodSeconds"]) == (5, {"pool": "edge"}, 75)
    assert container["image"] == f"registry.example.com/studyroom@sha256:{'a' * 64}"
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 30}}}
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    settings = named(manifests, "ConfigMap", "studyroom-settings")["data"]
    assert settings["STUDYROOM_GATEWAY_GUESTS"] == "true"
    assert settings["STUDYROOM_GATEWAY_CONNECTIONS_MAX"] == "20000000"
    assert (settings["STUDYROOM_NATS_URL"], settings["STUDYROOM_STORAGE_REPLICAS"]) == ("nats://nats-0.nats:4222", "1")
    assert "STUDYROOM_NATS_TLS_CA_FILE" not in settings
    nats = named(manifests, "StatefulSet", "nats")["spec"]
    (claim,) = nats["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "5Gi"
    assert claim["spec"]["storageClassName"] == "fast"
    variables = {one["name"]: one.get("value") for one in nats["template"]["spec"]["containers"][0]["env"]}
    assert variables["NATS_MAX_FILE_STORE"] == "4Gi"
    assert "cluster {" not in "".join(named(manifests, "ConfigMap", "nats-config")["data"].values())
    assert not of_kind(manifests, "PriorityClass", "NetworkPolicy", "Ingress", "HorizontalPodAutoscaler")


def test_kinds_of_others_are_valid_and_in_the_namespace_of_the_release():
    manifests = charted(
        merged(COMPONENTS["monitoring"], merged(COMPONENTS["autoscaling/keda"], COMPONENTS["gateway-api"])), "elsewhere"
    )
    for manifest in manifests:
        if schema := {**SCHEMAS, **GATEWAY_API, **KEDA}.get(manifest["kind"]):
            jsonschema.validate(manifest, schema)
        if manifest["kind"] != "PriorityClass":
            assert manifest["metadata"]["namespace"] == "elsewhere"
    (scaled,) = of_kind(manifests, "ScaledObject")
    assert 'namespace="elsewhere"' in scaled["spec"]["triggers"][0]["metadata"]["query"]
