"""Measures the cost of syncing chat to the disk before acknowledging it: `python -m benchmarks.durability`.

It starts one nats-server, and a cluster of three, for each value of `sync_interval`. It publishes messages like those
of gateways at a steady rate, and times each until its acknowledgement. CPU is that of all servers together. It first
prints the duration of an fsync, which a single server needs for each message. With `--groups` chat is divided among
so many streams.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from uuid import uuid4

from prometheus_client import CollectorRegistry

from studyroom.services.provisioner.streams import specifications
from studyroom.services.stack.stack import free_port
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus, BusError, Message, parse_acknowledgement
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings
from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import MESSAGE_ID
from studyroom.shared.contract.ids import RoomId
from tests.support.processes import ClusterNode, NatsServer, clustered_nats_server
from tests.support.waiting import eventually

SYNC = ("2m", "10s", "1s", "100ms", "always")
RATES = (100, 2_000)
_ROOMS = 50
_CONTENT = b'{"type":"Chat","payload":{"content":"' + b"x" * 200 + b'"}}'
_TICK_SECONDS = 0.005
_LAST_ANSWER_SECONDS = 30.0
_START_SECONDS = 30.0
_SYNCS = 200


@dataclass(frozen=True)
class Measured:
    published: int
    acknowledged: int
    seconds: float
    """The time until the last acknowledgement."""
    latencies_ms: list[float]
    cpu_seconds: float

    def row(self) -> str:
        ordered = sorted(self.latencies_ms)
        p99 = ordered[int(0.99 * (len(ordered) - 1))]
        rate = self.acknowledged / self.seconds
        cpu = self.cpu_seconds / self.acknowledged * 1e6
        return f"{rate:.0f}/s | {statistics.median(ordered):.1f} | {p99:.1f} | {ordered[-1]:.0f} | {cpu:.0f}"


def servers(directory: Path, count: int, sync: str) -> list[NatsServer]:
    """Return the servers, not yet started."""
    ports = [free_port() for _ in range(count)]
    made = [
        clustered_nats_server(directory, ClusterNode(f"n{index}", port, tuple(ports) if count > 1 else ()))
        for index, port in enumerate(ports)
    ]
    for server in made:
        config = Path(server.command[-1])
        text = config.read_text().replace("jetstream {", f"jetstream {{ sync_interval: {sync}, ")
        config.write_text(text if count > 1 else text[: text.index("cluster {")])
    return made


def cpu_seconds(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def fsync_ms() -> float:
    with tempfile.TemporaryFile() as file:
        began = time.monotonic()
        for _ in range(_SYNCS):
            file.write(_CONTENT)
            file.flush()
            os.fsync(file.fileno())
        return (time.monotonic() - began) * 1000 / _SYNCS


async def measure(urls: tuple[str, ...], pids: list[int], rate: int, seconds: float, groups: int) -> Measured:
    bus = Bus(NatsSettings(url=urls), BusMetrics(CollectorRegistry()), name="bench")
    await bus.connect()
    try:
        settings = StorageSettings(replicas=len(urls), groups=groups)
        specs = [one for one in specifications(settings) if one.name in subjects.CHAT_STREAMS]
        for spec in specs:
            await bus.api(f"STREAM.CREATE.{spec.name}", spec.config, timeout_seconds=_START_SECONDS)
        rooms = [RoomId(str(uuid4())) for _ in range(_ROOMS)]

        async def takes_messages() -> bool:
            try:
                for room in rooms:
                    await bus.store(subjects.chat(room), _CONTENT, {}, timeout_seconds=1.0)
            except BusError:
                return False
            return True

        await eventually(takes_messages, "the stream takes messages", _START_SECONDS)
        began: dict[str, float] = {}
        latencies: list[float] = []
        inbox = bus.new_inbox()

        def on_reply(message: Message) -> None:
            parse_acknowledgement(message)
            latencies.append((time.monotonic() - began.pop(message.subject)) * 1000)

        await bus.subscribe(f"{inbox}.*", on_reply)
        await bus.flush()
        cpu = cpu_seconds(pids)
        start = time.monotonic()
        published = 0
        while (elapsed := time.monotonic() - start) < seconds:
            while published < elapsed * rate:
                reply = f"{inbox}.{published}"
                began[reply] = time.monotonic()
                bus.publish(
                    subjects.chat(rooms[published % _ROOMS]), _CONTENT, reply=reply, headers={MESSAGE_ID: uuid4().hex}
                )
                published += 1
            await asyncio.sleep(_TICK_SECONDS)

        async def answered() -> bool:
            return not began

        await eventually(answered, "everything is acknowledged", _LAST_ANSWER_SECONDS)
        taken = time.monotonic() - start
        return Measured(published, len(latencies), taken, latencies, cpu_seconds(pids) - cpu)
    finally:
        await bus.close()


def measure_one(count: int, sync: str, rate: int, seconds: float, groups: int) -> Measured:
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        made = servers(Path(directory), count, sync)
        for server in made:
            server.start()
            stack.callback(server.stop)
        for server in made:
            server.wait_ready()
        return asyncio.run(
            measure(tuple(server.url for server in made), [server.pid for server in made], rate, seconds, groups)
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.durability", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each cell")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--sync", choices=SYNC, action="append", help="only these")
    parser.add_argument("--servers", type=int, choices=(1, 3), action="append", help="only these")
    parser.add_argument("--rate", type=int, action="append", help="messages a second, in place of 100 and 2,000")
    parser.add_argument("--groups", type=int, action="append", help="groups of shards, one by default")
    arguments = parser.parse_args()
    print(f"an fsync takes {fsync_ms():.2f} ms here\n")
    print(
        "| servers | groups | asked for | sync_interval | acknowledged | p50 ms | p99 ms | max ms | CPU µs a message |"
    )
    print("| --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: |", flush=True)
    for count in arguments.servers or (1, 3):
        for rate, sync in product(arguments.rate or RATES, arguments.sync or SYNC):
            for _, groups in product(range(arguments.repeats), arguments.groups or (1,)):
                measured = measure_one(count, sync, rate, arguments.seconds, groups)
                print(f"| {count} | {groups} | {rate:,}/s | `{sync}` | {measured.row()} |", flush=True)


if __name__ == "__main__":
    main()
