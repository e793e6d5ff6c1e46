"""Runs the check: `make kube-check`, with options such as `ARGS="--only roll-gateway"`."""

import asyncio
import shlex
import sys
import time

import click

from tests.faults.earlier import previous_release
from tests.kube import crowd, install, steps
from tests.kube.cluster import Cluster, Failed, run, why_not
from tests.kube.crowd import crowd_of
from tests.kube.ground import Ground
from tests.kube.history import judge
from tests.kube.install import Certificates, Chart, Installation, Overlay
from tests.kube.promises import Result, table
from tests.kube.steps import STEPS, Step

_BEFORE_SECONDS, _AFTER_SECONDS = 3.0, 5.0
"""The times for which people chat before and after each step."""
_SHOWN = 5
"""The number of broken promises of a kind that are printed."""
_INSTALLATIONS = ("overlay", "chart")


@click.command()
@click.option("--only", multiple=True, type=click.Choice([step.name for step in STEPS]), help="Only these steps.")
@click.option("--on", "places", multiple=True, type=click.Choice(_INSTALLATIONS), help="Only this installation.")
@click.option("--context", help="The kubectl context. Without it, a cluster that is not on this machine is refused.")
@click.option("--load", help="The command that gives images to the nodes. The images are its last arguments.")
@click.option("--build/--no-build", default=True, show_default=True, help="Whether the images are built before.")
@click.option(
    "--earlier",
    default=previous_release,
    help="The version before, a tag or commit; empty for none. By default the newest release before this commit.",
)
@click.option("--clear-volumes", is_flag=True, help="Volumes that are folders of this machine may be cleared.")
@click.option("--people", default=18, show_default=True, help="How many people are in the rooms.")
@click.option("--rooms", default=3, show_default=True, help="How many rooms there are.")
@click.option("--keep", is_flag=True, help="The last installation stays in the cluster.")
@click.option("--list", "lists", is_flag=True, help="Print the steps, and do nothing.")
def main(
    only: tuple[str, ...], places: tuple[str, ...], context: str | None, load: str | None, build: bool, earlier: str,
    clear_volumes: bool, people: int, rooms: int, keep: bool, lists: bool,
) -> None:  # fmt: skip
    """Install Studyroom into a cluster of Kubernetes, and break it under people who chat."""
    if lists:
        print("\n".join(f"{step.name:<18}{step.text}" for step in STEPS))
        return
    if reason := why_not(context) or crowd.why_not():
        print(f"kube-check: not run: {reason}")
        return
    places = places or _INSTALLATIONS
    wanted = [step for place in places for step in steps.chosen(only, on_chart=place == Chart.name)]
    earlier_services = _services_at(earlier) if any(step.needs_earlier for step in wanted) else frozenset[str]()
    cluster = Cluster(context, clears_volumes=clear_volumes)
    check = Check(cluster, only, people=people, rooms=rooms, earlier_services=earlier_services)
    try:
        if build:
            _give_images(cluster, load, earlier if earlier_services else None)
        asyncio.run(check.run(places, keep=keep))
    except Failed as failed:
        print(f"kube-check: {failed}")
        sys.exit(1)
    finally:
        if check.results:
            print(f"\n{table(check.results)}")
    sys.exit(1 if any(result.broken for result in check.results) else 0)


def _services_at(commit: str) -> frozenset[str]:
    """The services of the version before. Without it, the check leaves out the steps that need it."""
    try:
        return install.services_at(commit) if commit else frozenset()
    except Failed as failed:
        print(f"the version before is left out: {failed}", flush=True)
        return frozenset()


def _give_images(cluster: Cluster, load: str | None, earlier: str | None) -> None:
    """Raises Failed."""
    began = time.monotonic()
    images = install.build_images(earlier)
    command = shlex.split(load) if load else install.loader_of(cluster.context)
    if command:
        run(*command, *images, deadline_seconds=600)
    else:
        print(f"nobody loads the images into {cluster.context}: without --load they must be there", flush=True)
    print(f"images after {time.monotonic() - began:.0f} s: {', '.join(images)}", flush=True)


class Check:
    def __init__(
        self, cluster: Cluster, only: tuple[str, ...], *, people: int, rooms: int, earlier_services: frozenset[str]
    ) -> None:
        self._cluster = cluster
        self._only = only
        self._people = people
        self._rooms = rooms
        self._earlier_services = earlier_services
        self._certificates = Certificates()
        self.results: list[Result] = []

    async def run(self, places: tuple[str, ...], *, keep: bool) -> None:
        """Raises Failed if an installation does not become ready."""
        keep_priorities = install.has_priorities(self._cluster)
        for place in places:
            if place == Chart.name and (reason := install.why_no_chart()):
                print(f"the chart is left out: {reason}", flush=True)
                continue
            await install.remove(self._cluster, keep_priorities=keep_priorities)
            chart = Chart(self._cluster)
            installation: Installation = chart if place == Chart.name else Overlay(self._cluster)
            await self._break(installation)
            if place == Chart.name:
                await asyncio.to_thread(chart.test)
                print("helm test: the doctor finds nothing wrong", flush=True)
        if not keep:
            await install.remove(self._cluster, keep_priorities=keep_priorities)

    async def _break(self, installation: Installation) -> None:
        began = time.monotonic()
        url = await install.install(self._cluster, installation, self._certificates)
        print(f"{installation.name} is ready at {url} after {time.monotonic() - began:.0f} s", flush=True)
        broken = ""
        for step in steps.chosen(self._only, on_chart=installation.name == Chart.name):
            name = step.name if installation.name == Overlay.name else f"{installation.name}: {step.name}"
            result = Result(name, step.promise)
            self.results.append(result)
            result.skipped = broken or steps.why_not(step, self._cluster, has_earlier=bool(self._earlier_services))
            if result.skipped:
                continue
            print(f"{name}: {step.text}", flush=True)
            await self._carry_out(step, result, url)
            _show(result)
            try:
                await self._cluster.whole()
            except Failed as failed:
                broken = f"after {step.name}: {failed}"

    async def _carry_out(self, step: Step, result: Result, url: str) -> None:
        try:
            async with crowd_of(url, self._rooms, self._people) as people:
                await asyncio.sleep(_BEFORE_SECONDS)
                try:
                    result.note = await step.act(
                        Ground(self._cluster, people, self._certificates, self._earlier_services)
                    )
                    await self._cluster.whole()
                except Failed as failed:
                    result.failure = str(failed)
                await asyncio.sleep(_AFTER_SECONDS)
                result.outcome = judge(await people.end())
        except Failed as failed:
            result.failure = f"{result.failure} {failed}".strip()


def _show(result: Result) -> None:
    """Print the details behind the numbers of the table."""
    for problem in result.broken[:_SHOWN]:
        print(f"    {problem}", flush=True)
    for found in (result.outcome.lost, result.outcome.doubled, result.outcome.left):
        for problem in found[:_SHOWN]:
            print(f"        {problem}", flush=True)


if __name__ == "__main__":
    main()
