"""Looks for anything of a user or a room wherever Studyroom keeps data: streams, their files, and logs."""

import json
from base64 import b64decode
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from nats.aio.client import Client as Nats

from studyroom.shared.contract import hook_subjects, subjects


class Raw(NamedTuple):
    """A message as the stream has it."""

    stream: str
    sequence: int
    subject: str
    headers: str
    data: bytes

    @property
    def everything(self) -> bytes:
        return b"\n".join((self.subject.encode(), self.headers.encode(), self.data))

    @property
    def is_removal(self) -> bool:
        """Whether it only says that a key is gone. NATS removes it by itself (`Nats-TTL`)."""
        is_marker = "KV-Operation" in self.headers or "Nats-Marker-Reason" in self.headers
        return is_marker and "Nats-TTL" in self.headers and not self.data


async def raw_messages(connection: Nats, *streams: str) -> list[Raw]:
    """Every message of these streams, or of all."""
    found: list[Raw] = []
    for stream in streams or (*subjects.STREAMS, *hook_subjects.streams_of_hooks(1)):
        following = 1
        while True:
            request = json.dumps({"seq": following, "next_by_subj": ">"}).encode()
            answer = json.loads((await connection.request(f"$JS.API.STREAM.MSG.GET.{stream}", request, timeout=5)).data)
            if "error" in answer:
                break
            message = answer["message"]
            headers = b64decode(message.get("hdrs", "")).decode()
            data = b64decode(message.get("data", ""))
            found.append(Raw(stream, message["seq"], message["subject"], headers, data))
            following = message["seq"] + 1
    return found


def having(messages: Iterable[Raw], *words: str) -> list[Raw]:
    """The messages that have one of the words anywhere."""
    return [raw for raw in messages if any(word.encode() in raw.everything for word in words)]


def files_having(store: Path, stream: str, *words: str) -> list[str]:
    """The files of a stream on the disk that have one of the words, in any place."""
    (directory,) = store.glob(f"**/streams/{stream}")
    contents = [(file, file.read_bytes()) for file in directory.rglob("*") if file.is_file()]
    return [f"{file.name}: {word}" for file, content in contents for word in words if word.encode() in content]
