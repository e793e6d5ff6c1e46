"""Hostile clients get an answer that fits, and nobody else notices.

`python -m benchmarks.attacks` measures how long the others wait meanwhile.
"""

from collections.abc import Iterator

import pytest

from tests.hostile.attacks import ATTACKS, Attack
from tests.hostile.neighbours import Neighbours
from tests.hostile.site import Recorder, Site, running_site
from tests.support.waiting import eventually

SECONDS = 0.5


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(autouse=True)
def no_process_complains(site: Site) -> Iterator[None]:
    yield
    assert site.complaints() == []


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
async def test_an_attack_is_answered_and_costs_the_others_nothing(site: Site, attack: Attack, room: str):
    async with Recorder.listening(site) as recorder, Neighbours.talking(site.gateway.url, room) as neighbours:
        before = await site.vitals()
        got = await attack.run(site.target, SECONDS)
        await neighbours.settle()

        assert attack.gets <= set(got) <= attack.gets | attack.may_get
        assert got
        left: list[str] = []

        async def nothing_is_left() -> bool:
            left[:] = await site.leaks(before)
            return not left

        try:
            await eventually(nothing_is_left, "everything is given back", 30)
        except AssertionError:
            pytest.fail(f"left behind: {left}")
    assert recorder.subjects
    assert recorder.strange == []
