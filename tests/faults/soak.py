"""Rounds of random faults for as long as one likes: `make soak ARGS="--minutes 20 --seed 7"`."""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from statistics import median

import click

from tests.faults.actors import Actor, crowd
from tests.faults.documents import Desk
from tests.faults.leaks import Base, leaks
from tests.faults.nemesis import NAMES, Fault, draw, why_not
from tests.faults.rounds import Round, play
from tests.faults.system import GONE_SECONDS, System, running_system

ROUNDS_PER_CROWD = 8
"""Then everyone leaves, leaks are looked for, and others come."""
_DELAYS = (0.0, 4.0)


@click.command()
@click.option("--minutes", default=20.0, show_default=True, help="How long.")
@click.option("--seed", default=None, type=int, help="Plays the same faults again; drawn when it is not given.")
@click.option("--faults", "only", multiple=True, type=click.Choice(NAMES), help="Only these; can be repeated.")
@click.option("--homes", is_flag=True, help="Clients connect to the home of their room, as by a balancer.")
def main(minutes: float, seed: int | None, only: tuple[str, ...], homes: bool) -> None:
    """Inject one to three random faults at a time while clients work, and judge their histories."""
    seed = random.randrange(10**6) if seed is None else seed
    directory = Path(tempfile.mkdtemp(prefix="studyroom-soak-"))
    print(f"seed {seed}, logs in {directory}", flush=True)
    with running_system(directory, homes=homes) as system:
        names = [name for name in only or NAMES if not why_not(name, system)]
        soak = Soak(directory, random.Random(seed), tuple(names))
        for name in NAMES:
            if reason := why_not(name, system):
                print(f"not played: {name}: {reason}", flush=True)
        asyncio.run(soak.run(system, seed, minutes * 60))
    soak.print_table()
    sys.exit(1 if soak.violations else 0)


class Soak:
    def __init__(self, directory: Path, dice: random.Random, names: tuple[str, ...]) -> None:
        self._directory = directory
        self._dice = dice
        self._names = names
        self._rounds: list[Round] = []
        self._leaks = self._before_purge = 0
        self._began = time.monotonic()
        self.violations = 0

    async def run(self, system: System, seed: int, seconds: float) -> None:
        await system.wait_healthy()
        base = await Base.of(system)
        generation = 0
        while time.monotonic() - self._began < seconds:
            actors = crowd(system, seed + generation)
            try:
                async with Desk.open(system, seed + generation) as desk:
                    for number in range(ROUNDS_PER_CROWD):
                        if time.monotonic() - self._began < seconds:
                            await self._round(system, actors, desk, self._plan() if number else self._death())
            finally:
                await asyncio.gather(*(actor.end() for actor in actors))
            left = await leaks(system, base)
            self._leaks += len(left)
            self._report("leaks", left)
            self._before_purge = system.struck_before_purge
            generation += 1

    def _death(self) -> list[Fault]:
        """A gateway that is killed and nothing else, so that its ghosts can be timed."""
        return [draw("kill a gateway", self._dice)]

    def _plan(self) -> list[Fault]:
        """One to three kinds, each once: some cannot be played twice at a time."""
        count = min(self._dice.choice([1, 2, 3]), len(self._names))
        return [draw(name, self._dice, delay_seconds=_DELAYS) for name in self._dice.sample(self._names, count)]

    async def _round(self, system: System, actors: list[Actor], desk: Desk, plan: list[Fault]) -> None:
        try:
            outcome = await play(system, actors, plan, desk=desk)
        except AssertionError as error:
            outcome = Round(plan, [f"the round could not be played: {error}"])
        self._rounds.append(outcome)
        number = len(self._rounds)
        print(
            f"{number:4} {' & '.join(map(str, plan))}: at rest after {outcome.convergence_seconds:.1f} s, "
            f"{outcome.messages} messages, {len(outcome.violations)} violations",
            flush=True,
        )
        self._report(f"round {number}", outcome.violations)
        if outcome.violations:
            self._write_histories(number, actors)
            await desk.save(self._directory, f"round-{number}")

    def _report(self, what: str, violations: list[str]) -> None:
        self.violations += len(violations)
        for violation in violations:
            print(f"     {what}: {violation}", flush=True)

    def _write_histories(self, number: int, actors: list[Actor]) -> None:
        with (self._directory / f"round-{number}.jsonl").open("w") as file:
            for actor in actors:
                for session in actor.sessions:
                    client = session.client
                    record = {
                        "user": actor.user,
                        "gateway": session.gateway,
                        "opened": session.opened,
                        "closed": session.closed,
                        "memberships": list(map(asdict, session.memberships)),
                        "log": list(zip(client.times, client.log, strict=True)),
                    }
                    file.write(json.dumps(record) + "\n")
            faults = [asdict(fault) for fault in self._rounds[-1].faults]
            file.write(json.dumps(faults, default=sorted) + "\n")

    def print_table(self) -> None:
        injected = Counter(fault.name for outcome in self._rounds for fault in outcome.faults)
        width = max(len(name) for name in NAMES) + 2
        print(f"\n{'fault':<{width}}injected")
        for name in NAMES:
            print(f"{name:<{width}}{injected[name]:8}")
        killed = [seconds for outcome in self._rounds for seconds in outcome.killed_ghost_seconds]
        convergence = [outcome.convergence_seconds for outcome in self._rounds]
        every_ghost = [seconds for outcome in self._rounds for seconds in outcome.ghost_seconds]
        rows = [
            ("rounds", str(len(self._rounds))),
            ("minutes", f"{(time.monotonic() - self._began) / 60:.1f}"),
            ("operations of clients", str(sum(outcome.operations for outcome in self._rounds))),
            ("messages seen by clients", str(sum(outcome.messages for outcome in self._rounds))),
            ("at rest after the last fault has healed, median and worst", _seconds(convergence)),
            ("ghosts of a killed gateway, median and worst", f"{_seconds(killed)} ({GONE_SECONDS} allowed)"),
            ("ghosts under all faults, median and worst", _seconds(every_ghost)),
            *self._chat_rows(),
            *self._judged_rows(),
            ("documents replicas struck between a snapshot and its purge", str(self._before_purge)),
            ("leaks", str(self._leaks)),
            ("violations", str(self.violations)),
        ]
        print()
        for name, value in rows:
            print(f"{name:<68}{value}")

    def _chat_rows(self) -> list[tuple[str, str]]:
        rounds = self._rounds
        rows = [
            ("chat messages sent", sum(outcome.chats_sent for outcome in rounds)),
            ("of which acknowledged by the end of their round", sum(outcome.acknowledged for outcome in rounds)),
            ("sent again, for their outcome was unknown", sum(outcome.repeated for outcome in rounds)),
            ("chat messages seen by clients", sum(outcome.chat_seen for outcome in rounds)),
            ("resumes that were recovered", sum(outcome.recovered for outcome in rounds)),
            ("resumes that were not: the storage was lost", sum(outcome.not_recovered for outcome in rounds)),
        ]
        return [(name, str(count)) for name, count in rows]

    def _judged_rows(self) -> list[tuple[str, str]]:
        judged = sum((outcome.judged for outcome in self._rounds), Counter[str]())
        refusals = sum((outcome.refusals for outcome in self._rounds), Counter[str]())
        rows = [(f"judged: {what}", str(count)) for what, count in sorted(judged.items())]
        return rows + [(f"refused: {what}", str(count)) for what, count in sorted(refusals.items())]


def _seconds(values: list[float]) -> str:
    return f"{median(values):.1f} s, {max(values):.1f} s" if values else "none"


if __name__ == "__main__":
    main()
