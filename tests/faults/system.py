"""The system that faults are injected into: a NATS cluster, services around it, and links that can be cut.

Every service is its own user of NATS with the permissions of production, so whatever it does under any fault it may do.
"""

import asyncio
import json
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property, partial
from itertools import permutations
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client as Nats

from studyroom.services.stack.stack import free_port
from studyroom.shared.contract import subjects
from studyroom.shared.contract.presence import LOST_SECONDS, RENEWAL_SECONDS
from tests.faults.checker import Purge
from tests.faults.clocks import Clocks
from tests.faults.disks import Disks
from tests.faults.earlier import Earlier, earlier_version
from tests.faults.stored import Posted
from tests.support import backend
from tests.support.accounts import options_of, user_of
from tests.support.processes import ClusterNode, NatsServer, Process, ServiceProcess, clustered_nats_server, service
from tests.support.proxy import Link, Network
from tests.support.waiting import eventually, http_get

NODES, GATEWAYS = 3, 3
SHARD_GROUPS = ("0-31", "32-63")
REPLICAS_OF_GROUP = 2
REPLICAS = len(SHARD_GROUPS) * REPLICAS_OF_GROUP
GUARD_SECONDS = 3
GRACE_SECONDS = 2
GIVEN_UP_SECONDS = LOST_SECONDS - RENEWAL_SECONDS
"""A gateway that was cut off for longer may be given up."""
GONE_SECONDS = LOST_SECONDS + 1 + GRACE_SECONDS
"""The members of a dead gateway are gone by then, counted while NATS is well."""
_FORGOTTEN_SECONDS = 15.0
"""After a reload answers may be refused for so long, until all that had been asked before is answered."""


class System:
    def __init__(self, directory: Path, network: Network, gateway_command: list[str] | None = None) -> None:
        """`gateway_command`: what to run instead of the gateway."""
        self.directory = directory
        self.losses: list[float] = []
        """When NATS lost its storage (monotonic seconds)."""
        self.setbacks: list[float] = []
        """When it lost the newest part of it."""
        self.purges: list[Purge] = []
        self.reloads: list[float] = []
        """When NATS was made to read its configuration again (Unix seconds)."""
        self._held = Counter[Path]()
        """How many faults keep a process from running, by its log."""
        self.deleted: set[str] = set()
        """Ids of messages that were deleted, or may have been."""
        self.erased: dict[str, Posted] = {}
        """Those of them of which that was acknowledged."""
        self.posted: dict[str, Posted] = {}
        """What a backend said and was told to be stored, by its id."""
        self.disks = Disks()
        self.clocks = Clocks(directory)
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
            **backend.SETTINGS,
        }
        self.provisioner = service("provisioner", directory, everywhere, **settings, **user_of("provisioner"))

        def links() -> list[Link]:
            return [network.link(int(node.url.rsplit(":", 1)[1])) for node in self.nodes]

        self.presence_ways: list[list[Link]] = [links() for _ in range(REPLICAS)]
        """For each replica its links to the nodes."""
        self.presence = [
            service(
                "presence",
                directory,
                _through(ways),
                **settings,
                **user_of("presence"),
                **self.clocks.environment(f"presence-{number}"),
                STUDYROOM_PRESENCE_SHARDS=SHARD_GROUPS[number // REPLICAS_OF_GROUP],
            )
            for number, ways in enumerate(self.presence_ways)
        ]
        self.ways: list[list[Link]] = [links() for _ in range(GATEWAYS)]
        """For each gateway its links to the nodes."""
        self.gateways = [
            service(
                "gateway",
                directory,
                _through(ways),
                **settings,
                **user_of("gateway"),
                **self.clocks.environment(f"gateway-{number}"),
            )
            for number, ways in enumerate(self.ways)
        ]
        for gateway in self.gateways:
            gateway.command = gateway_command or gateway.command

    # --- processes that faults end and begin ---

    @cached_property
    def earlier(self) -> Earlier:
        """Made when it is first asked for, which takes some seconds."""
        return earlier_version(self.directory)

    async def end(self, process: Process) -> None:
        """Kill it, if it runs."""
        if process.running:
            process.signal(signal.SIGKILL)
            await asyncio.to_thread(process.wait)

    def begin(self, process: Process) -> None:
        """Start it, unless it runs or somebody holds it."""
        if not process.running and not self._held[process.log]:
            process.start()

    async def hold(self, process: Process) -> None:
        """Kill it, and see to it that nobody starts it: its disk is about to change."""
        self._held[process.log] += 1
        await self.end(process)

    def release(self, process: Process) -> None:
        """Whoever holds it last lets it start."""
        self._held[process.log] -= 1
        self.begin(process)

    @property
    def services(self) -> list[ServiceProcess]:
        return [self.provisioner, *self.presence, *self.gateways]

    def start(self) -> None:
        for node in self.nodes:
            self.disks.mount(self.store_of(node))
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

    def store_of(self, node: NatsServer) -> Path:
        return node.log.parent / "store"

    @property
    def went_back(self) -> bool:
        """The streams that there are have lost their newest part once."""
        return bool(self.setbacks) and (not self.losses or self.setbacks[-1] > self.losses[-1])

    def replicas_of(self, group: int) -> list[ServiceProcess]:
        """Those that serve a group of shards."""
        return self.presence[group * REPLICAS_OF_GROUP : (group + 1) * REPLICAS_OF_GROUP]

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
        """What services tried and their users may not do. After a reload NATS does not know any more who has asked."""
        lines = [line for process in self.services for line in process.output().splitlines()]
        answers, reloads = [line for line in lines if "NATS refused an answer" in line], self.reloads
        return [
            *(line for line in lines if "NATS does not allow this" in line),
            *(line for line in answers if not any(0 <= _logged_at(line) - at < _FORGOTTEN_SECONDS for at in reloads)),
        ]

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
            self.clear_store(node)

    def clear_store(self, node: NatsServer) -> None:
        """Of a node that is not running. What it may be mounted on stays."""
        for part in self.store_of(node).iterdir():
            shutil.rmtree(part) if part.is_dir() else part.unlink()


def _through(links: list[Link]) -> str:
    return ",".join(f"nats://127.0.0.1:{link.port}" for link in links)


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
        system.disks.close()


def _logged_at(line: str) -> float:
    return datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()
