"""The copy of one room in a gateway: `studyroom.gateway.rooms.roster.Roster`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from operator import xor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import studyroom.gateway.rooms.roster
from studyroom.gateway.rooms.roster import Change, Notice, Roster
from studyroom.shared.contract.ids import UserId
from studyroom.shared.contract.presence import Member, Profile, member_digest

ADA, BEN = UserId("ada"), UserId("ben")
ADAS, BENS = Profile(username="Ada"), Profile(username="Ben")


def loaded(revision: int, *members: Member, epoch: str = "e1") -> Roster:
    roster = Roster()
    roster.load(epoch, revision, members)
    return roster


def member(user: UserId, revision: int, profile: Profile = ADAS) -> Member:
    return Member(user=user, profile=profile, revision=revision)


def digest_of(roster: Roster) -> int:
    """The digest made from scratch."""
    return reduce(xor, (member_digest(user, seat.revision) for user, seat in roster._members.items()), 0)


def users(roster: Roster) -> set[str]:
    return {presence.user_id for presence in roster.users()}


# --- changes -----------------------------------------------------------------------------------------------


def test_a_user_that_appears_has_joined_and_a_user_that_disappears_has_left():
    roster = Roster()
    assert roster.put(ADA, ADAS, 1) == Notice(Change.JOINED, ADA, ADAS)
    assert ADA in roster
    assert roster.remove(ADA, 2) == Notice(Change.LEFT, ADA, ADAS)
    assert ADA not in roster


def test_another_connection_of_a_member_changes_nothing():
    roster = loaded(1, member(ADA, 1))
    assert roster.put(ADA, ADAS, 2) is None


def test_another_profile_is_a_change():
    roster = loaded(1, member(ADA, 1))
    assert roster.put(ADA, BENS, 2) == Notice(Change.UPDATED, ADA, BENS)
    assert [presence.username for presence in roster.users()] == ["Ben"]


@pytest.mark.parametrize("revision", [1, 5])
def test_a_change_that_is_not_newer_does_nothing(revision: int):
    roster = loaded(5, member(ADA, 5))
    assert roster.put(ADA, BENS, revision) is None
    assert roster.remove(ADA, revision) is None
    assert [presence.username for presence in roster.users()] == ["Ada"]


def test_a_join_older_than_the_leave_makes_no_ghost():
    roster = loaded(1, member(ADA, 1))
    roster.remove(ADA, 7)
    assert roster.put(ADA, ADAS, 6) is None
    assert roster.put(ADA, ADAS, 8) == Notice(Change.JOINED, ADA, ADAS)


def test_a_leave_that_overtook_its_join_is_remembered():
    roster = loaded(1)
    assert roster.remove(ADA, 7) is None
    assert roster.put(ADA, ADAS, 6) is None


def test_a_forgotten_leave_still_makes_no_ghost(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(studyroom.gateway.rooms.roster, "REMOVALS_KEPT", 1)
    roster = loaded(2, member(ADA, 1), member(BEN, 2))
    roster.remove(ADA, 3)
    roster.remove(BEN, 4)
    assert roster.put(ADA, ADAS, 1) is None
    assert roster.put(ADA, ADAS, 5) == Notice(Change.JOINED, ADA, ADAS)


# --- rosters -----------------------------------------------------------------------------------------------


def test_a_roster_announces_its_changes():
    roster = loaded(2, member(ADA, 1), member(BEN, 2, BENS))
    cleo = UserId("cleo")
    notices = roster.load("e1", 9, [member(ADA, 8, BENS), member(cleo, 9)])
    assert notices == [
        Notice(Change.UPDATED, ADA, BENS),
        Notice(Change.JOINED, cleo, ADAS),
        Notice(Change.LEFT, BEN, BENS),
    ]


def test_the_same_roster_again_announces_nothing():
    members = [member(ADA, 1), member(BEN, 2, BENS)]
    roster = loaded(2, *members)
    assert roster.load("e1", 2, members) == []


def test_a_user_that_joined_after_a_roster_was_made_stays():
    roster = loaded(5)
    roster.put(ADA, ADAS, 6)
    assert roster.load("e1", 5, []) == []
    assert ADA in roster


def test_a_user_that_left_after_a_roster_was_made_stays_away():
    roster = loaded(5, member(ADA, 5))
    roster.remove(ADA, 6)
    assert roster.load("e1", 5, [member(ADA, 5)]) == []
    assert ADA not in roster


def test_a_roster_knows_better_than_leaves_that_were_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(studyroom.gateway.rooms.roster, "REMOVALS_KEPT", 0)
    roster = loaded(2, member(BEN, 2))
    roster.remove(BEN, 9)
    assert roster.load("e1", 9, [member(ADA, 4)]) == [Notice(Change.JOINED, ADA, ADAS)]


def test_an_event_older_than_the_roster_announces_nobody():
    roster = loaded(20)
    assert roster.put(ADA, ADAS, 5) is None
    assert ADA not in roster


def test_an_old_event_of_someone_known_to_have_left_before_the_roster_announces_nobody():
    roster = loaded(3, member(ADA, 3))
    roster.remove(ADA, 5)
    roster.load("e1", 20, [])
    assert roster.put(ADA, ADAS, 7) is None


# --- epochs ------------------------------------------------------------------------------------------------


def test_in_a_new_epoch_low_revisions_are_newer():
    roster = loaded(5000, member(ADA, 5000))
    roster.remove(BEN, 4999)
    assert roster.load("e2", 2, [member(ADA, 1, BENS), member(BEN, 2, BENS)]) == [
        Notice(Change.UPDATED, ADA, BENS),
        Notice(Change.JOINED, BEN, BENS),
    ]
    assert roster.remove(ADA, 3) == Notice(Change.LEFT, ADA, BENS)


def test_a_new_epoch_announces_only_differences():
    roster = loaded(5000, member(ADA, 5000), member(BEN, 4000, BENS))
    assert roster.load("e2", 1, [member(ADA, 1)]) == [Notice(Change.LEFT, BEN, BENS)]


def test_a_new_epoch_in_which_nothing_happened_yet_empties_the_room():
    roster = loaded(5000, member(ADA, 5000))
    assert roster.load("e2", 0, []) == [Notice(Change.LEFT, ADA, ADAS)]
    assert len(roster) == 0


def test_a_user_that_is_missing_in_a_new_epoch_stays_until_the_epoch_is_settled():
    roster = loaded(5000, member(ADA, 5000), member(BEN, 4000, BENS))
    assert roster.load("e2", 1, [member(ADA, 1)], settled=False) == []
    assert roster.unconfirmed
    assert roster.load("e2", 2, [member(ADA, 1)], settled=False) == []
    assert roster.load("e2", 3, [member(ADA, 1)]) == [Notice(Change.LEFT, BEN, BENS)]
    assert not roster.unconfirmed


def test_a_user_that_is_restored_in_a_new_epoch_changes_nothing():
    roster = loaded(5000, member(ADA, 5000))
    roster.load("e2", 1, [], settled=False)
    assert roster.put(ADA, ADAS, 2) is None
    assert not roster.unconfirmed
    assert roster.load("e2", 2, [member(ADA, 2)]) == []


def test_a_user_that_leaves_in_a_new_epoch_before_it_is_settled_has_left():
    roster = loaded(5000, member(ADA, 5000))
    roster.load("e2", 1, [], settled=False)
    assert roster.remove(ADA, 2) == Notice(Change.LEFT, ADA, ADAS)


def test_the_digest_counts_confirmed_members_only():
    roster = loaded(5000, member(ADA, 5000))
    roster.load("e2", 1, [], settled=False)
    assert roster.digest == 0


# --- any history, delivered in any way ---------------------------------------------------------------------

CAST = [UserId(name) for name in ("ada", "ben", "cleo", "dan")]
PROFILES = {name: Profile(username=name) for name in ("one", "two")}


@dataclass(frozen=True)
class Commit:
    revision: int
    user: UserId
    profile: Profile | None


@dataclass
class World:
    """The truth, which is the commits of one room, and a client's view of it."""

    commits: list[Commit]
    epoch: str = "e1"
    roster: Roster = field(default_factory=Roster)
    shown: dict[UserId, Profile] = field(default_factory=dict)
    known: dict[UserId, int] = field(default_factory=dict)
    """Per user the newest revision that this gateway has received, by an event or a roster."""
    arrived: int = 0
    """Commits whose event has come or was lost."""

    @property
    def newest(self) -> int:
        return self.commits[-1].revision if self.commits else 0

    def truth(self, revision: int) -> dict[UserId, Commit]:
        last = {commit.user: commit for commit in self.commits if commit.revision <= revision}
        return {user: commit for user, commit in last.items() if commit.profile is not None}

    def deliver(self, commit: Commit) -> None:
        if commit.profile is None:
            notice = self.roster.remove(commit.user, commit.revision)
        else:
            notice = self.roster.put(commit.user, commit.profile, commit.revision)
        self.show([notice] if notice else [])
        self.know(commit.user, commit.revision)

    def load(self, revision: int) -> None:
        members = [
            Member(user=user, profile=commit.profile, revision=commit.revision)
            for user, commit in self.truth(revision).items()
            if commit.profile is not None
        ]
        self.show(self.roster.load(self.epoch, revision, members))
        for user in CAST:
            self.know(user, revision)

    def know(self, user: UserId, revision: int) -> None:
        self.known[user] = max(self.known.get(user, 0), revision)

    def show(self, notices: list[Notice]) -> None:
        """A client's view; every notice has to change it."""
        for notice in notices:
            before = self.shown.get(notice.user)
            match notice.change:
                case Change.JOINED:
                    assert before is None, "joined twice"
                    self.shown[notice.user] = notice.profile
                case Change.UPDATED:
                    assert before not in {None, notice.profile}, "updated without need"
                    self.shown[notice.user] = notice.profile
                case Change.LEFT:
                    assert before is not None, "left without having joined"
                    del self.shown[notice.user]
        assert self.shown == {UserId(user.user_id): Profile(username=user.username) for user in self.roster.users()}
        assert self.roster.digest == digest_of(self.roster)

    def was_true(self, user: UserId) -> bool:
        """Whether the view of `user` was true at some time since the newest known revision."""
        since = self.known.get(user, 0)
        times = {since, *(commit.revision for commit in self.commits if commit.revision > since)}
        seats = [self.truth(time).get(user) for time in times]
        return self.shown.get(user) in [seat.profile if seat else None for seat in seats]


