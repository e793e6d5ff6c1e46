"""Groups of shards, each with streams of chat and documents and a bucket of members of its own, and so with
leaders of its own.

Group `k` of `n` has the shards whose remainder modulo `n` is `k`. Every process must have the same `n`. The provisioner
records it in each stream, as the names of all streams that it has made.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from studyroom.shared.contract import document_subjects, hook_subjects, subjects
from studyroom.shared.contract.ids import RoomId

STREAMS_MADE = "studyroom.streams"
"""The key in the metadata of each stream for the names of all streams that were made with it. A missing stream whose
name is there has been lost."""

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Group:
    """One of `count` groups. The default has all shards."""

    number: int = 0
    count: int = 1

    @property
    def shards(self) -> range:
        return range(self.number, subjects.SHARDS, self.count)

    @property
    def chat_stream(self) -> str:
        return subjects.chat_stream(self.number, self.count)

    @property
    def presence_stream(self) -> str:
        return subjects.presence_stream(self.number, self.count)

    @property
    def documents_stream(self) -> str:
        return subjects.documents_stream(self.number, self.count)

    @property
    def hooks_stream(self) -> str:
        return hook_subjects.hooks_stream(self.number, self.count)

    @property
    def member_log_stream(self) -> str:
        return hook_subjects.member_log_stream(self.number, self.count)

    @property
    def documents_incarnation(self) -> str:
        return document_subjects.documents_incarnation(self.number, self.count)

    @property
    def chat_incarnation(self) -> str:
        return subjects.chat_incarnation(self.number, self.count)

    @property
    def presence_incarnation(self) -> str:
        return subjects.presence_incarnation(self.number, self.count)

    @property
    def chat_subjects(self) -> list[str]:
        """The subjects of its stream of chat."""
        if self.count == 1:
            return [subjects.CHAT_SUBJECTS]
        return [subjects.chat_of_shard(shard) for shard in self.shards]

    @property
    def documents_subjects(self) -> list[str]:
        """The subjects of its stream of documents: logs, snapshots and the record about the stream."""
        if self.count == 1:
            return [document_subjects.DOCUMENT_LOGS, document_subjects.DOCUMENT_SNAPSHOTS, self.documents_incarnation]
        logs, snapshots = document_subjects.documents_of_shard, document_subjects.snapshots_of_shard
        return [*map(logs, self.shards), *map(snapshots, self.shards), self.documents_incarnation]

    @property
    def hooks_subjects(self) -> list[str]:
        """The subjects of its stream of events for backends."""
        if self.count == 1:
            return [hook_subjects.HOOK_EVENTS]
        return [*map(hook_subjects.hook_events_of_shard, self.shards)]

    @property
    def presence_subjects(self) -> list[str]:
        """The subjects of its presence stream."""
        if self.count == 1:
            return [subjects.PRESENCE_KEYS]
        return [*map(subjects.presence_keys_of_shard, self.shards), self.presence_incarnation]


def all_groups(count: int) -> list[Group]:
    return [Group(number, count) for number in range(count)]


class ByGroup(Generic[T_co]):
    """One part for each group of shards."""

    def __init__(self, parts: Sequence[T_co]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[T_co]:
        return iter(self._parts)

    def of(self, room: RoomId) -> T_co:
        """The part of the group that the room belongs to."""
        parts = self._parts
        return parts[0] if len(parts) == 1 else parts[subjects.shard_of(room) % len(parts)]


def groups_made(config: Mapping[str, Any]) -> int | None:
    """The number of groups with which a stream was made, from its configuration; None if it does not tell."""
    names = (config.get("metadata") or {}).get(STREAMS_MADE, "").split()
    return sum(name in subjects.CHAT_STREAMS for name in names) or None
