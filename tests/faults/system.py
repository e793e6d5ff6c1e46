"""The system that faults are injected into: a NATS cluster, services around it, and links that can be cut.

Every service is its own user of NATS with the permissions of production, so each may do everything that it does.
"""

import asyncio
import json
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from functools import cached_property, partial
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import nats
from nats.aio.client import Client as Nats

from studyroom.services.stack.stack import free_port
from studyroom.shared.contract import subjects
from studyroom.shared.contract.presence import LOST_SECONDS, RENEWAL_SECONDS
from tests.faults.checker import Purge
from tests.faults.clocks import Clocks
from tests.faults.disks import Disks
from tests.faults.earlier import Earlier, NoEarlierVersion, earlier_version
from tests.faults.folding import Change
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
DOCUMENTS_REPLICAS = 2
GUARD_SECONDS = 3
GRACE_SECONDS = 2
GIVEN_UP_SECONDS = LOST_SECONDS - RENEWAL_SECONDS
"""A gateway that was cut off for longer may be given up."""
GONE_SECONDS = LOST_SECONDS + 1 + GRACE_SECONDS
"""The members of a dead gateway are gone by then, counted while NATS is well."""
_SNAPSHOTS_OFTEN = {"STUDYROOM_DOCUMENTS_SNAPSHOT_UPDATES": "20", "STUDYROOM_DOCUMENTS_SURVEY_SECONDS": "2"}
_BEFORE_PURGE = Path(__file__).with_name("before_purge.py")
_LATE_SECONDS = 15.0
"""After a fault NATS may refuse answers for so long, until all that had been asked before is answered."""


class Struck(NamedTuple):
    """A fault that has struck, and its beginning and end (Unix seconds)."""

    began: float
    ended: float
    fault: str


