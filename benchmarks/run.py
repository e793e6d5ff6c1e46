"""Measures Studyroom and its peers in one interleaved run, and writes the results: `make bench`."""

import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from benchmarks import documents, frontier, home, report
from benchmarks.bench import Bench
from benchmarks.generator import Failed, Generator, GeneratorMissing
from benchmarks.peers import COLLECTING, DOCUMENT_PEERS, PEERS, NotBuilt, Peer
from benchmarks.servers import Other, Server, Studyroom

RESULTS = Path(__file__).parent / "results.json"
GROUPS = ("traffic", "saturation", "idle", "pinged", "storm", "growth", "gateways", "chat", "stalled")
_ONLY_TRAFFIC = {peer.name for peer in COLLECTING}


@click.command()
@click.option("--seconds", default=5.0, show_default=True, help="Seconds per measurement.")
@click.option("--repeats", default=3, show_default=True, help="Measurements for each median.")
@click.option("--only", multiple=True, help="Name of a server. You can repeat the option.")
@click.option(
    "--groups",
    help=f"Groups to measure. `idle:1` is measured once. [default: {','.join(GROUPS)}; "
    f"of the frontier {','.join(frontier.GROUPS)}]",
)
@click.option("--save/--no-save", default=True, show_default=True, help="Write RESULTS.md.")
@click.option(
    "--check",
    type=click.Choice(["home", "frontier", "documents"]),
    help="Print figures with their bars. Exit with 1 if one is short.",
)
def main(
    seconds: float, repeats: int, only: tuple[str, ...], groups: str | None, save: bool, check: str | None
) -> None:
    """Compare Studyroom with its peers. Nothing else should run meanwhile."""
    directory = Path(tempfile.mkdtemp(prefix="studyroom-bench-"))
    try:
        generator = Generator(directory, source="documents.c" if check == "documents" else "load.c")
    except GeneratorMissing as error:
        raise click.ClickException(str(error)) from error
    try:
        if check == "documents":
            servers = list(_available(only, DOCUMENT_PEERS))
            sys.exit(0 if documents.Check(directory, generator, seconds, repeats, servers, save).run() else 1)
        if check == "home":
            sys.exit(0 if home.Check(directory, generator, seconds, repeats).run() else 1)
        if check == "frontier":
            servers = list(_available(only or ("studyroom", *frontier.CONTENDERS)))
            wanted = groups.split(",") if groups else frontier.GROUPS
            sys.exit(0 if frontier.Check(directory, generator, seconds, repeats, servers, wanted).run() else 1)
    except Failed as error:
        raise click.ClickException(str(error)) from error
    servers = list(_available(only))
    bench = Bench(
        directory,
        generator,
        [server for server in servers if server.name not in _ONLY_TRAFFIC],
        seconds,
        only_traffic=[server for server in servers if server.name in _ONLY_TRAFFIC],
    )
    about = {"servers": {server.name: server.version() for server in servers}, "cores": generator.cores}
    began = time.monotonic()
    for group, _, times in (part.partition(":") for part in (groups or ",".join(GROUPS)).split(",")):
        for repeat in range(int(times or repeats)):
            print(f"{group}, {repeat + 1} of {times or repeats}, {(time.monotonic() - began) / 60:.0f} min", flush=True)
            getattr(bench, group)(repeat)
            if save:
                # Each time, so that a run that is ended early is not lost.
                results = {"about": about | _about(seconds, repeats, began), "rows": bench.rows}
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
                report.write(results)


def _available(only: tuple[str, ...], peers: Iterable[Peer] = PEERS) -> Iterable[Server]:
    """Yield the servers that can be measured here, and print of each other one what it needs."""
    everyone: list[Server] = [Studyroom(), *(Other(peer) for peer in peers)]
    for server in everyone:
        if only and server.name not in only:
            continue
        line = server.missing()
        if line is not None:
            print(f"# {server.name} is skipped; it needs: {line}", flush=True)
            continue
        try:
            server.prepare()
        except NotBuilt as error:
            print(f"# {server.name} is skipped; it could not be compiled: {error}", flush=True)
            continue
        yield server


def _about(seconds: float, repeats: int, began: float) -> dict[str, Any]:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": model,
        "python": platform.python_version(),
        "seconds": seconds,
        "repeats": repeats,
        "minutes": round((time.monotonic() - began) / 60),
    }


if __name__ == "__main__":
    main()
