"""Limits concurrent work in compartments, so work that is stuck in one compartment does not stop the others.

Each compartment has slots of its own, and all compartments share further slots. Within a compartment, waiters get slots
in the order of their numbers. A waiter that returns with an old number comes before those that arrived later.
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
    """The number of slots in use, own and shared ones."""
    waiting: list[tuple[int, int, "Permit"]] = field(default_factory=list)
    """A heap by number, then by arrival. Cancelled permits are dropped when they come first."""
    restricted: bool = False
    opening: asyncio.TimerHandle | None = None
    """The timer before which a restricted compartment gives out no slot."""


class Permit(asyncio.Future[None]):
    """A place in a queue. It is done when it has a slot. Release it in any case."""

    def __init__(self, compartment: Hashable) -> None:
        super().__init__()
        self.compartment = compartment
        self.returned = False


class Bulkheads:
    """Slots in compartments. A compartment exists from its first use on."""

    def __init__(self, *, own: int, shared: int) -> None:
        """Create it with `own` slots for each compartment, and `shared` slots for all compartments together."""
        self._own = own
        self._shared = shared
        self._lent = 0
        self._numbers = itertools.count()
        self._arrivals = itertools.count()
        self._compartments: defaultdict[Hashable, _Compartment] = defaultdict(_Compartment)

    def number(self) -> int:
        """Return the number for a new waiter. Lower numbers come first."""
        return next(self._numbers)

    @property
    def waiting(self) -> int:
        """The number of waiters without a slot."""
        return sum(self.waiting_in().values())

    def waiting_in(self) -> dict[Hashable, int]:
        """Return the number of waiters without a slot, by compartment."""
        return {
            key: sum(not permit.done() for *_, permit in compartment.waiting)
            for key, compartment in self._compartments.items()
        }

    def queue(self, compartment: Hashable, number: int) -> Permit:
        """Return a permit that gets a slot at once or later. Release it after use."""
        permit = Permit(compartment)
        heapq.heappush(self._compartments[compartment].waiting, (number, next(self._arrivals), permit))
        self._serve(compartment)
        return permit

    def release(self, permit: Permit) -> None:
        """Give back the slot of a permit, or stop waiting for one. Further calls have no effect."""
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
        """Wait for a slot and hold it during the block."""
        permit = self.queue(compartment, self.number())
        try:
            await permit
            yield
        finally:
            self.release(permit)

    # --- restricted compartments --------------------------------------------------------------------------

    def restrict(self, compartment: Hashable, until: float) -> None:
        """Give out one slot at a time, and the next one not before `until` (in the loop's time)."""
        restricted = self._compartments[compartment]
        restricted.restricted = True
        if restricted.opening is not None:
            restricted.opening.cancel()
        restricted.opening = asyncio.get_running_loop().call_at(until, self._open, compartment)

    def relax(self, compartment: Hashable) -> None:
        """Give out as many slots as before the restriction."""
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

    # --- giving out slots ---------------------------------------------------------------------------------

    def _serve(self, key: Hashable) -> None:
        """Give the waiters of a compartment the slots that it may use now."""
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
        """Give free shared slots to the waiters with the lowest numbers."""
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
        """Return the lowest number that waits, None if there are no waiters."""
        waiting = compartment.waiting
        while waiting and waiting[0][2].done():
            heapq.heappop(waiting)
        return waiting[0][0] if waiting else None
