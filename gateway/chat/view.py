"""A stream of chat as clients see it: its epoch, the newest messages, and how long it deduplicates retries."""

from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from studyroom.gateway.chat.stream import ChatStream
from studyroom.gateway.rooms.history import History, Stored
from studyroom.shared.contract.groups import ByGroup

_HISTORY_KEPT_MIN = 64
"""A resume reads from the stream up to the remembered messages. It must reach them even in a busy room."""


class Retries:
    def __init__(self, streams: ByGroup[ChatStream]) -> None:
        self._streams = streams

    @property
    def retry_seconds(self) -> int:
        """How long streams deduplicate retries. All have the same configuration, but not all may be known yet."""
        return max(stream.terms.duplicate_window_seconds for stream in self._streams)


class StreamView:
    def __init__(self, stream: ChatStream, *, history_on_join: int) -> None:
        """`history_on_join`: how many messages a new member gets at most."""
        self._stream = stream
        self._history_on_join = history_on_join
        self.history_kept = max(history_on_join, _HISTORY_KEPT_MIN)

    @property
    def sure(self) -> bool:
        return self._stream.sure

    def epoch(self, presence_epoch: str) -> str:
        """The epoch that clients see. It changes with the epoch of the presence stream and with that of the chat."""
        epochs = f"{presence_epoch} {self._stream.terms.epoch}"
        return blake2b(epochs.encode(), digest_size=8).hexdigest()

    def newest(self, history: History) -> list[Stored]:
        """The newest messages for a new member, without those that the limits of the stream have removed by now."""
        terms = self._stream.terms
        count = self._history_on_join
        if terms.max_messages_per_room > 0:
            count = min(count, terms.max_messages_per_room)
        oldest = ""
        if terms.max_age_seconds > 0:
            oldest = (datetime.now(UTC) - timedelta(seconds=terms.max_age_seconds)).strftime("%Y-%m-%dT%H:%M:%S.%f")
        return history.newest(count, not_before=oldest, first=terms.first)
