"""An upgrade from the previous release and the way back, under clients that work: `make skew`.

The services are replaced in the order of docs/operations.md, each time some of them, so every mixture is there in which
an operator may stop. In each mixture clients work, and in each something breaks. The checker judges every round.
"""

import asyncio
import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import click

from tests.faults.actors import Actor, crowd
from tests.faults.documents import Desk
from tests.faults.earlier import CHOSEN, NoEarlierVersion
from tests.faults.nemesis import Fault, Heal, draw
from tests.faults.refusals import GATEWAY
from tests.faults.rounds import Round, play
from tests.faults.system import SHARD_GROUPS, System, running_system
from tests.support.processes import ServiceProcess

DISTURBANCES = (
    "kill a gateway", "kill a presence replica", "kill a documents replica", "freeze a gateway", "restart NATS",
    "kill the leader of the chat stream", "cut a gateway off",
)  # fmt: skip
"""They are played in turn, one in each mixture of versions."""
_SETTLING_SECONDS = 0.5


@dataclass(frozen=True)
class Step(Fault):
    """Processes are replaced by their other version, one after another. Only gateways end connections meanwhile."""

    processes: tuple[ServiceProcess, ...] = ()
    earlier: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {'earlier' if self.earlier else 'present'} version"

    async def strike(self, system: System) -> Heal:
        for process in self.processes:
            await system.replace(process, earlier=self.earlier)
        return _stay


async def _stay() -> None:
    """The processes keep the version that they have got."""


def steps(system: System, *, earlier: bool) -> Iterator[Step]:
    """All steps to the earlier or to the present version, in the order of docs/operations.md."""
    groups = [system.replicas_of(group) for group in range(len(SHARD_GROUPS))]

    def step(name: str, *processes: ServiceProcess) -> Step:
        gateways = frozenset(number for number, gateway in enumerate(system.gateways) if gateway in processes)
        takes = frozenset({GATEWAY} if gateways else ())
        return Step(name, 0, 0.0, _SETTLING_SECONDS, takes, gateways, bool(gateways), processes, earlier)

    yield step("the provisioner", system.provisioner)
    yield step("one presence replica of each group", *(replicas[0] for replicas in groups))
    yield step("all of presence", *(replica for replicas in groups for replica in replicas[1:]))
    yield step("one documents replica", system.documents[0])
    yield step("all of documents", *system.documents[1:])
    yield step("one gateway", system.gateways[0])
    yield step("all gateways", *system.gateways[1:])


async def there_and_back(
    system: System, seed: int, *, begin_earlier: bool = True, disturb: bool
) -> AsyncIterator[Round]:
    """Play a round of the version that runs, then one for each step to the other version and back.

    `begin_earlier`: the earlier version runs now. `disturb`: after each step something breaks, too.
    """
    dice, disturbances = random.Random(seed), cycle(DISTURBANCES)
    await system.wait_healthy()
    actors = crowd(system, seed)
    try:
        async with Desk.open(system, seed) as desk:
            yield await _round(system, [], actors, desk)
            for earlier in (not begin_earlier, begin_earlier):
                for step in steps(system, earlier=earlier):
                    yield await _round(system, [step], actors, desk)
                    if disturb:
                        yield await _round(system, [draw(next(disturbances), dice)], actors, desk)
    finally:
        await asyncio.gather(*(actor.end() for actor in actors))


async def _round(system: System, faults: list[Fault], actors: list[Actor], desk: Desk) -> Round:
    try:
        return await play(system, actors, faults, desk=desk)
    except AssertionError as error:
        return Round(faults, [f"the round could not be played: {error}"])


@click.command()
@click.option("--from", "release", default=None, help="A tag or commit, in place of the newest release before.")
@click.option("--seed", default=7, show_default=True, help="Chooses what clients do, and what breaks.")
@click.option("--disturb/--no-disturb", default=True, help="Break something in each mixture.")
@click.option("--begin", type=click.Choice(["earlier", "present"]), default="earlier", help="The first version.")
def main(release: str | None, seed: int, disturb: bool, begin: str) -> None:
    """Upgrade from the previous release and go back, while clients work, and judge their histories."""
    if release is not None:
        os.environ[CHOSEN] = release
    directory = Path(tempfile.mkdtemp(prefix="studyroom-skew-"))
    try:
        with running_system(directory, earlier=begin == "earlier") as system:
            system.need_earlier()
            print(f"earlier: {system.earlier.name}, seed {seed}, logs in {directory}", flush=True)
            rounds = there_and_back(system, seed, begin_earlier=begin == "earlier", disturb=disturb)
            found = asyncio.run(_print_rounds(rounds))
            found += [f"not allowed: {line}" for line in system.not_allowed()]
    except NoEarlierVersion as reason:
        sys.exit(str(reason))
    print(f"violations: {len(found)}")
    sys.exit(1 if found else 0)


async def _print_rounds(rounds: AsyncIterator[Round]) -> list[str]:
    found: list[str] = []
    async for outcome in rounds:
        what = " & ".join(map(str, outcome.faults)) or "before the first step"
        print(f"{what}: at rest after {outcome.convergence_seconds:.1f} s, {outcome.messages} messages", flush=True)
        for violation in outcome.violations:
            print(f"     {violation}", flush=True)
        found += outcome.violations
    return found


if __name__ == "__main__":
    main()
