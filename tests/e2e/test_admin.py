"""The state that a process reports on its admin port."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

from studyroom.shared.contract import subjects
from tests.support.client import clients
from tests.support.presence import connected
from tests.support.processes import NatsServer, ServiceProcess, running, service
from tests.support.waiting import eventually, http_get


def statuses(gateway: ServiceProcess) -> dict[str, int]:
    return {path: http_get(f"{gateway.admin_url}/{path}")[0] for path in ("healthz", "readyz", "balancez")}


async def test_without_nats_a_gateway_is_alive_and_not_ready_and_keeps_its_members(
    own_nats: NatsServer, tmp_path: Path
):
    """404 means to load balancers: nobody new, but do not disconnect anybody."""
    with ExitStack() as opened:
        for name in ("provisioner", "presence"):
            opened.enter_context(running(service(name, tmp_path, own_nats.url)))
        gateway = opened.enter_context(running(service("gateway", tmp_path, own_nats.url)))
        assert statuses(gateway) == {"healthz": 200, "readyz": 200, "balancez": 200}
        async with clients(gateway.url) as (client,):
            await asyncio.to_thread(own_nats.stop)
            cut_off = {"healthz": 200, "readyz": 503, "balancez": 404}
            await eventually(lambda: statuses(gateway) == cut_off, "the gateway reports that it has lost NATS")
            await client.settle()
            own_nats.start()
            await asyncio.to_thread(own_nats.wait_ready)
            await eventually(lambda: statuses(gateway)["balancez"] == 200, "the gateway is ready again")
            await client.settle()


async def test_a_gateway_whose_lease_nats_refuses_reports_it_and_keeps_its_members(
    own_nats: NatsServer, tmp_path: Path
):
    with ExitStack() as opened:
        provisioner = opened.enter_context(running(service("provisioner", tmp_path, own_nats.url)))
        opened.enter_context(running(service("presence", tmp_path, own_nats.url)))
        gateway = opened.enter_context(running(service("gateway", tmp_path, own_nats.url)))
        provisioner.stop()
        async with clients(gateway.url) as (client,), connected(own_nats.url) as nats:
            await nats.request(f"$JS.API.STREAM.DELETE.{subjects.GATEWAYS_STREAM}", timeout=5)
            cut_off = {"healthz": 200, "readyz": 503, "balancez": 404}
            await eventually(lambda: statuses(gateway) == cut_off, "the gateway reports that it has no lease")
            assert "the lease is overdue" in http_get(f"{gateway.admin_url}/readyz")[1]
            await client.settle()
