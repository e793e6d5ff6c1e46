"""The metrics that the processes export."""

import asyncio
import re
import subprocess

import pytest

from studyroom import __version__
from tests.support.commands import needs
from tests.support.markdown import quoted
from tests.support.processes import EmbeddedStack
from tests.support.traffic import metrics_of, traffic
from website.metrics import metrics_page

SCRAPED = ("gateway", "presence", "documents", "provisioner")

LABELS = {
    *(
        "action",
        "cause",
        "code",
        "kind",
        "lane",
        "outcome",
        "reason",
        "request",
        "result",
        "shards",
        "side",
        "stream",
        "task",
        "type",
        "variant",
    ),
    "when_full",
    *("le", "generation", "implementation", "major", "minor", "patchlevel", "version"),
}
"""Each has few values, for any number of rooms and users."""


@pytest.mark.prometheus
async def test_promtool_finds_nothing_wrong_with_the_metrics(stack: EmbeddedStack):
    needs("promtool")
    await traffic(stack)
    for name, text in metrics_of(stack, *SCRAPED).items():
        checked = await asyncio.to_thread(
            subprocess.run, ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, ""), name


async def test_no_room_user_or_connection_is_named_in_a_metric(stack: EmbeddedStack):
    visit = await traffic(stack)
    for name, text in metrics_of(stack, *SCRAPED).items():
        assert "studyroom_" in text
        for identity in (visit.room, *visit.users, *visit.connections, "Ada"):
            assert identity not in text, name
        assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", text), name


async def test_labels_are_those_that_have_few_values(stack: EmbeddedStack):
    await traffic(stack)
    for text in metrics_of(stack, *SCRAPED).values():
        samples = [line for line in text.splitlines() if not line.startswith("#")]
        assert {label for line in samples for label in re.findall(r'[{,](\w+)="', line)} <= LABELS


async def test_the_reference_names_every_metric_that_is_exported_with_its_labels(stack: EmbeddedStack):
    reference = await asyncio.to_thread(metrics_page)
    rows = [row.strip("|").split("|") for row in reference.splitlines() if row.startswith("| `")]
    documented = {quoted(row[0])[0]: {*quoted(row[2]), "le"} for row in rows}
    await traffic(stack)
    for text in metrics_of(stack, *SCRAPED).values():
        samples = [line for line in text.splitlines() if line.startswith("studyroom_") and "_created" not in line]
        assert samples
        for sample in samples:
            name = re.sub(r"_(bucket|sum|count)$", "", re.split(r"[{ ]", sample)[0])
            assert set(re.findall(r'(\w+)="', sample)) <= documented[name], sample


async def test_every_process_says_whether_it_is_ready_and_which_version_it_is(stack: EmbeddedStack):
    for name, text in metrics_of(stack, *SCRAPED).items():
        service = name.split("-")[0]
        assert re.search(rf"^studyroom_{service}_ready 1\.0$", text, re.MULTILINE), name
        assert f'studyroom_build_info{{version="{__version__}"}} 1.0' in text, name
