"""The checker catches services that break a promise of shared documents."""

import asyncio
import random
import re
import sys
from collections.abc import Iterator
from itertools import count

import pytest

from tests.faults import broken_documents
from tests.faults.documents import Desk
from tests.faults.nemesis import draw
from tests.faults.rounds import play
from tests.faults.system import System, running_system
from tests.support.processes import ServiceProcess

pytestmark = [pytest.mark.long, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

_ROUNDS = 6
"""The rules must catch a defect in so many rounds: random edits may miss it in one."""
_SEEDS = count(1)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(tmp_path_factory.mktemp("broken")) as running:
        for replica in running.documents:
            replica.environment["STUDYROOM_DOCUMENTS_SNAPSHOT_UPDATES"] = "5"
            replica.environment["STUDYROOM_DOCUMENTS_SURVEY_SECONDS"] = "0.5"
        yield running


async def _restart(processes: list[ServiceProcess], commands: list[list[str]]) -> None:
    for process, command in zip(processes, commands, strict=True):
        await asyncio.to_thread(process.stop)
        process.command = command
        process.start()
    for process in processes:
        await asyncio.to_thread(process.wait_ready)


_GONE = r"does not have .* acknowledged at|the store lacks .* which"
CAUGHT = {
    "acknowledged_early": ("gateway", "restart NATS", _GONE),
    "purged_too_far": ("documents", "kill a presence replica", _GONE),
    "stale_snapshots": ("documents", "kill a presence replica", _GONE),
}
"""The service with the defect, the fault of its round (which may be of no account), and the violation."""


@pytest.mark.parametrize("defect", broken_documents.DEFECTS)
async def test_a_service_that_breaks_the_promise_of_documents_is_caught(system: System, defect: str):
    service, fault, expected = CAUGHT[defect]
    processes = system.gateways if service == "gateway" else system.documents
    usual = [process.command for process in processes]
    await _restart(processes, [[sys.executable, broken_documents.__file__, defect, service]] * len(processes))
    violations: list[str] = []
    try:
        for _ in range(_ROUNDS):
            await system.wait_healthy()
            seed = next(_SEEDS)
            async with Desk.open(system, seed) as desk:
                plan = [draw(fault, random.Random(seed))]
                violations += (await play(system, [], plan, rest_seconds=3.0, desk=desk)).violations
            if any(re.search(expected, violation) for violation in violations):
                break
    finally:
        await _restart(processes, usual)
    print(*violations[:3], sep="\n")
    assert any(re.search(expected, violation) for violation in violations), violations[:5]
