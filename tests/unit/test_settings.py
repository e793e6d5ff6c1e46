import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from studyroom.gateway.settings import GatewaySettings
from studyroom.presence.settings import PresenceSettings
from studyroom.services.documents.settings import DocumentsSettings
from studyroom.services.hooks.settings import HooksSettings
from studyroom.services.probe.settings import ProbeSettings
from studyroom.services.stack.cli import _all_settings
from studyroom.shared.chassis.settings import (
    BadSettings,
    NatsSettings,
    ProcessSettings,
    Settings,
    StorageSettings,
    describe,
    load,
    load_or_exit,
    read_env_file,
    unknown_variables,
)
from studyroom.shared.chassis.shards import parse_shards
from studyroom.shared.chassis.tracing.settings import TracesSettings

CLASSES: list[type[Settings]] = _all_settings()
EXAMPLE = Path(__file__).parents[2] / ".env.example"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch):
    for cls in CLASSES:
        for variable in cls.variables().values():
            monkeypatch.delenv(variable, raising=False)


def problems() -> dict[str, str]:
    with pytest.raises(BadSettings) as caught:
        load(CLASSES)
    return caught.value.problems


def test_every_class_of_settings_is_loaded_by_default():
    of_services = {DocumentsSettings, GatewaySettings, HooksSettings, PresenceSettings, ProbeSettings, StorageSettings}
    assert set(load(CLASSES)) == {ProcessSettings, NatsSettings, TracesSettings, *of_services}


def test_a_variable_is_named_after_its_class_and_field(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STUDYROOM_GATEWAY_PING_INTERVAL_SECONDS", "7.5")
    loaded = load([GatewaySettings])[GatewaySettings]
    assert isinstance(loaded, GatewaySettings)
    assert loaded.ping_interval_seconds == 7.5


def test_no_two_settings_share_a_variable():
    variables = [variable for cls in CLASSES for variable in cls.variables().values()]
    assert len(variables) == len(set(variables))


@pytest.mark.parametrize(
    ("text", "shards"),
    [("0-63", set(range(64))), ("5", {5}), ("0-1, 40,62-63", {0, 1, 40, 62, 63})],
)
def test_shards_are_numbers_and_ranges(text: str, shards: set[int]):
    assert parse_shards(text) == shards


@pytest.mark.parametrize("text", ["", "64", "0-64", "5-4", "a", "-1", "1,", "0-5,5", "1-2-3", "٣"])
def test_shards_that_make_no_sense_are_refused(text: str):
    with pytest.raises(ValueError, match=r"shard|0-63"):
        parse_shards(text)


# --- bad values --------------------------------------------------------------------------------------------

BAD = {
    "STUDYROOM_LOG_LEVEL": "loud",
    "STUDYROOM_ADMIN_PORT": "65536",
    "STUDYROOM_ADMIN_TOKEN": "short",
    "STUDYROOM_TRACES_ENDPOINT": "collector:4318",
    "STUDYROOM_TRACES_SAMPLE_RATIO": "1.5",
    "STUDYROOM_PRESENCE_SHARDS": "0-64",
    "STUDYROOM_STOP_DEADLINE_SECONDS": "0",
    "STUDYROOM_NATS_URL": "http://127.0.0.1",
    "STUDYROOM_NATS_RECONNECT_MAX_WAIT_SECONDS": "much",
    "STUDYROOM_GATEWAY_PORT": "-1",
    "STUDYROOM_GATEWAY_GUESTS": "perhaps",
    "STUDYROOM_GATEWAY_JWT_SECRET": "short",
    "STUDYROOM_GATEWAY_API_KEYS": "backend:a-key-in-clear",
    "STUDYROOM_GATEWAY_JWKS_URL": "http://id.example/keys",
    "STUDYROOM_GATEWAY_JWKS_RETRY_SECONDS": "0",
    "STUDYROOM_GATEWAY_JWT_AUDIENCE": "studyroom guest",
    "STUDYROOM_GATEWAY_JWT_LEEWAY_SECONDS": "3600",
    "STUDYROOM_GATEWAY_HOSTS": "rooms.example.org:443",
    "STUDYROOM_GATEWAY_TRUSTED_PROXIES": "10.0.0.1/8",
    "STUDYROOM_GATEWAY_JOINS_PER_MINUTE": "0",
    "STUDYROOM_GATEWAY_PING_TIMEOUT_SECONDS": "nan",
    "STUDYROOM_PRESENCE_CONCURRENT_REQUESTS": "0",
    "STUDYROOM_PROBE_URL": "wss:///ws",
    "STUDYROOM_STORAGE_REPLICAS": "6",
    "STUDYROOM_STORAGE_KIND": "tape",
}


@pytest.mark.parametrize("variable", BAD)
def test_a_bad_value_is_refused_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch, variable: str):
    monkeypatch.setenv(variable, BAD[variable])
    assert list(problems()) == [variable]


