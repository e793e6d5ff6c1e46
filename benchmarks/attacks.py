"""Measures how each attack of `tests/hostile` affects well-behaved clients: `make attacks` prints the table of
`docs/conformance.md`.

Four members of a room send chat and cursors through a gateway, which another process attacks for a while. The time of
chat is from its author to each member through the stream, and of cursors through the gateway. Memory is the gateway's.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.hostile.attacks import ATTACKS
from tests.hostile.neighbours import Neighbours
from tests.hostile.site import Site, running_site

_SETTLE_SECONDS = 3.0
_DEADLINE_SECONDS = 60.0


@dataclass(frozen=True)
class Felt:
    chat_p99_ms: float
    cursor_p99_ms: float

    @classmethod
    def of(cls, neighbours: Neighbours, since: float, until: float) -> "Felt":
        chat, cursors = neighbours.latencies(since, until)
        return cls(_p99_ms(chat), _p99_ms(cursors))


def _p99_ms(seconds: list[float]) -> float:
    return sorted(seconds)[int(0.99 * (len(seconds) - 1))] * 1000 if seconds else float("nan")


async def measure(name: str, site: Site, seconds: float) -> str:
    """Measure one attack. Return a line of the table."""
    async with Neighbours.talking(site.gateway.url, str(uuid4())) as neighbours:
        await asyncio.sleep(1.0)  # joining is over
        began = time.monotonic()
        await asyncio.sleep(seconds)
        memory = site.resident_bytes
        attacked = time.monotonic()
        got = await _attack(name, site, seconds)
        ended = time.monotonic()
        await asyncio.sleep(_SETTLE_SECONDS)
        await neighbours.settle()
        before = Felt.of(neighbours, began, attacked)
        during = Felt.of(neighbours, attacked, ended)
    answers = ", ".join(f"`{answer}` {count:,}" for answer, count in sorted(got.items(), key=lambda pair: -pair[1])[:4])
    return (
        f"| {name.replace('_', ' ')} | {answers} | {before.chat_p99_ms:.0f} → {during.chat_p99_ms:.0f} ms "
        f"| {before.cursor_p99_ms:.0f} → {during.cursor_p99_ms:.0f} ms "
        f"| {memory / 1e6:.0f} → {site.resident_bytes / 1e6:.0f} MB |"
    )


async def _attack(name: str, site: Site, seconds: float) -> dict[str, int]:
    """Attack from another process, with a lower priority than the measured ones."""
    command = ["nice", "-n", "5", sys.executable, "-m", "tests.hostile.attacks", name, site.gateway.url, str(seconds)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(_DEADLINE_SECONDS):
        output, _ = await process.communicate()
    answers: dict[str, int] = json.loads(output)
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(prog="make attacks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of quiet, and of each attack")
    parser.add_argument("--attack", choices=sorted(ATTACKS), action="append", help="only these")
    arguments = parser.parse_args()
    print("| attack | what the attacker receives | chat, p99 | cursors, p99 | memory |")
    print("| --- | --- | ---: | ---: | ---: |", flush=True)
    with tempfile.TemporaryDirectory() as directory, running_site(Path(directory)) as site:
        for name in arguments.attack or ATTACKS:
            print(asyncio.run(measure(name, site, arguments.seconds)), flush=True)
        for complaint in site.complaints():
            print(complaint, file=sys.stderr)


if __name__ == "__main__":
    main()