class System:
    def __init__(
        self, directory: Path, network: Network, gateway_command: list[str] | None = None, *, homes: bool = False
    ) -> None:
        """`gateway_command`: runs instead of the gateway. `homes`: clients connect to the home of their room."""
        self.directory = directory
        self.homes = homes
        self.losses: list[float] = []
        """When NATS lost its storage (monotonic seconds)."""
        self.setbacks: list[float] = []
        """When it lost the newest part of it."""
        self.purges: list[Purge] = []
        self.struck: list[Struck] = []
        self._held = Counter[Path]()
        """How many faults keep a process from running, by its log."""
        self._present: dict[Path, tuple[list[str], dict[str, str]]] = {}
        """The command and the environment of the present version, by the log of the process."""
        self.deleted: set[str] = set()
        """Ids of messages that were deleted, or may have been."""
        self.erased: dict[str, Posted] = {}
        """Those of them of which that was acknowledged."""
        self.posted: dict[str, Posted] = {}
        """Messages of a backend that were acknowledged, by id."""
        self.changes: dict[str, Change] = {}
        """Edits and reactions that somebody asked for, by their ids."""
        self.struck_before_purge = 0
        """How often a documents replica was killed or frozen between a snapshot and its purge."""
        self.disks = Disks()
        self.clocks = Clocks(directory)
        cluster_ports = [free_port() for _ in range(NODES)]
        self.routes = {(one, other): network.link(cluster_ports[other]) for one, other in permutations(range(NODES), 2)}
        """The routes, by their two nodes."""
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
            "STUDYROOM_GATEWAY_ROOM_HINTS": str(homes).lower(),
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
        self.documents_ways: list[list[Link]] = [links() for _ in range(DOCUMENTS_REPLICAS)]
        self.documents = [
            service("documents", directory, _through(ways), **settings, **user_of("documents"), **_SNAPSHOTS_OFTEN)
            for ways in self.documents_ways
        ]
        for replica in self.documents:
            replica.command = [sys.executable, str(_BEFORE_PURGE), str(signal_of(replica)), "documents"]
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

    @asynccontextmanager
    async def replacing(self, process: Process) -> AsyncIterator[None]:
        """Stop it gently. It starts when the block ends, and nobody else starts it before."""
        self._held[process.log] += 1
        try:
            await asyncio.to_thread(process.stop)
            yield
        finally:
            self.release(process)

    def choose(self, process: ServiceProcess, *, earlier: bool) -> None:
        """Choose the version that starts the next time. The present one, if the earlier one lacks this service."""
        command, environment = self._present.setdefault(process.log, (process.command, process.environment))
        earlier = earlier and process.name in self.earlier.services
        process.command = self.earlier.command(process.name) if earlier else command
        process.environment = {**environment, **(self.earlier.environment if earlier else {})}

    async def replace(self, process: ServiceProcess, *, earlier: bool) -> None:
        """Replace it by its earlier or its present version. Returns when that is ready, or was killed meanwhile."""
        async with self.replacing(process):
            self.choose(process, earlier=earlier)

        async def works_or_is_dead() -> bool:
            return not process.running or await is_ready(process)

        await eventually(works_or_is_dead, f"the other version of {process.name} is ready", 60)

    def release(self, process: Process) -> None:
        """The last holder lets it start."""
        self._held[process.log] -= 1
        self.begin(process)

    @property
    def services(self) -> list[ServiceProcess]:
        return [self.provisioner, *self.presence, *self.documents, *self.gateways]

    def need_earlier(self) -> None:
        """Raises NoEarlierVersion if it cannot be run here."""
        if self.earlier.why_not:
            raise NoEarlierVersion(self.earlier.why_not)

    def begin_earlier(self) -> None:
        """Let all services start as those of the earlier version. Raises NoEarlierVersion."""
        self.need_earlier()
        for process in self.services:
            self.choose(process, earlier=True)

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
        """JetStream's information about a stream. Raises OSError or nats.errors.Error."""
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
        """Attempts of services that their users may not make.

        NATS may refuse an answer because of a fault: it does not know requesters any more after a reload, and it
        accepts no answer that a stall has held back for too long. The gateway asks again then.
        """
        lines = [line for process in self.services for line in process.output().splitlines()]
        return [
            *(line for line in lines if "NATS does not allow this" in line),
            *(line for line in lines if "NATS refused an answer" in line and not self._was_disturbed(_logged_at(line))),
        ]

    def _was_disturbed(self, at: float) -> bool:
        return any(fault.began <= at < fault.ended + _LATE_SECONDS for fault in self.struck)

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
        """Lose the storage of nodes that are not running."""
        self.losses.append(time.monotonic())
        for node in self.nodes:
            self.clear_store(node)

    def clear_store(self, node: NatsServer) -> None:
        """Clear the store of a node that is not running. Its mount stays."""
        for part in self.store_of(node).iterdir():
            shutil.rmtree(part) if part.is_dir() else part.unlink()


def signal_of(replica: ServiceProcess) -> Path:
    """The file that names the signal which a documents replica gets before its next purge."""
    return replica.log.with_suffix(".signal")


def _through(links: list[Link]) -> str:
    return ",".join(f"nats://127.0.0.1:{link.port}" for link in links)


def _serves_presence(node: NatsServer) -> bool:
    connections = node.monitor("connz").get("connections", [])
    return any(connection.get("name") == "studyroom-presence" for connection in connections)


async def _quiet(_error: Exception) -> None:
    """Ignore errors, because the tests cause faults."""


def _is_whole(info: dict[str, Any]) -> bool:
    cluster = info.get("cluster", {})
    replicas = cluster.get("replicas", [])
    return bool(cluster.get("leader")) and all(one["current"] and not one.get("offline") for one in replicas)


async def is_ready(process: ServiceProcess) -> bool:
    assert process.running, f"{process.name} ended:\n{process.output()[-2000:]}"
    return (await asyncio.to_thread(http_get, f"{process.admin_url}/readyz", 1))[0] == 200


@contextmanager
def running_system(
    directory: Path, gateway_command: list[str] | None = None, *, homes: bool = False, earlier: bool = False
) -> Iterator[System]:
    """`earlier`: all services begin as those of the earlier version. Raises NoEarlierVersion if there is none."""
    network = Network()
    system = System(directory, network, gateway_command, homes=homes)
    try:
        if earlier:
            system.begin_earlier()
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
