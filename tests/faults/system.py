"""The system that faults are injected into: a NATS cluster, services around it, and links that can be cut.

Every service is its own user of NATS with the permissions of production, so whatever it does under any fault it may do.
"""

import asyncio
import json
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client as Nats

from services.stack import free_port
from shared import subjects
from shared.presence import LOST_SECONDS, RENEWAL_SECONDS
from tests.support.accounts import options_of, user_of
from tests.support.processes import ClusterNode, NatsServer, ServiceProcess, clustered_nats_server, service
from tests.support.proxy import Link, Network
from tests.support.tokens import SECRET
from tests.support.waiting import eventually, http_get

NODES, GATEWAYS, REPLICAS = 3, 3, 2
GUARD_SECONDS = 3
GRACE_SECONDS = 2
GIVEN_UP_SECONDS = LOST_SECONDS - RENEWAL_SECONDS
"""A gateway that was cut off for longer may be given up."""
GONE_SECONDS = LOST_SECONDS + 1 + GRACE_SECONDS
"""The members of a dead gateway are gone by then, counted while NATS is well."""


class System:
    def __init__(self, directory: Path, network: Network, gateway_command: list[str] | None = None) -> None:
        """`gateway_command`: what to run instead of the gateway."""
        self.losses: list[float] = []
        """When NATS lost its storage (monotonic seconds)."""
        cluster_ports = [free_port() for _ in range(NODES)]
        self.routes = {(one, other): network.link(cluster_ports[other]) for one, other in permutations(range(NODES), 2)}
        """By the node that dials and the one that is dialled."""
        self.nodes = [
            clustered_nats_server(
                directory,
                ClusterNode(
                    f"n{index}",
                    cluster_ports[index],
                    tuple(link.port for (one, _), link in self.routes.items() if one == index),
                    only_by_routes=True,
                ),
                with_accounts=True,
            )
            for index in range(NODES)
        ]
        everywhere = ",".join(node.url for node in self.nodes)
        settings = {
            "STUDYROOM_PRESENCE_GRACE_SECONDS": str(GRACE_SECONDS),
            "STUDYROOM_PRESENCE_GUARD_SECONDS": str(GUARD_SECONDS),
            "STUDYROOM_STORAGE_REPLICAS": str(NODES),
            "STUDYROOM_GATEWAY_JWT_SECRET": SECRET,
        }
        self.provisioner = service("provisioner", directory, everywhere, **settings, **user_of("provisioner"))
        self.presence = [
            service("presence", directory, everywhere, **settings, **user_of("presence")) for _ in range(REPLICAS)
        ]
        self.ways: list[list[Link]] = [
            [network.link(int(node.url.rsplit(":", 1)[1])) for node in self.nodes] for _ in range(GATEWAYS)
        ]
        """For each gateway its links to the nodes."""
        self.gateways = [
            service(
                "gateway",
                directory,
                ",".join(f"nats://127.0.0.1:{link.port}" for link in ways),
                **settings,
                **user_of("gateway"),
            )
            for ways in self.ways
        ]
        for gateway in self.gateways:
            gateway.command = gateway_command or gateway.command

    @property
    def services(self) -> list[ServiceProcess]:
        return [self.provisioner, *self.presence, *self.gateways]

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready()
        for process in self.services:
            process.start()
        for process in self.services:
            process.wait_ready(60)

    def stop(self) -> None:
        for process in reversed([*self.nodes, *self.services]):
            process.stop()

    def node_of(self, gateway: int) -> NatsServer:
        """The node that a gateway is connected to; any, when it is connected to none."""
        for node, link in zip(self.nodes, self.ways[gateway], strict=True):
            if link.in_use:
                return node
        return self.nodes[0]

    def node_of_presence(self, number: int) -> NatsServer:
        """One of the nodes that presence replicas are connected to; any, when they are connected to none."""
        found = [node for node in self.nodes if _serves_presence(node)] or self.nodes
        return found[number % len(found)]

    async def leader_of(self, stream: str) -> NatsServer:
        name = (await self.stream(stream))["cluster"]["leader"]
        return next(node for node in self.nodes if node.name == name)

    async def stream(self, stream: str) -> dict[str, Any]:
        """What JetStream says of a stream. Raises OSError or nats.errors.Error."""
        connection = await self.connect()
        try:
            info: dict[str, Any] = json.loads((await connection.request(f"$JS.API.STREAM.INFO.{stream}")).data)
            return info
        finally:
            await connection.close()

    async def connect(self) -> Nats:
        """A connection to any node that answers."""
        return await nats.connect(
            [node.url for node in self.nodes],
            connect_timeout=1,
            max_reconnect_attempts=1,
            error_cb=_quiet,
            **options_of("operator"),
        )

    def not_allowed(self) -> list[str]:
        """What services tried and their users may not do."""
        lines = [line for process in self.services for line in process.output().splitlines()]
        return [line for line in lines if "NATS does not allow this" in line]

    # --- health -------------------------------------------------------------------------------------------

    async def wait_healthy(self) -> None:
        """Returns when NATS is whole, all streams are up to date everywhere, and all services are ready."""
        await eventually(self._nats_is_healthy, "NATS is healthy", 60)
        for process in self.services:
            await eventually(partial(is_ready, process), f"{process.name} is ready", 60)

    async def _nats_is_healthy(self) -> bool:
        for node in self.nodes:
            if (await asyncio.to_thread(http_get, f"{node.monitor_url}/healthz", 1))[0] != 200:
                return False
        try:
            return all([_is_whole(await self.stream(stream)) for stream in subjects.STREAMS])
        except (OSError, TimeoutError, nats.errors.Error):
            return False

    def lose_storage(self) -> None:
        """Of nodes that are not running."""
        self.losses.append(time.monotonic())
        for node in self.nodes:
            shutil.rmtree(node.log.parent / "store", ignore_errors=True)


def _serves_presence(node: NatsServer) -> bool:
    connections = node.monitor("connz").get("connections", [])
    return any(connection.get("name") == "studyroom-presence" for connection in connections)


async def _quiet(_error: Exception) -> None:
    """Faults are what these tests are about."""


def _is_whole(info: dict[str, Any]) -> bool:
    cluster = info.get("cluster", {})
    replicas = cluster.get("replicas", [])
    return bool(cluster.get("leader")) and all(one["current"] and not one.get("offline") for one in replicas)


async def is_ready(process: ServiceProcess) -> bool:
    assert process.running, f"{process.name} ended:\n{process.output()[-2000:]}"
    return (await asyncio.to_thread(http_get, f"{process.admin_url}/readyz", 1))[0] == 200


@contextmanager
def running_system(directory: Path, gateway_command: list[str] | None = None) -> Iterator[System]:
    network = Network()
    system = System(directory, network, gateway_command)
    try:
        system.start()
        yield system
    finally:
        for process in (*system.nodes, *system.services):
            if process.running:
                process.signal(signal.SIGCONT)
        system.stop()
        network.close()
