"""Whether the peer is still there. After some silence the client asks it, and the peer must answer in time.

A timer that rings late (a stopped process, a sleeping machine) proves nothing, because an answer may be waiting to be
read. The client then asks once more.
"""

from dataclasses import dataclass
from enum import Enum, auto

_LATE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """After `interval_seconds` of silence the client asks, and gives the connection up `timeout_seconds` later."""

    interval_seconds: float = 15.0
    timeout_seconds: float = 8.0


class Verdict(Enum):
    ALIVE = auto()
    ASK = auto()
    """Send a Ping."""
    DEAD = auto()


class Liveness:
    def __init__(self, now: float, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat
        self._asked = self._excused = False
        self.wake_at = now + heartbeat.interval_seconds
        """The time of the next verdict that is not ALIVE."""

    def received(self, now: float) -> None:
        self.wake_at = now + self._heartbeat.interval_seconds
        self._asked = self._excused = False

    def poll(self, now: float) -> Verdict:
        """Call it at `wake_at`."""
        if now < self.wake_at:
            return Verdict.ALIVE
        late = now - self.wake_at >= _LATE_SECONDS
        if self._asked and (not late or self._excused):
            return Verdict.DEAD
        self._excused = self._asked
        self._asked = True
        self.wake_at = now + self._heartbeat.timeout_seconds
        return Verdict.ASK
