"""The requests of the admin port that look into a process, for people who have the token."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.support.processes import EmbeddedStack, ServiceProcess, nats_server, running, service
from tests.support.waiting import eventually

TOKEN = "a token for people who look into processes"
PATHS = ["/debug/tasks", "/debug/profile", "/debug/log-level"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    directory = tmp_path_factory.mktemp("diagnostics")
    with ExitStack() as opened:
        nats = opened.enter_context(running(nats_server(directory)))
        opened.enter_context(running(service("provisioner", directory, nats.url)))
        yield opened.enter_context(running(service("gateway", directory, nats.url, STUDYROOM_ADMIN_TOKEN=TOKEN)))


def ask(admin_url: str, path: str, token: str | None = TOKEN, method: str = "GET") -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    try:
        with urlopen(Request(f"{admin_url}{path}", headers=headers, method=method), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("path", PATHS)
def test_only_the_token_opens_them(gateway: ServiceProcess, path: str):
    for token in (None, "", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "ä" * 40):
        status, answer = ask(gateway.admin_url, path, token)
        assert (status, TOKEN in answer) == (401, False)
    assert ask(gateway.admin_url, "/readyz", None)[0] == 200


@pytest.mark.parametrize("path", PATHS)
def test_without_a_token_in_the_settings_they_do_not_exist(stack: EmbeddedStack, path: str):
    (admin_url, *_) = stack.of("gateway")[0]["admin_urls"]
    assert ask(admin_url, path)[0] == 404
    assert ask(admin_url, path, "")[0] == 404


def test_the_tasks_are_listed_with_the_places_where_they_wait(gateway: ServiceProcess):
    status, tasks = ask(gateway.admin_url, "/debug/tasks")
    assert status == 200
    assert " tasks at " in tasks.splitlines()[0]
    _, _, heartbeat = tasks.partition("1 at: heartbeat\n")
    frames = heartbeat.partition("\n\n")[0]
    assert "connections/heartbeat.py" in frames
    assert "await next_tick(SWEEP_SECONDS)" in frames
    assert frames.index("in _restart") < frames.index("in run")


async def test_the_level_of_logs_changes_and_goes_back_by_itself(gateway: ServiceProcess):
    def level() -> str:
        return str(json.loads(ask(gateway.admin_url, "/debug/log-level")[1])["level"])

    assert level() == "info"
    status, answer = ask(gateway.admin_url, "/debug/log-level?level=debug&seconds=1", method="PUT")
    assert (status, json.loads(answer)["level"]) == (200, "debug")
    await eventually(lambda: level() == "info", "the level of the settings is back")
    assert gateway.output().count("the level of logs has changed") == 1


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/debug/log-level?level=loud", "PUT"),
        ("/debug/log-level", "PUT"),
        ("/debug/log-level?level=debug&seconds=0", "PUT"),
        ("/debug/profile?seconds=16", "GET"),
        ("/debug/profile?seconds=nan", "GET"),
        ("/debug/profile?hertz=many", "GET"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(gateway: ServiceProcess, path: str, method: str):
    assert ask(gateway.admin_url, path, method=method)[0] == 400


async def test_a_profile_shows_stacks_with_their_samples_and_only_one_is_made_at_a_time(gateway: ServiceProcess):
    first = asyncio.create_task(asyncio.to_thread(ask, gateway.admin_url, "/debug/profile?seconds=2&hertz=200"))
    await eventually(lambda: "making a profile" in gateway.output(), "the profile has begun")
    assert ask(gateway.admin_url, "/debug/profile?seconds=1")[0] == 409
    status, profile = await first
    assert status == 200
    stacks = [line.rpartition(" ") for line in profile.splitlines()]
    samples = sum(int(count) for stack, _, count in stacks if stack.startswith("MainThread;"))
    assert 5 < samples <= 400
    assert any("chassis.process.run_process;asyncio.runners.Runner.run" in stack for stack, _, _ in stacks)
    assert any(stack.endswith("(the event loop waits)") for stack, _, _ in stacks)
    assert not any(stack.startswith("profile;") for stack, _, _ in stacks)
