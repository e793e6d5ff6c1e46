"""The previous release and the present version serve the same clients, in every mixture of an upgrade."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.faults.earlier import BASELINE, CHOSEN, NoEarlierVersion, previous_release
from tests.faults.skew import steps, there_and_back
from tests.faults.system import System, running_system
from tests.support.proxy import Network

SEED = 20261201


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_in_every_mixture_of_two_releases_clients_lose_nothing_and_see_the_truth(tmp_path: Path):
    try:
        with running_system(tmp_path, earlier=True) as system:
            rounds = [outcome async for outcome in there_and_back(system, SEED, disturb=False)]
            refused = system.not_allowed()
    except NoEarlierVersion as reason:
        pytest.skip(str(reason))
    print(*(f"{outcome.faults}: {outcome.convergence_seconds:.1f} s" for outcome in rounds), sep="\n")
    assert {str(outcome.faults): outcome.violations for outcome in rounds if outcome.violations} == {}
    assert refused == []


def test_the_steps_replace_every_service_once_in_the_order_of_an_upgrade(tmp_path: Path):
    network = Network()
    try:
        system = System(tmp_path, network)
        replaced = [process for step in steps(system, earlier=False) for process in step.processes]
    finally:
        network.close()
    assert [process.name for process in replaced] == [
        "provisioner", *["presence"] * len(system.presence), *["documents"] * len(system.documents),
        *["gateway"] * len(system.gateways),
    ]  # fmt: skip
    assert len({process.log for process in replaced}) == len(system.services)


def test_the_previous_release_is_the_newest_tag_before_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(CHOSEN, raising=False)

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
        clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, env=clean)

    def commit() -> None:
        git("commit", "--allow-empty", "--no-gpg-sign", "--no-verify", "-m", "Change")

    git("init")
    commit()
    commit()
    assert previous_release(tmp_path) == BASELINE
    git("tag", "v0.1.0")
    git("tag", "nightly")
    assert previous_release(tmp_path) == BASELINE, "a release is compared with the one before it"
    commit()
    assert previous_release(tmp_path) == "v0.1.0"
    git("tag", "v0.2.0")
    assert previous_release(tmp_path) == "v0.1.0"
    commit()
    assert previous_release(tmp_path) == "v0.2.0"
    monkeypatch.setenv(CHOSEN, "v0.1.0")
    assert previous_release(tmp_path) == "v0.1.0"
