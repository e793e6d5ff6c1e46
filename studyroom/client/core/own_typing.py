"""The user's own typing notices. They are repeated while the user types, and end after a pause without a call."""

import math

_REPEAT_SECONDS = 4.0
_IDLE_SECONDS = 6.0


class OwnTyping:
    def __init__(self) -> None:
        self._repeat_at = math.inf
        """The time from which the next call sends a notice again. Infinite while no notice is active."""
        self.wake_at = math.inf
        """The time at which typing ends without another call."""

    def set(self, now: float, *, is_typing: bool) -> bool | None:
        """Return the notice to send now, or None."""
        if not is_typing:
            return self._stop()
        self.wake_at = now + _IDLE_SECONDS
        if now < self._repeat_at < math.inf:
            return None
        self._repeat_at = now + _REPEAT_SECONDS
        return True

    def poll(self, now: float) -> bool | None:
        """End typing when its time has come. Return the notice to send now, or None."""
        return self._stop() if now >= self.wake_at else None

    def forget(self) -> None:
        """Forget the notice, because nobody knows it any more."""
        self._repeat_at = self.wake_at = math.inf

    def _stop(self) -> bool | None:
        active = self._repeat_at < math.inf
        self.forget()
        return False if active else None
