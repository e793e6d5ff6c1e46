"""Each test runs a process of its own, because memory that other tests have used would hide the effect."""

import os
import subprocess
import sys

import pytest

from studyroom.gateway.transport import native

_MANY = """
import gc
from pathlib import Path
from studyroom.gateway.transport.native import SEPARATE_MEMORY
from studyroom.shared.chassis.memory import empty_free_lists, trim

class Client:
    __slots__ = ("id", "name", "numbers")

def made(index):
    client = Client()
    client.id, client.name, client.numbers = f"{index:036}", f"a user of the name {index}", [float(index)] * 20
    return client

def resident_kb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

def keep(clients, living_on):
    for index in range(50_000):
        with SEPARATE_MEMORY:
            clients.append(made(index))
        if not index % 100:
            living_on.append(f"a counter {index}")

clients, living_on = [], []
before = resident_kb()
keep(clients, living_on)
held = resident_kb() - before
clients.clear()
empty_free_lists()
trim()
print(held, resident_kb() - before)
"""
_SURVIVES = """
import tracemalloc
from studyroom.gateway.transport.native import SEPARATE_MEMORY

def made():
    return [[index, str(index), float(index), {str(index): (index,)}] for index in range(1000)]

kept = [made()]
with SEPARATE_MEMORY:
    kept.append(made())
tracemalloc.start()
with SEPARATE_MEMORY:
    kept.append(made())
    kept[1].clear()
tracemalloc.stop()
with SEPARATE_MEMORY:
    tracemalloc.start()
    kept.append(made())
kept.append(made())
tracemalloc.stop()
try:
    with SEPARATE_MEMORY:
        kept.append(made())
        kept[0].extend(kept[-1])
        raise ValueError
except ValueError:
    pass
with SEPARATE_MEMORY:
    kept.append(made())
for each in kept:
    each *= 2
    each.clear()
kept.clear()
print("done")
"""


def _run(program: str, *options: str, **environment: str) -> str:
    command = [sys.executable, *options, "-c", program]
    done = subprocess.run(command, env=os.environ | environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux" or not native.COMPILED, reason="needs Linux and the compiled data path")
def test_objects_that_live_on_do_not_keep_the_memory_of_the_many_that_have_gone():
    held, left = map(int, _run(_MANY).split())
    assert left < held / 4


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ((), {}),
        ((), {"STUDYROOM_PURE_PYTHON": "true"}),
        (("-X", "dev"), {}),
        ((), {"PYTHONMALLOC": "debug"}),
        ((), {"PYTHONMALLOC": "malloc"}),
        ((), {"PYTHONTRACEMALLOC": "1"}),
    ],
    ids=["usual", "pure", "development mode", "checked", "of the C library", "traced"],
)
def test_objects_can_be_changed_and_freed_anywhere_with_every_allocator(
    options: tuple[str, ...], environment: dict[str, str]
):
    assert _run(_SURVIVES, *options, **environment) == "done"