@st.composite
def histories(draw: st.DrawFn) -> list[Commit]:
    commits, present, revision = list[Commit](), set[UserId](), 0
    steps = st.tuples(st.integers(1, 3), st.sampled_from(CAST), st.sampled_from([None, *PROFILES.values()]))
    for gap, user, profile in draw(st.lists(steps, min_size=6, max_size=16)):
        if profile is None and user not in present:
            continue
        revision += gap
        commits.append(Commit(revision, user, profile))
        (present.discard if profile is None else present.add)(user)
    return commits


def opened(commits: list[Commit]) -> World:
    """A room begins with a roster; events that came before it wait for it."""
    world = World(commits)
    world.load(0)
    return world


STEPS = st.lists(
    st.tuples(st.sampled_from(["arrive", "arrive", "arrive", "lose", "repeat", "load"]), st.integers(0, 99)),
    min_size=12,
    max_size=40,
)


def play(world: World, steps: list[tuple[str, int]], *, after: Callable[[World], None]) -> None:
    """Events come in order, get lost, and come again late; rosters are of any time, also ahead of the events."""
    for step, which in steps:
        ahead = world.commits[world.arrived :]
        match step:
            case "arrive" if ahead:
                world.deliver(ahead[0])
                world.arrived += 1
            case "lose" if ahead:
                world.arrived += 1
            case "repeat" if world.arrived:
                world.deliver(world.commits[which % world.arrived])
            case "load" if world.commits:
                world.load(world.commits[which % len(world.commits)].revision)
            case _:
                continue
        after(world)


