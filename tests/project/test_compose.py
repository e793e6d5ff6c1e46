"""`docker-compose.yml`: its parts fit each other. How it runs is in `tests/containers/`."""

import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from studyroom.services.probe.settings import GatewayTokens, ProbeSettings
from studyroom.services.stack.cli import _all_settings, main
from studyroom.shared.chassis.settings import OF_COMPOSE, ProcessSettings, Settings, load
from tests.support.accounts import PASSWORDS
from tests.support.compose import COMPOSE, NATS, OURS, ROOT, RUN_HERE, SERVICES, need
from tests.support.settings import settings_of

HAPROXY = (ROOT / "deploy/haproxy.cfg").read_text()
NATS_CONFIGURATION = "".join(file.read_text() for file in sorted((ROOT / "deploy/nats").glob("*.conf")))
NOT_HERE = {"grafana", "nats-exporter", "probe", "hooks"}
"""Services that the tests of the containers do not keep running."""


def test_compose_accepts_the_file():
    need("docker", "compose", "version")
    checked = subprocess.run(
        ["docker", "compose", "config", "-q"], check=False, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stderr
    assert not checked.stderr


def test_the_file_names_all_services():
    assert set(SERVICES) == {*RUN_HERE, *NOT_HERE}
    for name in OURS:
        assert SERVICES[name]["command"] == [name]
        assert SERVICES[name]["build"] == "."


def test_variables_that_only_compose_reads_are_known_as_such():
    read = set(re.findall(r"\$\{(STUDYROOM_[A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    settings: list[type[Settings]] = _all_settings()
    assert read - {variable for cls in settings for variable in cls.variables().values()} == OF_COMPOSE


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting_and_its_value_is_accepted(name: str, monkeypatch: pytest.MonkeyPatch):
    classes = settings_of(name)
    given = SERVICES[name]["environment"]
    # Shared settings are passed to each service. Some of them are for the provisioner and presence alone.
    own = given.keys() - {"STUDYROOM_STORAGE_REPLICAS"}
    assert own <= {variable for cls in classes for variable in cls.variables().values()}
    for variable, value in given.items():
        if value is not None:  # passed on when it is set
            monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-(.*)\}", r"\1", value))
    load(classes)


@pytest.mark.parametrize("name", OURS)
def test_every_setting_can_be_given_but_those_that_fit_the_containers_together(name: str):
    given = SERVICES[name]["environment"]
    there = {variable for cls in settings_of(name) for variable in cls.variables().values()}
    assert given.keys() >= there - {"STUDYROOM_ENV_FILE"}  # there is no such file in a container
    fixed = {variable for variable, value in given.items() if value is not None and f"${{{variable}:-" not in value}
    assert fixed - {"STUDYROOM_NATS_USER", "STUDYROOM_NATS_PASSWORD"} <= {
        "STUDYROOM_ADMIN_HOST", "STUDYROOM_ADMIN_PORT", "STUDYROOM_NATS_URL", "STUDYROOM_STORAGE_REPLICAS",
        "STUDYROOM_GATEWAY_HOST", "STUDYROOM_GATEWAY_PORT", "STUDYROOM_STOP_DEADLINE_SECONDS",
        "STUDYROOM_GATEWAY_DRAIN_DELAY_SECONDS",
    }  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_every_service_is_its_own_user_of_nats_with_the_password_that_nats_knows(name: str):
    given, nats = SERVICES[name]["environment"], SERVICES["nats-1"]["environment"]
    assert given["STUDYROOM_NATS_USER"] == name
    assert given["STUDYROOM_NATS_PASSWORD"] == nats[f"NATS_{name.upper()}_PASSWORD"]
    assert given["STUDYROOM_NATS_URL"] == ",".join(f"nats://{node}:4222" for node in NATS)
    assert given["STUDYROOM_STORAGE_REPLICAS"] == str(len(NATS))


def test_nats_servers_differ_in_name_and_volume_only():
    for number, name in enumerate(NATS, 1):
        server = dict(SERVICES[name])
        assert server.pop("volumes") == ["./deploy/nats:/etc/nats:ro", f"{name}:/data"]
        environment = dict(server.pop("environment"))
        assert environment.pop("NATS_NAME") == name
        assert environment.keys() - {"GOMEMLIMIT"} == set(re.findall(r"\$(NATS_\w+)", NATS_CONFIGURATION)) - {
            "NATS_NAME"
        }
        assert environment.keys() >= PASSWORDS.keys()
        assert f"@nats-{number}:6222" in environment["NATS_ROUTES"]
        assert server == {
            key: value for key, value in SERVICES[NATS[0]].items() if key not in {"volumes", "environment"}
        }


def test_passwords_of_the_file_are_not_secrets_and_can_be_set():
    for variable in PASSWORDS:
        default = SERVICES["nats-1"]["environment"][variable]
        assert re.fullmatch(rf"\$\{{STUDYROOM_{variable}:-\w+-of-this-machine\}}", default)


def test_ports_are_published_on_loopback_and_can_be_moved():
    published = {name: port for name, service in SERVICES.items() for port in service.get("ports", [])}
    assert published.keys() == {"haproxy", "prometheus", "grafana"}
    for port in published.values():
        assert re.fullmatch(r"127\.0\.0\.1:\$\{STUDYROOM_\w+:-\d+\}:\d+", port)


def test_the_load_balancer_asks_the_ports_that_gateways_have():
    environment = SERVICES["gateway"]["environment"]
    assert f"gateway:{environment['STUDYROOM_GATEWAY_PORT']}" in HAPROXY
    assert f"check port {environment['STUDYROOM_ADMIN_PORT']} " in HAPROXY
    assert f"bind :{SERVICES['haproxy']['ports'][0].rsplit(':', 1)[1]}\n" in HAPROXY


def test_gateways_trust_the_addresses_of_the_load_balancer_and_it_trusts_nobody():
    assert SERVICES["gateway"]["environment"]["STUDYROOM_GATEWAY_TRUSTED_PROXIES"]
    assert "ports" not in SERVICES["gateway"]  # only containers reach a gateway
    public = HAPROXY.partition("frontend public from base\n")[2].partition("\nfrontend ")[0]
    assert public.index("http-request del-header X-Forwarded-For\n") < public.index("option forwardfor\n")
    assert HAPROXY.count("option forwardfor") == 1


def test_gateways_wait_until_the_load_balancer_sends_no_more_clients():
    """A 404 counts at once. A check comes every second and takes at most a second."""
    assert float(SERVICES["gateway"]["environment"]["STUDYROOM_GATEWAY_DRAIN_DELAY_SECONDS"]) >= 2


def test_everything_that_can_be_asked_is_asked_whether_it_is_healthy():
    # The exporter's image has nothing to ask with, and nothing waits for it.
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == {"nats-exporter"}
    for name in OURS:
        asked = SERVICES[name]["healthcheck"]["test"][-1]
        assert f'/127.0.0.1/{SERVICES[name]["environment"]["STUDYROOM_ADMIN_PORT"]}; printf "GET /readyz ' in asked


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_hardened_and_bounded(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["restart"] == "unless-stopped"
    assert "privileged" not in service
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}


@pytest.mark.parametrize("name", OURS)
def test_compose_waits_longer_than_the_stop_deadline(name: str):
    deadline = float(SERVICES[name]["environment"]["STUDYROOM_STOP_DEADLINE_SECONDS"])
    assert float(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= deadline + 5


def test_compose_waits_until_nats_has_let_its_clients_go():
    (seconds,) = re.findall(r"^lame_duck_duration: (\d+)s$", NATS_CONFIGURATION, re.MULTILINE)
    for name in NATS:
        assert SERVICES[name]["stop_signal"] == "SIGUSR2"
        assert float(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= int(seconds) + 10


def test_mounted_files_exist():
    mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert {mount for mount in mounts if not mount.startswith(".")} == set(COMPOSE["volumes"])
    assert all((ROOT / mount).exists() for mount in mounts if mount.startswith("."))


def test_prometheus_scrapes_the_admin_port_of_every_service():
    scraped = yaml.safe_load((ROOT / "monitoring/prometheus.yml").read_text())["scrape_configs"]
    found = {job["job_name"]: job["dns_sd_configs"][0] for job in scraped if "dns_sd_configs" in job}
    assert set(found) == {*OURS, "haproxy", "nats", "probe"}
    for name in (*OURS, "probe"):
        assert found[name]["names"] == [name]
        assert str(found[name]["port"]) == SERVICES[name]["environment"]["STUDYROOM_ADMIN_PORT"]
    assert found["nats"]["names"] == ["nats-exporter"]
    assert f"-port={found['nats']['port']}" in SERVICES["nats-exporter"]["command"]
    assert f"bind :{found['haproxy']['port']}\n" in HAPROXY


def test_the_probe_runs_when_it_is_wanted_and_comes_by_a_name_that_gateways_answer_to(monkeypatch: pytest.MonkeyPatch):
    probe, gateway = SERVICES["probe"], SERVICES["gateway"]["environment"]
    assert probe["profiles"] == ["probe"]
    assert [name for name, service in SERVICES.items() if "probe" in service.get("profiles", ())] == ["probe"]
    main.commands["probe"].make_context("probe", probe["command"][1:]).close()
    for variable, value in probe["environment"].items():
        if value is not None:
            monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-(.*)\}", r"\1", value))
    classes: list[type[Settings]] = [ProcessSettings, ProbeSettings, GatewayTokens]
    known = {variable for cls in classes for variable in cls.variables().values()}
    assert probe["environment"].keys() <= known
    own = {variable for cls in (ProbeSettings, GatewayTokens) for variable in cls.variables().values()}
    assert probe["environment"].keys() >= own
    settings = load(classes)[ProbeSettings]
    assert isinstance(settings, ProbeSettings)
    parts = urlsplit(settings.url)
    assert parts.hostname in re.sub(r".*:-(.*)\}", r"\1", gateway["STUDYROOM_GATEWAY_HOSTS"]).split(",")
    assert f"bind :{parts.port}\n" in HAPROXY
    assert parts.hostname in probe["depends_on"]


def test_grafana_finds_its_dashboards_and_prometheus():
    provisioning = ROOT / "monitoring/grafana/provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards/studyroom.yml").read_text())["providers"]
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"])
    assert mounts["./monitoring/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert mounts["./monitoring/grafana/dashboards"] == provider["options"]["path"]
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (ROOT / "monitoring/grafana/dashboards" / home.relative_to(provider["options"]["path"])).exists()
    assert source["url"] == "http://prometheus:9090"
