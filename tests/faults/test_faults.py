"""Under every single fault rooms show the truth: nobody leaves who has not, nobody stays who has, nothing leaks."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.faults.actors import Actor, crowd
from tests.faults.documents import Desk
from tests.faults.leaks import Base, leaks
from tests.faults.nemesis import NAMES, draw, why_not
from tests.faults.rounds import play
from tests.faults.system import System, running_system

SEED = 20261123

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def base(system: System) -> Base:
    """How much of everything there is before the first client."""
    await system.wait_healthy()
    return await Base.of(system)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def actors(system: System, base: Base) -> AsyncIterator[list[Actor]]:
    cast = crowd(system, SEED)
    yield cast
    await asyncio.gather(*(actor.end() for actor in cast))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(system: System, base: Base) -> AsyncIterator[Desk]:
    async with Desk.open(system, SEED) as opened:
        yield opened


TOGETHER = (
    ("move the clock of a gateway", "move the clock of a presence replica", "cut a presence replica off",
     "cut a documents replica off"),
    ("kill a presence replica", "kill a documents replica before its purge"),
    ("freeze a presence replica", "freeze a documents replica before its purge"),
    ("kill all of presence", "kill all of documents"),
    ("kill the leader of the chat stream", "kill a documents replica"),
    ("let a gateway receive nothing", "let nobody receive from a gateway"),
    ("purge the chat of a room", "trim the chat of a room"),
)  # fmt: skip
"""Faults that disturb so little that one round will do for several. `make soak` plays each of them."""
ONLY_IN_SOAK = (
    "cut a gateway off for long",
    "restore older stores of all NATS servers",
    "tear the newest writes of one NATS server",
    "fill the disk of one NATS server", "fill the disks of all NATS servers",
    "run an earlier gateway", "run an earlier presence replica", "run an earlier documents replica",
    "run an earlier provisioner",
    # Others here are like these.
    "kill the NATS node of a gateway", "kill the NATS node of a presence replica", "reset the routes of two nodes",
    "freeze the leader of the chat stream", "freeze the leader of the presence stream", "cut the routes of two nodes",
    "freeze a documents replica", "kill the leader of the documents stream",
    "freeze a gateway", "restart NATS",
)  # fmt: skip
"""Faults that take long, or have separate tests."""
_ALONE = [name for name in NAMES if name not in {*ONLY_IN_SOAK, *(one for several in TOGETHER for one in several)}]
ROUNDS = [*TOGETHER, *((name,) for name in _ALONE)]


@pytest.mark.parametrize("names", ROUNDS, ids=[" & ".join(names) for names in ROUNDS])
async def test_under_faults_clients_see_no_members_that_are_gone_and_no_leaves_of_members_that_stay(
    system: System, actors: list[Actor], desk: Desk, names: tuple[str, ...]
):
    reasons = [f"{name}: {reason}" for name in names if (reason := why_not(name, system))]
    if len(reasons) == len(names):
        pytest.skip("; ".join(reasons))
    print(*reasons, sep="\n")
    faults = [draw(name, random.Random(f"{SEED} {name}")) for name in names if not why_not(name, system)]
    outcome = await play(system, actors, faults, desk=desk)
    print(f"seed {SEED}: {' & '.join(map(str, faults))}: at rest after {outcome.convergence_seconds:.1f} s")
    print(*outcome.violations, sep="\n")
    assert outcome.violations == []


async def test_after_everyone_has_left_nothing_is_left_of_them(
    system: System, base: Base, actors: list[Actor], desk: Desk
):
    await asyncio.gather(desk.end(), *(actor.end() for actor in actors))
    assert await leaks(system, base) == []


async def test_no_service_exceeded_the_permissions_of_its_user(system: System):
    """The permissions of production are enough for everything that services do under all those faults."""
    print(*system.struck, sep="\n")
    assert system.not_allowed() == []