def no_ghosts(world: World) -> None:
    assert all(world.was_true(user) for user in world.shown)


def nothing_stale(world: World) -> None:
    assert all(world.was_true(user) for user in CAST)


@settings(max_examples=250)
@given(histories(), STEPS)
def test_the_view_never_goes_back_to_before_the_newest_known_revision(
    commits: list[Commit], steps: list[tuple[str, int]]
):
    play(opened(commits), steps, after=nothing_stale)


@settings(max_examples=250)
@given(histories(), STEPS, st.integers(0, 2))
def test_forgetting_leaves_makes_no_ghosts(commits: list[Commit], steps: list[tuple[str, int]], kept: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studyroom.gateway.rooms.roster, "REMOVALS_KEPT", kept)
        play(opened(commits), steps, after=no_ghosts)


@settings(max_examples=250)
@given(histories(), STEPS, st.sampled_from([0, 1, 2, 1024]))
def test_the_newest_roster_corrects_everything(commits: list[Commit], steps: list[tuple[str, int]], kept: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studyroom.gateway.rooms.roster, "REMOVALS_KEPT", kept)
        world = opened(commits)
        play(world, steps, after=lambda _: None)
        world.load(world.newest)
    assert world.shown == {user: commit.profile for user, commit in world.truth(world.newest).items()}


@settings(max_examples=150)
@given(histories(), STEPS)
def test_events_that_all_come_in_order_need_no_second_roster(commits: list[Commit], steps: list[tuple[str, int]]):
    world = opened(commits)
    play(world, [(step, which) for step, which in steps if step != "lose"], after=lambda _: None)
    for commit in commits[world.arrived :]:
        world.deliver(commit)
    assert world.shown == {user: commit.profile for user, commit in world.truth(world.newest).items()}


@settings(max_examples=150)
@given(histories(), STEPS, histories() | st.just([]), STEPS, st.sampled_from([1, 1024]))
def test_the_newest_roster_of_a_new_epoch_corrects_everything(
    old: list[Commit], before: list[tuple[str, int]], new: list[Commit], after: list[tuple[str, int]], kept: int
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studyroom.gateway.rooms.roster, "REMOVALS_KEPT", kept)
        world = opened(old)
        world.load(world.newest)
        play(world, before, after=lambda _: None)
        world = World(new, epoch="e2", roster=world.roster, shown=world.shown)
        play(world, after, after=lambda _: None)
        world.load(world.newest)
    assert world.shown == {user: commit.profile for user, commit in world.truth(world.newest).items()}
