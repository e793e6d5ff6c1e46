"""Measures that must return to their base once everyone has left."""

import asyncio
from dataclasses import dataclass

from studyroom.shared.contract import subjects
from tests.faults.system import GATEWAYS, REPLICAS, System
from tests.support.processes import ServiceProcess
from tests.support.waiting import eventually

SETTLED_SECONDS = 30.0
TASKS_MARGIN = 6
"""Recurring work has a task now and then."""
GROWTH_BYTES = 48 * 1024 * 1024

_ZERO = {
    "gateway": (
        "studyroom_gateway_connections", "studyroom_gateway_rooms", "studyroom_gateway_room_connections",
        "studyroom_gateway_document_connections", "studyroom_gateway_documents",
    ),
    "presence": ("studyroom_presence_members", "studyroom_presence_rooms"),
    "documents": (),
    "provisioner": (),
}  # fmt: skip


@dataclass(frozen=True)
class Count:
    pid: int
    tasks: float
    subscriptions: float
    resident_bytes: float


@dataclass(frozen=True)
class Base:
    counts: dict[str, Count]
    """The metrics of each process by its admin address."""

    @classmethod
    async def of(cls, system: System) -> "Base":
        return cls({process.admin_url: await _count(process) for process in system.services})


async def _count(process: ServiceProcess) -> Count:
    def read() -> Count:
        return Count(
            process.pid,
            process.metric("studyroom_event_loop_tasks"),
            process.metric("studyroom_nats_subscriptions"),
            process.metric("process_resident_memory_bytes"),
        )

    return await asyncio.to_thread(read)


async def leaks(system: System, base: Base) -> list[str]:
    """The measures that have not returned to their base in time. Restarted processes have another pid."""
    found: list[str] = []

    async def gone() -> bool:
        found[:] = [leak for process in system.services for leak in await _leaks_of(process, base)]
        found.extend(await _consumers_left(system))
        return not found

    try:
        await eventually(gone, "nothing is left", SETTLED_SECONDS)
    except AssertionError:
        return found
    for process in system.services:
        count = await _count(process)
        if count.pid != base.counts[process.admin_url].pid:
            # It was started again: from here on it is compared with itself.
            base.counts[process.admin_url] = count
    return []


async def _consumers_left(system: System) -> list[str]:
    """Each replica follows each bucket once; NATS may keep the consumers of a server that died for a while."""
    buckets = (subjects.PRESENCE_STREAM, subjects.GATEWAYS_STREAM)
    counts = {bucket: (await system.stream(bucket))["state"]["consumer_count"] for bucket in buckets}
    return [f"{bucket} has {count} consumers" for bucket, count in counts.items() if count > 2 * REPLICAS]


async def _leaks_of(process: ServiceProcess, base: Base) -> list[str]:
    now, before = await _count(process), base.counts[process.admin_url]
    found = []
    for metric in _ZERO[process.name]:
        value = await asyncio.to_thread(process.metric, metric)
        if value:
            found.append(f"{process.name}: {metric} is {value:.0f}")
    if process.name == "presence":
        leases = await asyncio.to_thread(process.metric, "studyroom_presence_leases")
        if leases != GATEWAYS:
            found.append(f"presence: {leases:.0f} leases of {GATEWAYS} gateways")
    if now.subscriptions != before.subscriptions:
        found.append(f"{process.name}: {now.subscriptions:.0f} subscriptions, {before.subscriptions:.0f} before")
    if now.tasks > before.tasks + TASKS_MARGIN:
        found.append(f"{process.name}: {now.tasks:.0f} tasks, {before.tasks:.0f} before")
    if now.pid == before.pid and now.resident_bytes > before.resident_bytes + GROWTH_BYTES:
        found.append(f"{process.name}: grew from {before.resident_bytes:.0f} to {now.resident_bytes:.0f} bytes")
    return found
