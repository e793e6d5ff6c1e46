"""How much may be under way at once, divided into compartments: what is stuck in one takes nothing from the others.

Each compartment has slots of its own, and all of them share some more. Within a compartment slots are given in the
order of arrival; someone who comes back with an old number is served before those who came later.
"""

import asyncio
import heapq
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Compartment:
    taken: int = 0
    """Slots in use, its own and shared ones."""
    waiting: list[tuple[int, int, "Permit"]] = field(default_factory=list)
    """A heap by number, and by arrival among equal ones; those that gave up are skipped when they come first."""
    restricted: bool = False
    opening: asyncio.TimerHandle | None = None
    """While it is restricted: until then no slot is given."""


class Permit(asyncio.Future[None]):
    """A place in a queue: done when it has become a slot. To be given back in any case."""

    def __init__(self, compartment: Hashable) -> None:
        super().__init__()
        self.compartment = compartment
        self.returned = False


class Bulkheads:
    def __init__(self, *, own: int, shared: int) -> None:
        """`own`: slots of each compartment; `shared`: more, for those that need them."""
        self._own = own
        self._shared = shared
        self._lent = 0
        self._numbers = itertools.count()
        self._arrivals = itertools.count()
        self._compartments: defaultdict[Hashable, _Compartment] = defaultdict(_Compartment)

    def number(self) -> int:
        """For someone who begins to wait; lower numbers come first."""
        return next(self._numbers)

    @property
    def waiting(self) -> int:
        """How many have no slot."""
        return sum(self.waiting_in().values())

    def waiting_in(self) -> dict[Hashable, int]:
        """The same, by compartment."""
        return {
            key: sum(not permit.done() for *_, permit in compartment.waiting)
            for key, compartment in self._compartments.items()
        }

    def queue(self, compartment: Hashable, number: int) -> Permit:
        """A place that becomes a slot, maybe at once. Give it back when it is not needed any more."""
        permit = Permit(compartment)
        heapq.heappush(self._compartments[compartment].waiting, (number, next(self._arrivals), permit))
        self._serve(compartment)
        return permit

    def release(self, permit: Permit) -> None:
        """The slot, or the wish for one."""
        if permit.returned:
            return
        permit.returned = True
        had_slot = permit.done() and not permit.cancelled()
        permit.cancel()
        if not had_slot:
            return
        compartment = self._compartments[permit.compartment]
        if compartment.taken > self._own:
            self._lent -= 1
        compartment.taken -= 1
        self._serve(permit.compartment)
        self._lend()

    @asynccontextmanager
    async def slot(self, compartment: Hashable) -> AsyncIterator[None]:
        """Wait for a slot and hold it."""
        permit = self.queue(compartment, self.number())
        try:
            await permit
            yield
        finally:
            self.release(permit)

    # --- compartments in trouble ---

    def restrict(self, compartment: Hashable, until: float) -> None:
        """One slot at a time, and the next one not before `until` (seconds of the event loop)."""
        restricted = self._compartments[compartment]
        restricted.restricted = True
        if restricted.opening is not None:
            restricted.opening.cancel()
        restricted.opening = asyncio.get_running_loop().call_at(until, self._open, compartment)

    def relax(self, compartment: Hashable) -> None:
        """As many slots as ever."""
        relaxed = self._compartments[compartment]
        if not relaxed.restricted:
            return
        relaxed.restricted = False
        if relaxed.opening is not None:
            relaxed.opening.cancel()
            relaxed.opening = None
        self._serve(compartment)

    def is_restricted(self, compartment: Hashable) -> bool:
        return self._compartments[compartment].restricted

    def _open(self, compartment: Hashable) -> None:
        self._compartments[compartment].opening = None
        self._serve(compartment)

    # --- giving slots ---

    def _serve(self, key: Hashable) -> None:
        """Give the compartment the slots that it may have now."""
        compartment = self._compartments[key]
        while self._first(compartment) is not None and self._has_slot(compartment):
            if compartment.taken >= self._own:
                self._lent += 1
            compartment.taken += 1
            *_, permit = heapq.heappop(compartment.waiting)
            permit.set_result(None)

    def _has_slot(self, compartment: _Compartment) -> bool:
        if compartment.restricted:
            return compartment.taken == 0 and compartment.opening is None
        return compartment.taken < self._own or self._lent < self._shared

    def _lend(self) -> None:
        """A shared slot may be free: whoever has waited longest gets it."""
        while self._lent < self._shared:
            found: tuple[int, Hashable] | None = None
            for key, compartment in self._compartments.items():
                number = self._first(compartment)
                if number is not None and not compartment.restricted and (found is None or number < found[0]):
                    found = number, key
            if found is None:
                return
            self._serve(found[1])

    @staticmethod
    def _first(compartment: _Compartment) -> int | None:
        """The lowest number that waits."""
        waiting = compartment.waiting
        while waiting and waiting[0][2].done():
            heapq.heappop(waiting)
        return waiting[0][0] if waiting else None
