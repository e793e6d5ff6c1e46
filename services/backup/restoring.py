"""Makes streams of a backup again.

A restored stream has another creation time, so it is another one for all services: they begin a new epoch
(docs/decisions/0017), and clients read the history again.
"""

import json
from collections.abc import Iterator
from typing import Any

from studyroom.services.backup.archive import Reader, StreamBackup
from studyroom.shared.chassis.nats.bus import ApiError, Bus

_CHUNK_BYTES = 512 * 1024
_CHUNK_SECONDS = 60.0
_END_SECONDS = 600.0
"""A server may have to read all of a large backup before it answers the end of it."""
_STREAM_NOT_FOUND = 10059
_NAME_IN_USE = 10058


class RestoreFailed(Exception):
    """NATS does not take a stream, or it may not be replaced. The argument is the reason, for people."""


async def check_replaceable(bus: Bus, names: list[str], *, replace: bool) -> None:
    """Check that none of these streams has or had messages, unless `replace`.

    Raises RestoreFailed, ApiError or BusUnavailable.
    """
    used = [name for name in names if await is_used(bus, name)]
    if used and not replace:
        raise RestoreFailed(
            f"{', '.join(used)} have messages already. Nothing was changed. "
            "Restore with --replace to delete them, or leave them out with --stream"
        )


async def is_used(bus: Bus, name: str) -> bool:
    """Return whether a stream has or had messages. Raises ApiError or BusUnavailable."""
    state = await _state(bus, name)
    return state is not None and state["last_seq"] > 0


async def restore(bus: Bus, backup: Reader, stream: StreamBackup, *, replicas: int) -> dict[str, Any]:
    """Make one stream again, in place of the one that exists. Return its state, as NATS then reports it.

    Raises RestoreFailed, ApiError or BusUnavailable. If it fails, the stream may be missing: restore it again.
    """
    config, state = backup.config_and_state(stream.name)
    request = {"config": {**config, "num_replicas": replicas}, "state": state}
    if await _state(bus, stream.name) is not None:
        await bus.api(f"STREAM.DELETE.{stream.name}")
    try:
        answer = await bus.api(f"STREAM.RESTORE.{stream.name}", request, timeout_seconds=_CHUNK_SECONDS)
        restored = await _upload(bus, answer["deliver_subject"], backup, stream)
    except ApiError as error:
        hint = ""
        if error.code == _NAME_IN_USE:
            hint = ": another process has made it meanwhile. Stop the provisioner, and restore with --replace"
        raise RestoreFailed(f"NATS {bus.server_version} does not restore {stream.name}: {error}{hint}") from error
    if restored["last_seq"] != stream.last_sequence:
        raise RestoreFailed(f"{stream.name} ends at {restored['last_seq']}, and the backup at {stream.last_sequence}")
    return restored


async def _upload(bus: Bus, subject: str, backup: Reader, stream: StreamBackup) -> dict[str, Any]:
    size = min(_CHUNK_BYTES, bus.max_payload_bytes // 2)
    for chunk in _ended(backup.chunks(stream.name, size)):
        seconds = _CHUNK_SECONDS if chunk else _END_SECONDS
        reply = await bus.request(subject, chunk, timeout_seconds=seconds)
        answer: dict[str, Any] = json.loads(reply.data) if reply.data else {}
        if error := answer.get("error"):
            raise ApiError(error.get("err_code", 0), error.get("description", "refused"))
    state: dict[str, Any] = answer["state"]
    return state


def _ended(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks, and an empty one that ends them."""
    yield from chunks
    yield b""


async def _state(bus: Bus, name: str) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = (await bus.stream_info(name))["state"]
    except ApiError as error:
        if error.code == _STREAM_NOT_FOUND:
            return None
        raise
    return state
