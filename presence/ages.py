"""How long ago something was written, told by its revision. Pure."""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Ages:
    """Samples of how far the stream was at what time, the newest of them. Times are monotonic seconds."""

    kept: int = 2500
    _samples: deque[tuple[int, float]] = field(default_factory=deque)

    def sample(self, applied: int, now: float) -> None:
        """Everything up to `applied` was written before `now`."""
        if self._samples and applied <= self._samples[-1][0]:
            return
        self._samples.append((applied, now))
        if len(self._samples) > self.kept:
            self._samples.popleft()

    def forget(self) -> None:
        """The stream is another one."""
        self._samples.clear()

    def written(self, revision: int, now: float) -> float:
        """When it had been written, at the latest. What no sample covers may have been written just now."""
        index = bisect_left(self._samples, revision, key=lambda sample: sample[0])
        return self._samples[index][1] if index < len(self._samples) else now
