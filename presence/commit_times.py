"""Estimates when a change was committed, from its sequence in the stream. Pure."""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class CommitTimes:
    """The newest samples of the stream's sequence over time. Times are monotonic seconds."""

    max_samples: int = 2500
    _samples: deque[tuple[int, float]] = field(default_factory=deque)

    def sample(self, applied: int, now: float) -> None:
        """Record that every change up to the sequence `applied` was committed before `now`."""
        if self._samples and applied <= self._samples[-1][0]:
            return
        self._samples.append((applied, now))
        if len(self._samples) > self.max_samples:
            self._samples.popleft()

    def clear(self) -> None:
        """Drop all samples, because sequences of another stream mean other changes."""
        self._samples.clear()

    def committed_by(self, revision: int, now: float) -> float:
        """Return the latest time at which the change can have been committed, `now` if no sample covers it."""
        index = bisect_left(self._samples, revision, key=lambda sample: sample[0])
        return self._samples[index][1] if index < len(self._samples) else now
