"""`make fuzz`: every target for a while, each in a separate process. Findings stay in `.fuzz/`.

Exits with 1 when a target failed; the input that did it is named, for a regression case.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import TARGETS, WORDS
from tests.support.settings import without_settings

CORPUS = Path(".fuzz")
_LONGEST_INPUT_BYTES = 4096
_SLOWEST_INPUT_SECONDS = 10
_MEMORY_MAX_MB = 2048


@dataclass(frozen=True)
class Outcome:
    target: str
    seconds: float
    cases: int
    coverage: int
    find: str
    """The file with the input that failed; empty when none did."""


def fuzz(name: str, seconds: int) -> Outcome:
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = CORPUS / "words"
    words.write_text("".join(f"{json.dumps(word)}\n" for word in WORDS))
    log = CORPUS / f"{name}.log"
    began = time.monotonic()
    with log.open("wb") as output:
        subprocess.run(
            [
                sys.executable, "-m", "tests.fuzz.atheris_target", name, str(corpus),
                f"-dict={words}", f"-max_len={_LONGEST_INPUT_BYTES}", f"-timeout={_SLOWEST_INPUT_SECONDS}",
                f"-max_total_time={seconds}", f"-rss_limit_mb={_MEMORY_MAX_MB}", "-print_final_stats=1",
                f"-artifact_prefix={CORPUS}/find-{name}-",
            ],
            stdout=output, stderr=output, check=False,
            env=without_settings(),
        )  # fmt: skip
    text = log.read_text(errors="replace")
    found = re.search(r"Test unit written to (\S+)", text)
    return Outcome(
        name,
        time.monotonic() - began,
        _last(r"number_of_executed_units: (\d+)", text),
        _last(r"cov: (\d+)", text),
        found[1] if found else "",
    )


def _last(pattern: str, text: str) -> int:
    return int((re.findall(pattern, text) or ["0"])[-1])


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of all targets together")
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="only these")
    arguments = parser.parse_args()
    names = arguments.target or list(TARGETS)
    print("| target | seconds | cases | edges | finds |\n| --- | ---: | ---: | ---: | --- |", flush=True)
    outcomes = []
    for name in names:
        outcome = fuzz(name, max(1, int(arguments.minutes * 60 / len(names))))
        outcomes.append(outcome)
        print(
            f"| {name} | {outcome.seconds:.0f} | {outcome.cases:,} | {outcome.coverage} | {outcome.find or 'none'} |",
            flush=True,
        )
    return 1 if any(outcome.find or not outcome.cases for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
