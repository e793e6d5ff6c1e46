"""The state of joining the wanted room: which answer counts, and what a refusal means."""

import math

from studyroom.client.core.backoff import Backoff, Random
from studyroom.client.core.refusals import is_transient
from studyroom.client.values import Failure, RoomState, RoomStatus

_BACKOFF = Backoff()


class Entry:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = 0
        self._asked = 0
        """The number of joins without an answer. Only the answer to the last one counts."""
        self.state = RoomState()

    @property
    def wanted(self) -> str | None:
        return self.state.room_id

    @property
    def inside(self) -> bool:
        """Whether events of a room apply. While the client is joining a room, they are those of the room before."""
        return self.state.status is RoomStatus.JOINED

    @property
    def pending(self) -> bool:
        """Whether a join has no answer yet. The client may be inside then: after `ChatReset` it joins again."""
        return self._asked > 0

    def want(self, room_id: str) -> None:
        self.state = RoomState(RoomStatus.JOINING, room_id)
        self._failures = 0

    def unwant(self) -> None:
        self.state = RoomState()

    def asked(self) -> None:
        self._asked += 1

    def joined(self, room_id: str) -> bool:
        """Return whether this is the wanted room."""
        if self.wanted != room_id:
            self._asked = max(0, self._asked - 1)
            return False
        self._asked = self._failures = 0
        self.state = RoomState(RoomStatus.JOINED, room_id)
        return True

    def refused(self, failure: Failure) -> float:
        """Handle an error that names no message. Return the seconds until the next join, or infinity."""
        if failure.code != "removed":
            answered = self._asked == 1
            self._asked = max(0, self._asked - 1)
            if not answered or self.wanted is None:
                return math.inf
            if is_transient(failure.code) or self.inside:
                self._failures += 1
                return _BACKOFF.wait(self._failures - 1, self._random)
        elif not self.inside:  # A moderator has removed the user. This answers no join.
            return math.inf
        self.state = RoomState(RoomStatus.REFUSED, self.wanted, failure)
        return math.inf

    def lost(self) -> None:
        """Call it when the connection is lost. The room must be joined again."""
        self._asked = 0
        if self.inside:
            self.state = RoomState(RoomStatus.JOINING, self.wanted)
