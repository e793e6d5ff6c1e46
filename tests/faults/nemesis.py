"""Faults: their kinds, how long they last, and how they heal. Everything random comes from the given dice."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import combinations

import nats

from studyroom.shared.contract import subjects
from tests.faults import stores
from tests.faults.refusals import GATEWAY, NATS, PRESENCE
from tests.faults.system import (
    DOCUMENTS_REPLICAS,
    GATEWAYS,
    GIVEN_UP_SECONDS,
    NODES,
    REPLICAS,
    SHARD_GROUPS,
    Struck,
    System,
    signal_of,
)
from tests.support.processes import NatsServer, Process, ServiceProcess
from tests.support.proxy import Link

SHORT_SECONDS = (2.0, GIVEN_UP_SECONDS - 3.0)
LONG_SECONDS = (GIVEN_UP_SECONDS + 2.0, GIVEN_UP_SECONDS + 5.0)
_BRIEF = (0.5, 2.0)
_UNTIL_A_SNAPSHOT = (5.0, 8.0)
"""The signal comes with a snapshot, which may take some seconds."""
_STEP_SECONDS = 3600
Heal = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """`takes`: the parts that do not work meanwhile. `gateways`: those that are cut off, frozen or dead."""

    name: str
    target: int
    delay_seconds: float
    seconds: float
    takes: frozenset[str] = frozenset()
    gateways: frozenset[int] = frozenset()
    ends_gateway: bool = False

    def __str__(self) -> str:
        return f"{self.name}[{self.target}] +{self.delay_seconds:.1f}s for {self.seconds:.1f}s"

    async def strike(self, system: System) -> Heal:
        return await _KINDS[self.name].strike(system, self.target)


async def inject(fault: Fault, system: System) -> None:
    """The fault, from its beginning to its end."""
    await asyncio.sleep(fault.delay_seconds)
    struck = time.time()
    heal = await fault.strike(system)
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        await heal()
        system.struck.append(Struck(struck, time.time(), str(fault)))


# --- processes ---------------------------------------------------------------------------------------------


async def _kill(system: System, process: Process) -> Heal:
    await system.end(process)

    async def heal() -> None:
        system.begin(process)

    return heal


async def _freeze(process: Process) -> Heal:
    if process.running:
        process.signal(signal.SIGSTOP)

    async def heal() -> None:
        if process.running:
            process.signal(signal.SIGCONT)

    return heal


async def _kill_gateway(system: System, target: int) -> Heal:
    return await _kill(system, system.gateways[target])


async def _freeze_gateway(system: System, target: int) -> Heal:
    return await _freeze(system.gateways[target])


async def _kill_replica(system: System, target: int) -> Heal:
    return await _kill(system, system.presence[target])


async def _freeze_replica(system: System, target: int) -> Heal:
    return await _freeze(system.presence[target])


async def _kill_documents_replica(system: System, target: int) -> Heal:
    return await _kill(system, system.documents[target])


async def _freeze_documents_replica(system: System, target: int) -> Heal:
    return await _freeze(system.documents[target])


async def _kill_all_documents(system: System, _target: int) -> Heal:
    return await _kill_all(system, system.documents)


async def _kill_before_purge(system: System, target: int) -> Heal:
    return _strike_before_purge(system, target, signal.SIGKILL)


async def _freeze_before_purge(system: System, target: int) -> Heal:
    return _strike_before_purge(system, target, signal.SIGSTOP)


def _strike_before_purge(system: System, target: int, number: signal.Signals) -> Heal:
    """The replica gets the signal when it has stored its next snapshot."""
    purges, which = divmod(target, DOCUMENTS_REPLICAS)
    replica = system.documents[which]
    signal_of(replica).write_text(f"{number.name} {purges}")

    async def heal() -> None:
        if not signal_of(replica).exists():
            system.struck_before_purge += 1
        signal_of(replica).unlink(missing_ok=True)
        if replica.running:
            replica.signal(signal.SIGCONT)
        system.begin(replica)

    return heal


async def _kill_all_presence(system: System, _target: int) -> Heal:
    return await _kill_all(system, system.presence)


async def _kill_shard_group(system: System, target: int) -> Heal:
    return await _kill_all(system, system.replicas_of(target))


async def _kill_all(system: System, processes: list[ServiceProcess]) -> Heal:
    heals = [await _kill(system, process) for process in processes]

    async def heal() -> None:
        for one in heals:
            await one()

    return heal


async def _earlier_gateway(system: System, target: int) -> Heal:
    return await _downgrade(system, system.gateways[target])


async def _earlier_presence(system: System, target: int) -> Heal:
    return await _downgrade(system, system.presence[target])


async def _earlier_documents(system: System, target: int) -> Heal:
    return await _downgrade(system, system.documents[target])


async def _earlier_provisioner(system: System, _target: int) -> Heal:
    return await _downgrade(system, system.provisioner)


async def _downgrade(system: System, process: ServiceProcess) -> Heal:
    """Downgrade as in a rolling upgrade: the version before runs beside the others, and is replaced."""
    await system.replace(process, earlier=True)

    async def heal() -> None:
        await system.replace(process, earlier=False)

    return heal


async def _move_clock_of_gateway(system: System, target: int) -> Heal:
    return _move_clock(system, f"gateway-{target}")


async def _move_clock_of_replica(system: System, target: int) -> Heal:
    return _move_clock(system, f"presence-{target}")


def _move_clock(system: System, name: str) -> Heal:
    """An hour forward, and in the end back again."""
    system.clocks.move(name, _STEP_SECONDS)

    async def heal() -> None:
        system.clocks.move(name, 0)

    return heal


# --- NATS --------------------------------------------------------------------------------------------------


async def _leader(system: System, stream: str = subjects.PRESENCE_STREAM) -> NatsServer:
    try:
        return await system.leader_of(stream)
    except (OSError, TimeoutError, KeyError, StopIteration, nats.errors.Error):
        return system.nodes[0]  # another fault has left none


async def _kill_node_of_gateway(system: System, target: int) -> Heal:
    return await _kill(system, system.node_of(target))


async def _freeze_node_of_gateway(system: System, target: int) -> Heal:
    return await _freeze(system.node_of(target))


async def _kill_node_of_replica(system: System, target: int) -> Heal:
    return await _kill(system, await asyncio.to_thread(system.node_of_presence, target))


async def _kill_chat_leader(system: System, _target: int) -> Heal:
    return await _kill(system, await _leader(system, subjects.CHAT_STREAM))


async def _freeze_chat_leader(system: System, _target: int) -> Heal:
    return await _freeze(await _leader(system, subjects.CHAT_STREAM))


async def _kill_documents_leader(system: System, _target: int) -> Heal:
    return await _kill(system, await _leader(system, subjects.DOCUMENTS_STREAM))


async def _kill_leader(system: System, _target: int) -> Heal:
    return await _kill(system, await _leader(system))


async def _freeze_leader(system: System, _target: int) -> Heal:
    return await _freeze(await _leader(system))


async def _stop_all_nats(system: System, *, lose_storage: bool) -> Heal:
    for node in system.nodes:
        await system.hold(node)
    if lose_storage:
        system.lose_storage()

    async def heal() -> None:
        for node in system.nodes:
            system.release(node)

    return heal


async def _restart_nats(system: System, _target: int) -> Heal:
    return await _stop_all_nats(system, lose_storage=False)


async def _restart_nats_empty(system: System, _target: int) -> Heal:
    return await _stop_all_nats(system, lose_storage=True)


async def _reload(system: System, _target: int) -> Heal:
    """Somebody changes the passwords' file and the users' rights, and lets all servers read it."""
    for node in system.nodes:
        accounts = node.log.parent / "accounts.conf"
        text = accounts.read_text()
        # Another right for everybody: NATS sets its users up again.
        changed = text.replace('"room.*.*.cursor"', '"room.*.*.cursor", "reloaded.*"', 1)
        accounts.write_text(changed if changed != text else text)
        if node.running:
            node.signal(signal.SIGHUP)

    async def heal() -> None:
        for node in system.nodes:
            accounts = node.log.parent / "accounts.conf"
            accounts.write_text(accounts.read_text().replace(', "reloaded.*"', ""))
            if node.running:
                node.signal(signal.SIGHUP)

    return heal


# --- the network -------------------------------------------------------------------------------------------


async def _cut_gateway(system: System, target: int) -> Heal:
    return _cut(system.ways[target])


async def _deafen_gateway(system: System, target: int) -> Heal:
    return _cut(system.ways[target], there=False)


async def _mute_gateway(system: System, target: int) -> Heal:
    return _cut(system.ways[target], back=False)


async def _cut_replica(system: System, target: int) -> Heal:
    return _cut(system.presence_ways[target])


async def _cut_documents_replica(system: System, target: int) -> Heal:
    return _cut(system.documents_ways[target])


async def _cut_all_presence(system: System, _target: int) -> Heal:
    return _cut([link for links in system.presence_ways for link in links])


def _cut(links: list[Link], *, there: bool = True, back: bool = True) -> Heal:
    for link in links:
        link.cut(there=there, back=back)

    async def heal() -> None:
        for link in links:
            link.heal()

    return heal


async def _cut_routes(system: System, target: int) -> Heal:
    one, other = list(combinations(range(NODES), 2))[target]
    links = [system.routes[one, other], system.routes[other, one]]
    for link in links:
        link.cut()

    async def heal() -> None:
        for link in links:
            link.heal()

    return heal


async def _reset_routes(system: System, target: int) -> Heal:
    one, other = list(combinations(range(NODES), 2))[target]
    for link in (system.routes[one, other], system.routes[other, one]):
        link.reset()
    return _nothing


async def _nothing() -> None:
    """Nothing is left to heal."""


def _no_disks(system: System) -> str:
    return system.disks.why_not


def _no_clocks(system: System) -> str:
    return system.clocks.why_not


def _no_history(system: System) -> str:
    return system.earlier.why_not


def why_not(name: str, system: System) -> str:
    """Why this fault cannot be played here; empty where it can."""
    return _KINDS[name].why_not(system)


@dataclass(frozen=True)
class Kind:
    """A kind of fault: its action, the parts that it takes, its number of targets, and its duration.

    `why_not`: why it cannot be played here; empty where it can.
    """

    strike: Callable[[System, int], Awaitable[Heal]]
    takes: str = ""
    """Empty: clients must be refused nothing."""
    targets: int = 1
    seconds: tuple[float, float] = SHORT_SECONDS
    ends_gateway: bool = False
    why_not: Callable[[System], str] = lambda _system: ""

    @property
    def on_gateway(self) -> bool:
        return self.takes == GATEWAY


_KINDS: dict[str, Kind] = {
    "kill a gateway": Kind(_kill_gateway, GATEWAY, GATEWAYS, ends_gateway=True),
    "freeze a gateway": Kind(_freeze_gateway, GATEWAY, GATEWAYS),
    "freeze a gateway for long": Kind(_freeze_gateway, GATEWAY, GATEWAYS, LONG_SECONDS),
    "kill a presence replica": Kind(_kill_replica, targets=REPLICAS),
    "freeze a presence replica": Kind(_freeze_replica, targets=REPLICAS),
    "kill all of presence": Kind(_kill_all_presence, PRESENCE, seconds=(10.0, 10.0)),
    "kill the NATS node of a gateway": Kind(_kill_node_of_gateway, NATS, GATEWAYS),
    "freeze the NATS node of a gateway": Kind(_freeze_node_of_gateway, NATS, GATEWAYS),
    "kill the NATS node of a presence replica": Kind(_kill_node_of_replica, NATS, REPLICAS),
    "kill the leader of the chat stream": Kind(_kill_chat_leader, NATS),
    "freeze the leader of the chat stream": Kind(_freeze_chat_leader, NATS),
    "kill the leader of the presence stream": Kind(_kill_leader, NATS),
    "freeze the leader of the presence stream": Kind(_freeze_leader, NATS),
    "cut a gateway off": Kind(_cut_gateway, GATEWAY, GATEWAYS),
    "cut a gateway off for long": Kind(_cut_gateway, GATEWAY, GATEWAYS, LONG_SECONDS),
    "cut the routes of two nodes": Kind(_cut_routes, NATS, NODES),
    "reset the routes of two nodes": Kind(_reset_routes, NATS, NODES, (0.0, 0.0)),
    "restart NATS": Kind(_restart_nats, NATS, seconds=(1.0, 3.0)),
    "restart NATS without its storage": Kind(_restart_nats_empty, NATS, seconds=(1.0, 3.0)),
    "restore an older store of one NATS server": Kind(stores.restore_one, NATS, NODES),
    "restore older stores of all NATS servers": Kind(stores.restore_all, NATS),
    "tear the newest writes of one NATS server": Kind(stores.tear_one, NATS, NODES),
    "fill the disk of one NATS server": Kind(stores.fill_one, NATS, NODES, why_not=_no_disks),
    "fill the disks of all NATS servers": Kind(stores.fill_all, NATS, why_not=_no_disks),
    "purge the chat of a room": Kind(stores.purge_room, seconds=_BRIEF),
    "trim the chat of a room": Kind(stores.trim_room, seconds=_BRIEF),
    "reload the configuration of NATS": Kind(_reload, NATS),
    "kill a shard group": Kind(_kill_shard_group, PRESENCE, len(SHARD_GROUPS)),
    "cut a presence replica off": Kind(_cut_replica, targets=REPLICAS),
    "cut all of presence off": Kind(_cut_all_presence, PRESENCE),
    "kill a documents replica": Kind(_kill_documents_replica, targets=DOCUMENTS_REPLICAS),
    "freeze a documents replica": Kind(_freeze_documents_replica, targets=DOCUMENTS_REPLICAS),
    "cut a documents replica off": Kind(_cut_documents_replica, targets=DOCUMENTS_REPLICAS),
    "kill all of documents": Kind(_kill_all_documents),
    "kill the leader of the documents stream": Kind(_kill_documents_leader, NATS),
    "kill a documents replica before its purge": Kind(
        _kill_before_purge, targets=3 * DOCUMENTS_REPLICAS, seconds=_UNTIL_A_SNAPSHOT
    ),
    "freeze a documents replica before its purge": Kind(
        _freeze_before_purge, targets=3 * DOCUMENTS_REPLICAS, seconds=_UNTIL_A_SNAPSHOT
    ),
    "let a gateway receive nothing": Kind(_deafen_gateway, GATEWAY, GATEWAYS),
    "let nobody receive from a gateway": Kind(_mute_gateway, GATEWAY, GATEWAYS),
    "move the clock of a gateway": Kind(_move_clock_of_gateway, targets=GATEWAYS, why_not=_no_clocks),
    "move the clock of a presence replica": Kind(_move_clock_of_replica, targets=REPLICAS, why_not=_no_clocks),
    "run an earlier gateway": Kind(_earlier_gateway, GATEWAY, GATEWAYS, ends_gateway=True, why_not=_no_history),
    "run an earlier presence replica": Kind(_earlier_presence, targets=REPLICAS, why_not=_no_history),
    "run an earlier documents replica": Kind(_earlier_documents, targets=DOCUMENTS_REPLICAS, why_not=_no_history),
    "run an earlier provisioner": Kind(_earlier_provisioner, why_not=_no_history),
}
NAMES = tuple(_KINDS)


def draw(name: str, dice: random.Random, *, delay_seconds: tuple[float, float] = (0.0, 0.0)) -> Fault:
    """A fault of this name with a random target and length."""
    kind = _KINDS[name]
    target = dice.randrange(kind.targets)
    return Fault(
        name=name,
        target=target,
        delay_seconds=dice.uniform(*delay_seconds),
        seconds=dice.uniform(*kind.seconds),
        takes=frozenset({kind.takes} - {""}),
        gateways=frozenset({target} if kind.on_gateway else ()),
        ends_gateway=kind.ends_gateway,
    )
