"""Gateways ask members of a room to connect again, so that they meet at its home."""

from dataclasses import dataclass, field

from studyroom.gateway.lifecycle.homes import Ask, Homes, Visit
from studyroom.shared.contract.ids import RoomId, UserId, new_user_id
from studyroom.shared.contract.room_hints import Spread, hint_of_part, part_of

ROOM = RoomId("550e8400-e29b-41d4-a716-446655440000")
OTHER = RoomId("0a1b2c3d-4e5f-4678-9abc-def012345678")
CHANGED, NOW = 100, 200
"""When the set of gateways has changed, and the time of most visits."""
PROBE_BEATS = 30


@dataclass(frozen=True)
class Member:
    hint: RoomId | None = ROOM
    opened_beat: int = 0
    user: UserId = field(default_factory=new_user_id)


class House:
    """A gateway with one room. It asks each user once."""

    def __init__(self, *members: Member, shared: bool = False, spread: int = 0) -> None:
        self.homes = Homes(Spread(spread), PROBE_BEATS)
        self.members = list(members)
        self.elsewhere: set[UserId] = set()
        self.shared = shared
        self.parts = 1
        self.asked: set[UserId] = set()
        self.claims: list[RoomId] = []
        self.change(CHANGED)

    def change(self, beat: int) -> None:
        self.homes.begin(beat)
        self.asked.clear()

    def visit(self, beat: int = NOW) -> list[Ask[Member]]:
        visit = Visit(ROOM, len(self.members), self.members, self.elsewhere, shared=self.shared)
        self.parts = self.homes.parts(visit, self.parts)
        asks = []
        for hint, ask, claim in self.homes.visit(visit, self.parts, beat, lambda user: user not in self.asked):
            if claim:
                self.claims.append(hint)
            if ask is not None:
                asks.append(ask)
                self.asked |= {member.user for member in ask.members}
        return asks

    def probe(self, beat: int = NOW) -> Member:
        """Visit, and let the one member go that is asked."""
        (ask,) = self.visit(beat)
        assert not ask.follow
        (member,) = ask.members
        self.members.remove(member)
        return member


def test_a_room_whose_member_came_by_its_hint_since_the_change_is_at_home():
    house = House(Member(), Member(opened_beat=CHANGED), Member(hint=None), shared=True)
    assert house.visit() == []


def test_after_a_change_one_member_is_asked_and_the_others_wait():
    house = House(*[Member() for _ in range(8)])
    house.probe()
    assert house.visit(NOW + 1) == []
    assert len(house.members) == 7


def test_all_others_follow_when_another_gateway_claims_the_room_and_each_is_asked_once():
    house = House(*[Member() for _ in range(8)])
    house.probe()
    house.shared = True
    house.homes.claimed([OTHER, ROOM])
    (ask,) = house.visit(NOW + 5)
    assert ask.follow
    assert ask.hint == ROOM
    assert ask.members == house.members
    assert house.visit(NOW + 10) == []


def test_a_room_stays_when_the_member_that_was_asked_comes_back():
    house = House(*[Member() for _ in range(8)])
    probe = house.probe()
    house.members.append(Member(opened_beat=NOW + 2, user=probe.user))
    for beat in range(NOW + 3, NOW + 300, 5):
        assert house.visit(beat) == []


def test_it_is_asked_again_after_another_change():
    house = House(Member(), Member())
    probe = house.probe()
    house.members.append(Member(opened_beat=NOW + 2, user=probe.user))
    assert house.visit(NOW + 5) == []
    house.change(NOW + 100)
    assert len(house.visit(NOW + 101)) == 1


def test_a_claim_from_before_the_change_counts_no_more():
    house = House(Member(), Member(), Member())
    house.probe()
    house.homes.claimed([ROOM])
    house.change(NOW + 10)
    (ask,) = house.visit(NOW + 11)
    assert not ask.follow


def test_a_member_that_does_not_come_back_is_waited_for_and_three_at_most_are_tried():
    house = House(*[Member() for _ in range(8)])
    for probe in range(3):
        beat = NOW + probe * PROBE_BEATS
        house.probe(beat)
        assert house.visit(beat + PROBE_BEATS - 1) == []
    assert house.visit(NOW + 1000) == []


