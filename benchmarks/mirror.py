"""Measures how long a presence replica takes to load a million members: `python -m benchmarks.mirror`.

The store of a replica reads a bucket with so many members and delete markers: from nothing, after its watch broke, and
after a restart of NATS. Memory is that of this process, which is the replica.
"""

import argparse
import asyncio
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from prometheus_client import CollectorRegistry

from studyroom.presence.store import Store
from studyroom.services.provisioner.sizes import GIB
from studyroom.services.provisioner.streams import ensure, specifications
from studyroom.shared.chassis.metrics import BusMetrics, ProcessMetrics
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import purge
from studyroom.shared.contract.ids import RoomId, new_connection_id, new_gateway_id, new_membership_id, new_user_id
from studyroom.shared.contract.presence import Entry, Profile
from tests.support.processes import NatsServer, nats_server, running
from tests.support.waiting import eventually

_ROOM_MEMBERS = 8
_MARKER_SECONDS = 3600
_BATCH = 10_000
_DEADLINE_SECONDS = 600.0

Change = tuple[str, bytes, dict[str, str] | None]


def changes(members: int, markers: int) -> Iterator[Change]:
    """Yield subject, value and headers of each change."""
    gateway = new_gateway_id()
    room = RoomId(str(uuid4()))
    for number in range(members + markers):
        if number % _ROOM_MEMBERS == 0:
            room = RoomId(str(uuid4()))
        key = subjects.presence_key(room, new_user_id())
        if number < members:
            profile, connection = Profile(username=f"Somebody {number}"), new_membership_id(new_connection_id(), 0)
            yield key, Entry(profile=profile, connections={connection: gateway}).encode(), None
        else:
            yield key, b"", purge(_MARKER_SECONDS)


async def fill(bus: Bus, members: int, markers: int) -> None:
    sent = 0

    async def stored() -> bool:
        info = await bus.api(f"STREAM.INFO.{subjects.PRESENCE_STREAM}")
        return bool(info["state"]["last_seq"] >= sent)

    for key, value, headers in changes(members, markers):
        bus.publish(key, value, headers=headers)
        sent += 1
        if sent % _BATCH == 0:
            await eventually(stored, "NATS has stored them", _DEADLINE_SECONDS)
    await eventually(stored, "NATS has stored them", _DEADLINE_SECONDS)


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(server: NatsServer, members: int, markers: int, shards: int) -> None:
    bus = Bus(NatsSettings(url=(server.url,)), BusMetrics(CollectorRegistry()), name="benchmark")
    tasks = Tasks(ProcessMetrics(CollectorRegistry(), "benchmark"))
    await bus.connect()
    await ensure(bus, specifications(StorageSettings(), dict.fromkeys(subjects.STREAMS, 2 * GIB)))
    await fill(bus, members, markers)
    store = Store(bus, shards=range(shards), marker_ttl_seconds=_MARKER_SECONDS)
    memory, cpu, began = resident_mb(os.getpid()), cpu_seconds(), time.monotonic()

    def report(what: str, since: float) -> None:
        print(f"{what}: {time.monotonic() - since:.1f} s, {store.mirror.member_count} members", flush=True)

    tasks.supervise("mirror", store.keep)
    await store.wait_ready()
    report("built", began)
    mirror, nats = resident_mb(os.getpid()) - memory, resident_mb(server.pid)
    print(f"CPU {cpu_seconds() - cpu:.1f} s, mirror {mirror:.0f} MB, NATS {nats:.0f} MB", flush=True)
    await eventually(lambda: store.resumable, "it has looked at the stream")
    began = time.monotonic()
    server.stop()
    await eventually(lambda: not store.ready, "the watch is lost")
    server.start()
    server.wait_ready()
    await eventually(lambda: store.ready, "it is ready again", _DEADLINE_SECONDS)
    report("ready again, with the restart of NATS", began)
    await tasks.stop()
    await bus.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mirror", description=__doc__)
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--markers", type=int, default=336_000, help="of members who have left")
    parser.add_argument("--shards", type=int, default=subjects.SHARDS, help="that the replica serves")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, running(nats_server(Path(directory))) as server:
        asyncio.run(measure(server, arguments.members, arguments.markers, arguments.shards))


if __name__ == "__main__":
    main()
