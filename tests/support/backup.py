"""Back up and restore a stream as `nats stream backup` and `nats stream restore` do."""

import json
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client as Nats


@dataclass
class Backup:
    config: dict[str, Any]
    state: dict[str, Any]
    chunks: list[bytes]


async def back_up(connection: Nats, stream: str) -> Backup:
    inbox = connection.new_inbox()
    chunks = await connection.subscribe(inbox)
    request = json.dumps({"deliver_subject": inbox, "no_consumers": True}).encode()
    answer = json.loads((await connection.request(f"$JS.API.STREAM.SNAPSHOT.{stream}", request, timeout=10)).data)
    assert "error" not in answer, answer
    found = Backup(answer["config"], answer["state"], [])
    while (chunk := await chunks.next_msg(timeout=10)).data:
        found.chunks.append(chunk.data)
        if chunk.reply:
            await connection.publish(chunk.reply)
    await chunks.unsubscribe()
    return found


async def restore(connection: Nats, backup: Backup, *, replicas: int) -> dict[str, Any]:
    """Returns the stream's configuration and state, as NATS then reports them."""
    config = {**backup.config, "num_replicas": replicas}
    request = json.dumps({"config": config, "state": backup.state}).encode()
    subject = f"$JS.API.STREAM.RESTORE.{config['name']}"
    answer = json.loads((await connection.request(subject, request, timeout=10)).data)
    assert "error" not in answer, answer
    for chunk in backup.chunks:
        await connection.request(answer["deliver_subject"], chunk, timeout=10)
    end: dict[str, Any] = json.loads((await connection.request(answer["deliver_subject"], b"", timeout=30)).data)
    assert "error" not in end, end
    return end
