"""Finds the problems in an observation. Pure."""

from collections.abc import Iterator
from typing import Any

from studyroom.services.doctor.collect import Observation
from studyroom.services.provisioner.streams import StreamSpec, differences
from studyroom.shared.contract import subjects
from studyroom.shared.contract.groups import groups_made
from studyroom.shared.contract.presence import LEASE_SECONDS, RENEWAL_SECONDS

PENDING_MAX_BYTES = 1024 * 1024
"""A client that leaves more than this unread is too slow."""
LAG_MAX = 1000
"""The most messages that a healthy consumer or copy may lag behind."""
FULL = 0.8
"""The share of a store above which the doctor warns."""
LEASE_LATE_SECONDS = 3.0
"""How late a renewal, or the expiry of a lease, may be on a busy machine."""
SERVICES = ("gateway", "presence", "provisioner")


def problems(seen: Observation, wanted: list[StreamSpec]) -> list[str]:
    """Return one line for each problem, in the order in which you should look at them; none if all is well."""
    return [
        *(f"{asked} did not answer: {reason}" for asked, reason in sorted(seen.failures.items())),
        *_of_servers(seen, wanted),
        *_of_stores(seen),
        *_of_services(seen),
        *_of_groups(seen, wanted),
        *(line for spec in wanted for line in _of_stream(spec, seen)),
        *_of_consumers(seen),
        *_of_leases(seen),
    ]


def _of_servers(seen: Observation, wanted: list[StreamSpec]) -> Iterator[str]:
    if not seen.servers:
        return
    copies = max(int(spec.config["num_replicas"]) for spec in wanted)
    if len(seen.servers) < copies:
        names = ", ".join(server.name for server in seen.servers)
        yield f"{len(seen.servers)} of at least {copies} NATS servers answer ({names})"
    versions = {server.version for server in seen.servers}
    if len(versions) > 1:
        yield f"NATS servers have different versions: {', '.join(sorted(versions))}"


def _of_stores(seen: Observation) -> Iterator[str]:
    for server in seen.servers:
        store = server.store
        if store is None:
            continue
        if store.used > FULL * store.limit:
            yield f"the storage of {server.name} is {_full(store.used, store.limit)}"
        if not store.sync_always:
            yield f"{server.name} acknowledges messages before they are synced, so a power cut loses messages"


def _of_services(seen: Observation) -> Iterator[str]:
    if not seen.servers:
        return
    for service in SERVICES:
        connections = seen.connected(service)
        if not connections:
            yield f"no {service} is connected"
        for one in connections:
            if one.pending_bytes > PENDING_MAX_BYTES:
                yield f"{service} at {one.address} reads too slowly: {one.pending_bytes:,} bytes wait for it"
    stored = sum(stream.messages for stream in seen.streams if stream.name in subjects.DOCUMENTS_STREAMS)
    if stored and not seen.connected("documents"):
        yield "no documents service is connected, so nobody can open the shared documents that there are"
    for address in seen.silent:
        yield f"the presence replica at {address} is connected, but does not answer"
    if seen.unserved:
        yield f"no presence replica answers for shards {_ranges(seen.unserved)}"


def _of_groups(seen: Observation, wanted: list[StreamSpec]) -> Iterator[str]:
    configured = groups_made(wanted[0].config)
    made = (groups_made(stream.config) for stream in seen.streams if stream.name in subjects.ALL_STREAMS)
    if others := sorted({count for count in made if count is not None} - {configured}):
        yield (
            f"streams were made with {', '.join(map(str, others))} groups of shards, and STUDYROOM_STORAGE_GROUPS is "
            f"{configured}"
        )


def _of_stream(spec: StreamSpec, seen: Observation) -> Iterator[str]:
    stream = next((one for one in seen.streams if one.name == spec.name), None)
    if stream is None:
        if not {"streams", f"stream {spec.name}"} & seen.failures.keys():
            yield f"stream {spec.name} does not exist"
        return
    for key, value in differences(spec.config, stream.config).items():
        yield f"stream {spec.name}: {key} is {_short(stream.config.get(key))} and should be {_short(value)}"
    limit = int(stream.config.get("max_bytes", 0))
    if stream.config.get("discard") == "new" and limit > 0 and stream.bytes > FULL * limit:
        yield f"stream {spec.name} is {_full(stream.bytes, limit)}, and refuses messages when it is full"
    if stream.clustered and not stream.leader:
        yield f"stream {spec.name} has no leader"
    for copy in stream.copies:
        if copy.offline:
            yield f"stream {spec.name}: its copy on {copy.server} is offline"
        elif not copy.current:
            yield f"stream {spec.name}: its copy on {copy.server} is not up to date"
        elif copy.lag > LAG_MAX:
            yield f"stream {spec.name}: its copy on {copy.server} is {copy.lag:,} messages behind"


def _of_consumers(seen: Observation) -> Iterator[str]:
    replicas = len(seen.connected("presence"))
    for stream in seen.streams:
        for consumer in stream.consumers:
            if consumer.bound and consumer.pending > LAG_MAX:
                yield f"consumer {consumer.name} of {stream.name} is {consumer.pending:,} messages behind"
        if f"consumers of {stream.name}" in seen.failures:
            continue
        followed = sum(consumer.bound for consumer in stream.consumers)
        if stream.name in {subjects.PRESENCE_STREAM, subjects.GATEWAYS_STREAM} and followed < replicas:
            yield f"{replicas} presence replicas are connected and {followed} follow {stream.name}"
        # A replica follows only the groups that have some of its shards.
        elif stream.name in subjects.PRESENCE_STREAMS and not followed:
            yield f"no presence replica follows {stream.name}"


def _of_leases(seen: Observation) -> Iterator[str]:
    if not seen.servers or "leases" in seen.failures:
        return
    gateways, leases = len(seen.connected("gateway")), len(seen.leases)
    if leases > gateways:
        yield f"{leases} leases and {gateways} connected gateways: a gateway has died or lost its connection"
    elif leases < gateways:
        yield f"{gateways} connected gateways and {leases} leases: a gateway cannot renew its lease"
    for gateway, age in seen.lease_ages().items():
        if age > LEASE_SECONDS + LEASE_LATE_SECONDS:
            yield (
                f"the lease of gateway {gateway} is {age:.0f} s old and should have ended after {LEASE_SECONDS} s: "
                "this NATS does not remove expired keys, so members of dead gateways stay in their rooms"
            )
        elif age > RENEWAL_SECONDS + LEASE_LATE_SECONDS:
            yield f"gateway {gateway} has not renewed its lease for {age:.0f} s: it is dead, frozen or cut off"


def _full(used: int, limit: int) -> str:
    return f"{used / limit:.0%} full ({used:,} of {limit:,} bytes)"


def _ranges(numbers: list[int]) -> str:
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - one line
