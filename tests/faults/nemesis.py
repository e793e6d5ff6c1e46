"""Faults: what goes wrong, for how long, and how it is mended. Everything random comes from the given dice."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import combinations

import nats

from shared import subjects
from tests.faults.system import GATEWAYS, GIVEN_UP_SECONDS, NODES, REPLICAS, System
from tests.support.processes import NatsServer, Process

SHORT_SECONDS = (2.0, GIVEN_UP_SECONDS - 3.0)
LONG_SECONDS = (GIVEN_UP_SECONDS + 2.0, GIVEN_UP_SECONDS + 5.0)
Mend = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """`gateways`: those that are cut off, frozen or dead through it; the others must not notice."""

    name: str
    target: int
    delay_seconds: float
    seconds: float
    gateways: frozenset[int] = frozenset()
    ends_gateway: bool = False

    def __str__(self) -> str:
        return f"{self.name}[{self.target}] +{self.delay_seconds:.1f}s for {self.seconds:.1f}s"


async def inject(fault: Fault, system: System) -> None:
    """The fault, from its beginning to its end."""
    await asyncio.sleep(fault.delay_seconds)
    mend = await _FAULTS[fault.name](system, fault.target)
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        await mend()


# --- processes ---------------------------------------------------------------------------------------------


async def _kill(process: Process) -> Mend:
    if process.running:
        process.signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)

    async def mend() -> None:
        if not process.running:
            process.start()

    return mend


async def _freeze(process: Process) -> Mend:
    if process.running:
        process.signal(signal.SIGSTOP)

    async def mend() -> None:
        if process.running:
            process.signal(signal.SIGCONT)

    return mend


async def _kill_gateway(system: System, target: int) -> Mend:
    return await _kill(system.gateways[target])


async def _freeze_gateway(system: System, target: int) -> Mend:
    return await _freeze(system.gateways[target])


async def _kill_replica(system: System, target: int) -> Mend:
    return await _kill(system.presence[target])


async def _freeze_replica(system: System, target: int) -> Mend:
    return await _freeze(system.presence[target])


async def _kill_all_presence(system: System, _target: int) -> Mend:
    mends = [await _kill(replica) for replica in system.presence]

    async def mend() -> None:
        for one in mends:
            await one()

    return mend


# --- NATS --------------------------------------------------------------------------------------------------


async def _leader(system: System, stream: str = subjects.PRESENCE_STREAM) -> NatsServer:
    try:
        return await system.leader_of(stream)
    except (OSError, TimeoutError, KeyError, StopIteration, nats.errors.Error):
        return system.nodes[0]  # another fault has left none


async def _kill_node_of_gateway(system: System, target: int) -> Mend:
    return await _kill(system.node_of(target))


async def _freeze_node_of_gateway(system: System, target: int) -> Mend:
    return await _freeze(system.node_of(target))


async def _kill_node_of_replica(system: System, target: int) -> Mend:
    return await _kill(await asyncio.to_thread(system.node_of_presence, target))


async def _kill_chat_leader(system: System, _target: int) -> Mend:
    return await _kill(await _leader(system, subjects.CHAT_STREAM))


async def _freeze_chat_leader(system: System, _target: int) -> Mend:
    return await _freeze(await _leader(system, subjects.CHAT_STREAM))


async def _kill_leader(system: System, _target: int) -> Mend:
    return await _kill(await _leader(system))


async def _freeze_leader(system: System, _target: int) -> Mend:
    return await _freeze(await _leader(system))


async def _stop_all_nats(system: System, *, lose_storage: bool) -> Mend:
    mends = [await _kill(node) for node in system.nodes]
    if lose_storage:
        system.lose_storage()

    async def mend() -> None:
        for one in mends:
            await one()

    return mend


async def _restart_nats(system: System, _target: int) -> Mend:
    return await _stop_all_nats(system, lose_storage=False)


async def _restart_nats_empty(system: System, _target: int) -> Mend:
    return await _stop_all_nats(system, lose_storage=True)


# --- the network -------------------------------------------------------------------------------------------


async def _cut_gateway(system: System, target: int) -> Mend:
    for link in system.ways[target]:
        link.cut()

    async def mend() -> None:
        for link in system.ways[target]:
            link.heal()

    return mend


async def _cut_routes(system: System, target: int) -> Mend:
    one, other = list(combinations(range(NODES), 2))[target]
    links = [system.routes[one, other], system.routes[other, one]]
    for link in links:
        link.cut()

    async def mend() -> None:
        for link in links:
            link.heal()

    return mend


async def _reset_routes(system: System, target: int) -> Mend:
    one, other = list(combinations(range(NODES), 2))[target]
    for link in (system.routes[one, other], system.routes[other, one]):
        link.reset()
    return _nothing


async def _nothing() -> None:
    """There is nothing to mend."""


_FAULTS: dict[str, Callable[[System, int], Awaitable[Mend]]] = {
    "kill a gateway": _kill_gateway,
    "freeze a gateway": _freeze_gateway,
    "freeze a gateway for long": _freeze_gateway,
    "kill a presence replica": _kill_replica,
    "freeze a presence replica": _freeze_replica,
    "kill all of presence": _kill_all_presence,
    "kill the NATS node of a gateway": _kill_node_of_gateway,
    "freeze the NATS node of a gateway": _freeze_node_of_gateway,
    "kill the NATS node of a presence replica": _kill_node_of_replica,
    "kill the leader of the chat stream": _kill_chat_leader,
    "freeze the leader of the chat stream": _freeze_chat_leader,
    "kill the leader of the presence stream": _kill_leader,
    "freeze the leader of the presence stream": _freeze_leader,
    "cut a gateway off": _cut_gateway,
    "cut a gateway off for long": _cut_gateway,
    "cut the routes of two nodes": _cut_routes,
    "reset the routes of two nodes": _reset_routes,
    "restart NATS": _restart_nats,
    "restart NATS without its storage": _restart_nats_empty,
}
NAMES = tuple(_FAULTS)
_ON_GATEWAY = {"kill a gateway", "freeze a gateway", "freeze a gateway for long", "cut a gateway off",
               "cut a gateway off for long"}  # fmt: skip
_SECONDS = {
    "kill all of presence": (10.0, 10.0),
    "restart NATS": (1.0, 3.0),
    "restart NATS without its storage": (1.0, 3.0),
    "reset the routes of two nodes": (0.0, 0.0),
}


def draw(name: str, dice: random.Random, *, delay_seconds: tuple[float, float] = (0.0, 0.0)) -> Fault:
    """A fault of this name with a random target and length."""
    targets = {"presence replica": REPLICAS, "routes": NODES}
    count = next((number for word, number in targets.items() if word in name), GATEWAYS)
    target = dice.randrange(count)
    usual = LONG_SECONDS if name.endswith("for long") else SHORT_SECONDS
    return Fault(
        name=name,
        target=target,
        delay_seconds=dice.uniform(*delay_seconds),
        seconds=dice.uniform(*_SECONDS.get(name, usual)),
        gateways=frozenset({target} if name in _ON_GATEWAY else ()),
        ends_gateway=name == "kill a gateway",
    )
