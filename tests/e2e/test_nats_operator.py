"""A NATS in operator mode, as managed ones are: services are JWTs, JetStream has a domain, files are replaced."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.client import clients
from tests.support.configured import Configured
from tests.support.operator import Operator
from tests.support.processes import ServiceProcess, running, service
from tests.support.waiting import eventually, http_get

DOMAIN = "hub"


@pytest.fixture(scope="module")
def operator() -> Operator:
    return Operator()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("operator")


@pytest.fixture(scope="module")
def configured(operator: Operator, directory: Path) -> Iterator[Configured]:
    made = Configured(directory, domain=DOMAIN)
    made.begin(operator.configuration())
    yield made
    made.server.stop()


@pytest.fixture(scope="module")
def system(configured: Configured, operator: Operator, directory: Path) -> Iterator[dict[str, ServiceProcess]]:
    with ExitStack() as opened:
        started = {}
        for name in ("provisioner", "presence", "gateway"):
            settings = {
                "STUDYROOM_NATS_CREDENTIALS_FILE": str(operator.write(directory, name)),
                "STUDYROOM_NATS_JETSTREAM_DOMAIN": DOMAIN,
            }
            started[name] = opened.enter_context(running(service(name, directory, configured.server.url, **settings)))
        yield started


async def test_the_whole_system_runs_with_jwts_and_a_domain_also_after_a_restart_of_nats(
    configured: Configured, operator: Operator, system: dict[str, ServiceProcess], room: str
):
    gateway = system["gateway"]
    async with clients(gateway.url, gateway.url) as (ada, ben):
        await ada.join(room)
        await ben.join(room)
        await ada.chat("hello")
        assert (await ben.expect("Chat"))["content"] == "hello"
        await asyncio.to_thread(configured.restart, operator.configuration())
        await eventually(lambda: http_get(f"{gateway.admin_url}/readyz")[0] == 200, "ready again")
        await ben.chat("again")
        await eventually(
            lambda: [message["content"] for message in ada.payloads("Chat")] == ["hello", "again"], "chat goes on"
        )
        async with clients(gateway.url) as (newcomer,):
            joined = await newcomer.join(room)
            assert (len(joined["users"]), joined["history"]) == (3, 2)
        await ben.leave()
        await eventually(
            lambda: ben.user in [left["user_id"] for left in ada.payloads("UserLeft")], "the leave is announced"
        )
    for process in system.values():
        assert "NATS does not allow this" not in process.output()


async def test_expired_credentials_are_reported_and_new_credentials_are_read_from_the_same_file(
    configured: Configured, operator: Operator, system: dict[str, ServiceProcess], directory: Path, room: str
):
    gateway, path = system["gateway"], directory / "gateway.creds"
    written = [path.read_text()]

    def readiness() -> str:
        return http_get(f"{gateway.admin_url}/readyz")[1]

    async with clients(gateway.url) as (client,):
        await client.join(room)
        for text, reason in (
            (operator.credentials("gateway", seconds=-1), "authorization violation"),
            (written[0][:-80], "gateway.creds has no section USER NKEY SEED"),
        ):
            path.write_text(text)
            written.append(text)
            await asyncio.to_thread(configured.restart, operator.configuration())
            await eventually(lambda: reason in readiness(), "why there is no connection")  # noqa: B023 - awaited here
            path.write_text(operator.credentials("gateway"))
            await eventually(lambda: http_get(f"{gateway.admin_url}/readyz")[0] == 200, "ready again")
        await client.chat("still here")
        await client.expect("Chat")
    output = gateway.output()
    for text in written:
        for secret in text.split():
            assert len(secret) < 40 or "---" in secret or "***" in secret or secret not in output
