"""Copies a stream from NATS to a backup, as a stream of chunks that NATS makes while others write.

https://docs.nats.io/reference/reference-protocols/nats_api_reference, `$JS.API.STREAM.SNAPSHOT.<stream>`.
"""

import asyncio

from studyroom.services.backup.archive import StreamBackup, Writer
from studyroom.shared.chassis.nats.bus import Bus, BusUnavailable, Message
from studyroom.shared.contract.headers import STATUS

_CHUNK_BYTES = 128 * 1024
_WINDOW_BYTES = 8 * 1024 * 1024
"""NATS sends so much before it waits, so this much memory is used at most."""
_SILENCE_SECONDS = 30.0
"""NATS gives up after 5 s without progress, and says so. This is for a server that dies."""
_COMPLETE = ("204", None)
"""The status of the last, empty message. A stream that fits into less than a chunk may have none."""


class SnapshotFailed(Exception):
    """NATS ended a snapshot before it was complete. The argument is the reason, for people."""


async def back_up(bus: Bus, name: str, writer: Writer) -> StreamBackup:
    """Copy one stream into the backup.

    Raises SnapshotFailed, BusUnavailable, ApiError, or OSError if the disk does not take it.
    """
    chunks: asyncio.Queue[Message] = asyncio.Queue()
    lost = asyncio.Event()
    bus.on_disconnected(lost.set)
    inbox = bus.new_inbox()
    subscription = await bus.subscribe(inbox, chunks.put_nowait)
    try:
        request = {
            "deliver_subject": inbox,
            "no_consumers": True,  # presence and the documents service make theirs again
            "chunk_size": _CHUNK_BYTES,
            "window_size": _WINDOW_BYTES,
        }
        answer = await bus.api(f"STREAM.SNAPSHOT.{name}", request, timeout_seconds=_SILENCE_SECONDS)
        stream = writer.stream(name, answer["config"], answer["state"])
        try:
            expected = 1
            while (chunk := await _next(chunks, name)).data:
                if _number(chunk.reply) not in {expected, None}:
                    raise SnapshotFailed(f"part {expected} of the snapshot of {name} was lost on the way")
                stream.write(chunk.data)
                if chunk.reply:
                    bus.publish(chunk.reply, b"")
                expected += 1
            status = (chunk.headers or {}).get(STATUS)
            if status not in _COMPLETE:
                reason = (chunk.headers or {}).get("Description", "")
                raise SnapshotFailed(f"NATS ended the snapshot of {name}: {status} {reason}".rstrip())
            if lost.is_set():
                raise SnapshotFailed(f"the connection to NATS was lost during the snapshot of {name}")
            return await asyncio.to_thread(stream.finish)  # a slow disk would stop the pings to NATS
        finally:
            stream.close()
    finally:
        await subscription.unsubscribe()


def _number(reply: str) -> int | None:
    """The number of a part, from 1 on, which NATS puts at the end of the subject of its acknowledgement.

    A last part that is not full has no acknowledgement.
    """
    last = reply.rpartition(".")[2]
    return int(last) if last.isdecimal() else None


async def _next(chunks: "asyncio.Queue[Message]", name: str) -> Message:
    try:
        return await asyncio.wait_for(chunks.get(), _SILENCE_SECONDS)
    except TimeoutError as error:
        raise BusUnavailable(f"NATS sent nothing of {name} for {_SILENCE_SECONDS:.0f} s") from error