def test_all_bad_values_are_reported_at_once(monkeypatch: pytest.MonkeyPatch):
    for variable, value in BAD.items():
        monkeypatch.setenv(variable, value)
    assert set(problems()) == set(BAD)


def test_bad_settings_end_the_process_with_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for variable, value in BAD.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as caught:
        load_or_exit(CLASSES)
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert all(f"  {variable}: " in printed for variable in BAD)


@pytest.mark.parametrize("url", ["http://user:hunter2@nats", "nats://user:hunter2/@nats:4222", "nats://u:hunter2#@n"])
def test_a_secret_never_shows_in_an_error(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setenv("STUDYROOM_GATEWAY_JWT_SECRET", "hunter2")
    monkeypatch.setenv("STUDYROOM_NATS_URL", url)
    with pytest.raises(BadSettings) as caught:
        load(CLASSES)
    chain = caught.value.__cause__, caught.value.__context__
    assert "hunter2" not in f"{caught.value!s}{caught.value!r}{chain}"


def test_a_secret_never_shows_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STUDYROOM_GATEWAY_JWT_SECRET", "hunter2" * 6)
    monkeypatch.setenv("STUDYROOM_NATS_USER", "ada")
    monkeypatch.setenv("STUDYROOM_NATS_PASSWORD", "hunter2")
    assert "hunter2" not in f"{load(CLASSES)!r}"


def test_a_server_is_shown_without_the_password_in_its_address(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STUDYROOM_NATS_URL", "nats://ada:hunter@2@a:1,tls://b:2")
    assert NatsSettings().addresses == ["nats://a:1", "tls://b:2"]


@pytest.mark.parametrize("url", ["https://ada:hunter2@id.example/keys", "http://ada@localhost/keys"])
def test_an_address_of_keys_names_no_user(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setenv("STUDYROOM_GATEWAY_JWKS_URL", url)
    assert list(problems()) == ["STUDYROOM_GATEWAY_JWKS_URL"]


@pytest.mark.parametrize("only", ["USER", "PASSWORD"])
def test_a_user_of_nats_has_a_password_and_the_other_way_round(monkeypatch: pytest.MonkeyPatch, only: str):
    monkeypatch.setenv(f"STUDYROOM_NATS_{only}", "ada")
    assert list(problems()) == ["STUDYROOM_NATS_PASSWORD"]


@pytest.mark.parametrize("url", ["nats://a,nats://b:4222/", "tls://ada:password@a:1", "nats://[::1]:4222"])
def test_servers_are_named_by_host_and_port(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setenv("STUDYROOM_NATS_URL", url)
    assert len(NatsSettings().addresses) == len(url.split(","))


@pytest.mark.parametrize(
    "url",
    [
        ",",
        " , ",
        "nats://a,http://b",
        "nats://",
        "nats://:4222",
        "nats://a:99999",
        "nats://a:b",
        "nats://a/b",
        "nats://a?b",
    ],
)
def test_every_server_must_be_one_of_nats(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setenv("STUDYROOM_NATS_URL", url)
    assert list(problems()) == ["STUDYROOM_NATS_URL"]


def test_several_servers_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STUDYROOM_NATS_URL", " nats://a:1, tls://b:2,")
    loaded = load([NatsSettings])[NatsSettings]
    assert isinstance(loaded, NatsSettings)
    assert loaded.url == ("nats://a:1", "tls://b:2")


# --- the example -------------------------------------------------------------------------------------------


def test_the_example_matches_the_settings():
    assert EXAMPLE.read_text("utf-8") == describe(CLASSES)


def test_every_setting_is_documented():
    undescribed = [
        variable
        for cls in CLASSES
        for field, variable in cls.variables().items()
        if not (cls.model_fields[field].description or "").endswith(".")
    ]
    assert undescribed == []
    assert all(cls.__doc__ for cls in CLASSES)


def test_the_example_without_its_comment_signs_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    defaults = load(CLASSES)
    for variable, value in re.findall(r"^# (STUDYROOM_\w+)=(.*)$", EXAMPLE.read_text("utf-8"), re.MULTILINE):
        monkeypatch.setenv(variable, value)
    assert load(CLASSES) == defaults


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch):
    defaults = load(CLASSES)
    for cls in CLASSES:
        for variable in cls.variables().values():
            monkeypatch.setenv(variable, "")
    assert load(CLASSES) == defaults


def test_a_certificate_and_its_key_go_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STUDYROOM_NATS_TLS_CERT_FILE", __file__)
    assert problems().keys() == {"STUDYROOM_NATS_TLS_KEY_FILE"}
    monkeypatch.setenv("STUDYROOM_NATS_TLS_KEY_FILE", __file__)
    assert "STUDYROOM_NATS_TLS_CA_FILE" in problems()["STUDYROOM_NATS_TLS_KEY_FILE"]
    monkeypatch.setenv("STUDYROOM_NATS_TLS_CA_FILE", __file__)
    load(CLASSES)


@pytest.mark.parametrize(
    "bad", ["app.example.org", "https://app.example.org/", "https://App.example.org", "*, nonsense"]
)
def test_a_bad_origin_stops_the_process_at_start(monkeypatch: pytest.MonkeyPatch, bad: str):
    monkeypatch.setenv("STUDYROOM_GATEWAY_ORIGINS", bad)
    with pytest.raises(ValidationError, match="an origin is spelled"):
        GatewaySettings()


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STUDYROOM_GATEWAY_ORIGINS", "https://a.example, http://b.example:8080")
    assert GatewaySettings().origins == ("https://a.example", "http://b.example:8080")


def test_a_cookie_holds_no_token_where_any_page_may_connect(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STUDYROOM_GATEWAY_JWT_COOKIE", "session")
    monkeypatch.setenv("STUDYROOM_GATEWAY_ORIGINS", "https://app.example")
    load(CLASSES)
    monkeypatch.setenv("STUDYROOM_GATEWAY_ORIGINS", "*")
    assert list(problems()) == ["STUDYROOM_GATEWAY_JWT_COOKIE"]


@pytest.mark.parametrize("url", ["https://id.example/keys", "http://127.0.0.1:9000/keys", "http://localhost/keys"])
def test_keys_come_by_https_or_from_this_machine(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setenv("STUDYROOM_GATEWAY_JWKS_URL", url)
    load(CLASSES)


@pytest.mark.parametrize("url", ["http://id.example/keys", "file:///etc/keys", "keys", "https://", "ftp://localhost/k"])
def test_keys_come_from_nowhere_else(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setenv("STUDYROOM_GATEWAY_JWKS_URL", url)
    assert list(problems()) == ["STUDYROOM_GATEWAY_JWKS_URL"]


# --- .env, and variables that are no settings ---------------------------------------------------------------


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    yield tmp_path / ".env"
    os.environ.clear()
    os.environ.update(before)


def test_settings_may_stand_in_a_file(env_file: Path):
    env_file.write_text("STUDYROOM_GATEWAY_CHAT_MAX_CHARS=17 # short\nexport STUDYROOM_LOG_LEVEL='debug'\n")
    read_env_file()
    loaded = load([GatewaySettings, ProcessSettings])
    assert (loaded[GatewaySettings].chat_max_chars, loaded[ProcessSettings].log_level) == (17, "debug")  # type: ignore[attr-defined]


def test_the_environment_comes_before_the_file(env_file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STUDYROOM_LOG_LEVEL", "error")
    env_file.write_text("STUDYROOM_LOG_LEVEL=debug\n")
    read_env_file()
    assert load([ProcessSettings])[ProcessSettings].log_level == "error"  # type: ignore[attr-defined]


def test_only_variables_of_studyroom_are_taken_from_the_file(env_file: Path):
    env_file.write_text("STUDYROOM_LOG_LEVEL=debug\nHTTP_PROXY_OF_NOBODY=x\n")
    read_env_file()
    assert "HTTP_PROXY_OF_NOBODY" not in os.environ


def test_another_file_or_none_can_be_named(env_file: Path, monkeypatch: pytest.MonkeyPatch):
    env_file.write_text("STUDYROOM_LOG_LEVEL=debug\n")
    monkeypatch.setenv("STUDYROOM_ENV_FILE", "")
    read_env_file()
    assert "STUDYROOM_LOG_LEVEL" not in os.environ
    env_file.with_name("other").write_text("STUDYROOM_LOG_LEVEL=warning\n")
    monkeypatch.setenv("STUDYROOM_ENV_FILE", "other")
    read_env_file()
    assert os.environ["STUDYROOM_LOG_LEVEL"] == "warning"


@pytest.mark.parametrize(
    ("variable", "similar"),
    [
        ("STUDYROOM_GATEWAY_ORIGIN", "STUDYROOM_GATEWAY_ORIGINS"),
        ("STUDYROOM_NATS_URLS", "STUDYROOM_NATS_URL"),
        ("STUDYROOM_CHAT_MAX_CHARS", "STUDYROOM_GATEWAY_CHAT_MAX_CHARS"),
        ("STUDYROOM_XYZZY", None),
    ],
)
def test_an_unknown_variable_is_named_with_the_setting_most_like_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, similar: str | None
):
    monkeypatch.setenv(variable, "x")
    assert unknown_variables(CLASSES)[variable] == similar


@pytest.mark.parametrize(
    "variable", ["STUDYROOM_SERVICE_HOST", "STUDYROOM_GATEWAY_SERVICE_PORT_HTTP", "STUDYROOM_PORT_8080_TCP_ADDR"]
)
def test_variables_that_kubernetes_adds_for_a_service_are_not_mistakes(monkeypatch: pytest.MonkeyPatch, variable: str):
    monkeypatch.setenv(variable, "10.0.0.1")
    assert variable not in unknown_variables(CLASSES)