def test_members_that_ignore_hints_are_asked_one_after_another():
    house = House(*[Member(hint=OTHER) for _ in range(8)], shared=True)
    first = house.probe()
    house.members.append(Member(hint=OTHER, opened_beat=NOW + 1, user=first.user))
    second = house.probe(NOW + 5)
    assert second.user != first.user


def test_a_member_that_has_sent_the_hint_is_asked_first():
    knows = Member()
    house = House(Member(hint=None), Member(hint=OTHER), knows, shared=True)
    assert house.probe() is knows


def test_members_without_a_hint_are_never_asked():
    house = House(Member(hint=None), Member(hint=None), shared=True)
    assert house.visit() == []
    house.homes.claimed([ROOM])
    assert house.visit() == []
    house.members.append(Member(hint=OTHER))
    (ask,) = house.visit()
    assert [member.hint for member in ask.members] == [OTHER]


def test_members_that_came_for_another_room_stay_while_the_room_is_all_here():
    house = House(Member(hint=OTHER), Member(hint=OTHER))
    assert house.visit() == []
    house.shared = True
    assert len(house.visit()) == 1


def test_a_user_who_is_also_connected_elsewhere_proves_nothing_and_is_not_asked_first():
    two_tabs, one_tab = Member(), Member()
    house = House(two_tabs, one_tab, shared=True)
    house.elsewhere = {two_tabs.user}
    assert house.probe() is one_tab


def test_a_gateway_claims_a_room_that_has_members_elsewhere_once_for_each_that_comes():
    house = House(Member(opened_beat=NOW))
    house.visit()
    assert house.claims == []
    house.shared = True
    house.visit()
    house.visit(NOW + 5)
    assert house.claims == [ROOM]
    house.members.append(Member(opened_beat=NOW + 7))
    house.visit(NOW + 10)
    assert house.claims == [ROOM, ROOM]


def test_a_gateway_claims_nothing_for_members_that_came_before_the_change():
    house = House(Member(opened_beat=CHANGED - 1), shared=True)
    house.visit()
    assert house.claims == []


def test_rooms_that_are_gone_are_forgotten():
    house = House(*[Member() for _ in range(4)])
    house.probe()
    house.homes.keep(())
    house.homes.claimed([ROOM])
    (ask,) = house.visit()
    assert not ask.follow


# --- large rooms ------------------------------------------------------------------------------------------


def test_each_part_of_a_large_room_goes_to_its_own_home():
    house = House(*[Member(opened_beat=NOW) for _ in range(40)], spread=10)
    asks = house.visit()
    assert house.parts == 4
    parts = [hint_of_part(ROOM, part) for part in (1, 2, 3)]
    assert [ask.hint for ask in asks] == parts
    assert all(len(ask.members) == 1 and not ask.follow for ask in asks)
    for ask in asks:
        house.members.remove(ask.members[0])
    house.homes.claimed(parts)
    here = {member.user for member in house.members if part_of(member.user, 4) == 0}
    followers = {member.user for ask in house.visit(NOW + 5) for member in ask.members}
    assert followers == {member.user for member in house.members} - here


def test_a_newcomer_of_a_part_that_lives_elsewhere_is_sent_on_at_once():
    house = House(*[Member(opened_beat=NOW) for _ in range(35)], spread=10)
    house.visit()
    house.homes.claimed([hint_of_part(ROOM, 1)])
    house.visit(NOW + 5)
    newcomer = next(
        member for member in iter(lambda: Member(opened_beat=NOW + 9), None) if part_of(member.user, 4) == 1
    )
    house.members.append(newcomer)
    asks = [ask for ask in house.visit(NOW + 10) if ask.follow]
    assert [ask.members for ask in asks] == [[newcomer]]


def test_a_gateway_that_is_new_to_a_room_takes_over_the_parts_that_others_remember():
    user = next(user for user in iter(new_user_id, None) if part_of(user, 4) == 3)
    knows = Member(hint=hint_of_part(ROOM, 3), opened_beat=NOW, user=user)
    size = [Member() for _ in range(18)]
    assert House(*size, spread=10).homes.parts(Visit(ROOM, 18, size, (), shared=True), 1) == 2
    assert House(*size, spread=10).homes.parts(Visit(ROOM, 18, [*size, knows], (), shared=True), 1) == 4
