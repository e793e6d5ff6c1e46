"""The report of the doctor, as text and as JSON."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from studyroom.services.doctor.assess import SERVICES
from studyroom.services.doctor.collect import Observation, Store, Stream
from studyroom.shared.contract import subjects
from studyroom.shared.contract.subjects import SHARDS

_LEASES_SHOWN = 6


def as_json(seen: Observation | None, problems: list[str]) -> dict[str, Any]:
    """Return the report for programs. `seen`: None without a connection to NATS."""
    return {"ok": not problems, "problems": problems, **(asdict(seen) if seen is not None else {})}


def as_text(seen: Observation | None, problems: list[str]) -> str:
    """Return the report for people. `seen`: None without a connection to NATS."""
    if seen is None:
        lines = [
            f"{what}: unknown"
            for what in ("servers", "streams", "gateways with a lease", "shards served", "gateways per room")
        ]
        lines.append("")
    else:
        lines = [*_servers(seen), "", *_streams(seen), "", *_leases(seen), ""]
    lines += ["All is well."] if not problems else ["Problems:", *(f"  - {problem}" for problem in problems)]
    return "\n".join(lines)


def _servers(seen: Observation) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("server", "version", "connections", *SERVICES, "others", "storage")]
    for server in seen.servers:
        names = [connection.name.removeprefix("studyroom-") for connection in server.connections]
        counts = [names.count(service) for service in SERVICES]
        cells = (server.name, server.version, len(names), *counts, len(names) - sum(counts), _store(server.store))
        rows.append(tuple(map(str, cells)))
    yield from _table(rows)


def _streams(seen: Observation) -> Iterator[str]:
    rows = [("stream", "leader", "copies", "messages", "bytes", "full", "last", "consumers", "lag")]
    for stream in seen.streams:
        lag = max((consumer.pending for consumer in stream.consumers), default=0)
        rows.append((
            stream.name, stream.leader or "-", _copies(stream), f"{stream.messages:,}", f"{stream.bytes:,}",
            _full(stream), f"{stream.last_sequence:,}", str(len(stream.consumers)), f"{lag:,}",
        ))  # fmt: skip
    yield from _table(rows)
    grouped = [stream for stream in seen.streams if stream.name in subjects.ALL_STREAMS - set(subjects.STREAMS)]
    if leaders := Counter(stream.leader for stream in grouped if stream.leader):
        counts = ", ".join(f"{server} {count}" for server, count in sorted(leaders.items()))
        yield f"leaders of the streams of groups of shards: {counts}"


def _full(stream: Stream) -> str:
    limit = int(stream.config.get("max_bytes", 0))
    return f"{stream.bytes / limit:.0%}" if limit > 0 else "-"


def _store(store: Store | None) -> str:
    if store is None:
        return "unknown"
    return f"{store.used:,} of {store.limit:,} ({store.used / store.limit:.0%})" if store.limit else f"{store.used:,}"


def _copies(stream: Stream) -> str:
    good = sum(copy.current and not copy.offline for copy in stream.copies)
    return f"{good + 1}/{stream.config.get('num_replicas', 1)}" if stream.clustered else "1/1"


def _leases(seen: Observation) -> Iterator[str]:
    yield f"gateways with a lease: {len(seen.leases)}"
    ages = seen.lease_ages()
    for gateway, renewed in sorted(seen.leases.items())[:_LEASES_SHOWN]:
        yield f"  {gateway}  renewed {renewed}" + (f", {ages[gateway]:.1f} s ago" if gateway in ages else "")
    if len(seen.leases) > _LEASES_SHOWN:
        yield f"  and {len(seen.leases) - _LEASES_SHOWN} more"
    yield f"shards that presence answers for: {SHARDS - len(seen.unserved)} of {SHARDS}"
    yield f"gateways per room: {_room_gateways(seen.room_gateways)}"


def _room_gateways(counts: list[int]) -> str:
    if not counts:
        return "no rooms"
    return f"{sum(counts) / len(counts):.1f} on average and {max(counts)} at most, in a sample of {len(counts)}"


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
