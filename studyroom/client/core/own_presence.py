"""The fields that this client has set in its room. It sends changes together, and again if the server lost them."""

from typing import Any

from studyroom.client.core.throttle import Throttle
from studyroom.client.values import Presence
from studyroom.shared.contract.custom_presence import difference, merged

_INTERVAL_SECONDS = 0.15
"""The least time between two changes that the client sends. The server allows ten a second."""


class OwnPresence:
    def __init__(self) -> None:
        self._throttle: Throttle[dict[str, Any]] = Throttle(_INTERVAL_SECONDS)
        self._wanted: dict[str, Any] = {}
        """Changes that the program has made, those that are stored too."""
        self._unsent: dict[str, Any] = {}

    def update(self, change: Presence) -> None:
        self._wanted |= change
        self._queue(change)

    def joined(self, known: Presence) -> None:
        """The client has joined, and the server has these fields."""
        lost = self._lost(known)
        self._unsent = {}
        self._throttle.clear()
        if lost:
            self._queue(lost)

    def shown(self, known: Presence) -> Presence:
        """Return the fields of the user as they will be when the server has all changes."""
        return merged(known, self._wanted)

    def changed(self, change: Presence) -> None:
        """A connection of the user has changed fields. Its values are newer than those set here and sent before."""
        for name, value in change.items():
            if name in self._wanted and name not in self._unsent:
                self._wanted[name] = value

    def refused(self, known: Presence) -> None:
        """The server has these fields, and has refused a change. Only unsent changes stay beside them."""
        lost = self._lost(known)
        self._wanted = {name: value for name, value in self._wanted.items() if name not in lost or name in self._unsent}

    def take(self, now: float) -> dict[str, Any] | None:
        """Return the change to send now, or None."""
        change = self._throttle.take(now)
        if change is not None:
            self._unsent = {}
        return change

    @property
    def wake_at(self) -> float:
        return self._throttle.wake_at

    def _lost(self, known: Presence) -> dict[str, Any]:
        """The wanted fields that the server has not, or has otherwise."""
        return difference(known, merged(known, self._wanted))

    def _queue(self, change: Presence) -> None:
        self._unsent = {**self._unsent, **change}
        self._throttle.put(self._unsent)
