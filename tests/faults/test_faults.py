"""Under every single fault rooms show the truth: nobody leaves who has not, nobody stays who has, nothing leaks."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.faults.actors import Actor, crowd
from tests.faults.leaks import Base, leaks
from tests.faults.nemesis import NAMES, draw
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


@pytest.mark.parametrize("name", NAMES)
async def test_under_a_fault_nobody_is_shown_who_is_gone_and_nobody_leaves_who_stays(
    system: System, actors: list[Actor], name: str
):
    fault = draw(name, random.Random(f"{SEED} {name}"))
    outcome = await play(system, actors, [fault])
    print(f"seed {SEED}: {fault}: at rest after {outcome.convergence_seconds:.1f} s, {outcome.messages} messages")
    assert outcome.violations == []


async def test_after_everyone_has_left_nothing_is_left_of_them(system: System, base: Base, actors: list[Actor]):
    await asyncio.gather(*(actor.end() for actor in actors))
    assert await leaks(system, base) == []


async def test_no_service_did_what_its_user_may_not_do(system: System):
    """After all those faults: the permissions of production are enough for whatever services do under them."""
    assert system.not_allowed() == []
