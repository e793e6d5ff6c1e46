"""Brings the members of a room together at its home, the gateway that the load balancer chooses by the hint. Pure.

No gateway knows how the load balancer chooses. It learns it from the members: if one comes here with the hint of its
room, the room has its home here. When the set of gateways has changed, this may be out of date. So the gateway asks one
member to connect again with the hint (a probe). If another gateway then claims the room, all other members follow. If
the member comes back, the room stays.

Times are beats, which are seconds. Everything that was learnt is void when the set of gateways changes.
"""

from collections.abc import Callable, Collection, Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.room_hints import Spread, hint_of_part, part_of

_PROBES_MAX = 3
"""Clients may not know hints, or go away. After so many probes without an answer a room stays where it is."""


class Guest(Protocol):
    """A connection that is in a room."""

    @property
    def user(self) -> UserId: ...
    @property
    def hint(self) -> RoomId | None:
        """The hint in the address of the connection."""

    @property
    def opened_beat(self) -> int: ...


Member = TypeVar("Member", bound=Guest)
MayAsk = Callable[[UserId], bool]
"""Returns False for a user who was asked before."""


@dataclass(frozen=True, slots=True)
class Visit(Generic[Member]):
    """A room as this gateway knows it."""

    room: RoomId
    size: int
    """The number of members on all gateways."""
    here: Collection[Member]
    elsewhere: Container[UserId]
    """The users that are connected to other gateways."""
    shared: bool
    """Other gateways have members of the room."""


@dataclass(frozen=True, slots=True)
class Ask(Generic[Member]):
    """Members to ask to connect again with the hint."""

    hint: RoomId
    members: list[Member]
    follow: bool
    """The room has its home elsewhere. Otherwise this is a probe."""


@dataclass(slots=True)
class _Part:
    """The state of a part of a room, or of a room that is not divided."""

    probes: int = 0
    probed: UserId | None = None
    probed_beat: int = 0
    away: bool = False
    """Another gateway has claimed it."""
    claimed_beat: int = -1
    """The arrival of the newest member for which this gateway has claimed it."""

    def forget(self) -> None:
        self.probes = 0
        self.probed = None
        self.away = False
        self.claimed_beat = -1


@dataclass(slots=True)
class Homes:
    spread: Spread
    probe_beats: int
    """The time that a member who was asked has to appear somewhere."""
    _since: int = 0
    """Members that came earlier may have come by another set of gateways."""
    _parts: dict[RoomId, _Part] = field(default_factory=dict)
    """Parts by their hints."""

    def begin(self, beat: int) -> None:
        """The set of gateways is another one, and the load balancer knows it since this beat."""
        self._since = beat
        for part in self._parts.values():
            part.forget()

    def claimed(self, hints: Iterable[RoomId]) -> None:
        """Another gateway claims rooms, or parts of rooms, because members came there with the hint."""
        for hint in hints:
            if (part := self._parts.get(hint)) is not None:
                part.away = True

    def keep(self, hints: Container[RoomId]) -> None:
        """Forget all but these."""
        self._parts = {hint: part for hint, part in self._parts.items() if hint in hints}

    def parts(self, visit: Visit[Member], before: int) -> int:
        """Return the number of parts of the room. `before`: how many it has had.

        A gateway that is new to the room takes over from hints of its members what others remember.
        """
        parts = self.spread.parts(visit.size, before)
        wider = 2 * parts
        if self.spread.parts(visit.size, wider) == wider:
            of_wider = {hint_of_part(visit.room, number) for number in range(parts, wider)}
            if any(member.hint in of_wider for member in visit.here):
                return wider
        return parts

    def visit(
        self, visit: Visit[Member], parts: int, beat: int, may_ask: MayAsk
    ) -> Iterator[tuple[RoomId, Ask[Member] | None, bool]]:
        """Return for each part of the room that has members here: its hint, whom to ask, and whether to claim it."""
        members: list[list[Member]] = [[] for _ in range(parts)]
        for member in visit.here:
            members[part_of(member.user, parts)].append(member)
        for number, here in enumerate(members):
            if not here:
                continue
            hint = hint_of_part(visit.room, number)
            part = self._parts.setdefault(hint, _Part())
            evidence = max((member.opened_beat for member in here if member.hint == hint), default=-1)
            if evidence < self._since:
                yield hint, self._ask(part, hint, here, visit, beat, may_ask, divided=parts > 1), False
                continue
            part.probed = None
            claim = visit.shared and evidence > part.claimed_beat
            if claim:
                part.claimed_beat = evidence
            yield hint, None, claim

    def _ask(
        self,
        part: _Part,
        hint: RoomId,
        here: list[Member],
        visit: Visit[Member],
        beat: int,
        may_ask: MayAsk,
        *,
        divided: bool,
    ) -> Ask[Member] | None:
        # Clients that sent no hint would not come back with one.
        askable = [member for member in here if member.hint is not None and may_ask(member.user)]
        if part.away:
            return Ask(hint, askable, follow=True) if askable else None
        if part.probed is not None:
            came_back = any(member.user == part.probed for member in here)
            if not came_back and beat - part.probed_beat < self.probe_beats:
                return None
            part.probed = None
        probe = _best_probe([member for member in askable if member.user not in visit.elsewhere], hint)
        if probe is None or part.probes == _PROBES_MAX:
            return None
        if probe.hint != hint and not (visit.shared or divided):
            return None  # the whole room is here
        part.probes += 1
        part.probed, part.probed_beat = probe.user, beat
        return Ask(hint, [probe], follow=False)


def _best_probe(members: list[Member], hint: RoomId) -> Member | None:
    """Choose a member that has sent the hint before, if there is one."""
    return next((member for member in members if member.hint == hint), members[0] if members else None)
