"""How the inspector compares looks, without any process."""

from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from studyroom.services.inspector.asking import Connected, Expected
from studyroom.services.inspector.differences import Difference, differences_of_room, differences_of_user, lasting
from studyroom.services.inspector.events import Event, RoomLog
from studyroom.services.inspector.looking import Committed, RoomLook, UserLook, Witnesses
from studyroom.services.inspector.reports import room_as_text
from studyroom.services.inspector.verdict import Verdict, look_until_certain
from studyroom.services.stack.cli import main
from studyroom.shared.chassis import recent_problems
from studyroom.shared.contract.chat import encode_edit, encode_stored, encode_tombstone
from studyroom.shared.contract.chat_messages import EditChatPayload
from studyroom.shared.contract.ids import (
    ConnectionId,
    GatewayId,
    MembershipId,
    MessageId,
    RoomId,
    UserId,
    new_gateway_id,
    new_membership_id,
    new_message_id,
    new_user_id,
)
from studyroom.shared.contract.inspection import (
    MEMBERS_PER_PART,
    ChatState,
    GatewayRoom,
    GatewayUser,
    LoggedProblem,
    OpenConnection,
    PresenceRoom,
    PresenceUser,
    Process,
    Question,
    connections_digest,
    members_digest,
    parts_for,
)
from studyroom.shared.contract.moderation import Command, Kind, Target
from studyroom.shared.contract.presence import Entry, Profile

ROOM = RoomId("550e8400-e29b-41d4-a716-446655440000")
HERE, THERE = (
    GatewayId("16fd2706-8baf-433b-82eb-8c7fada847da"), GatewayId("26fd2706-8baf-433b-82eb-8c7fada847da"),
)  # fmt: skip
ANN, BOB = UserId("6fa459ea-ee8a-3ca4-894e-db77e160355e"), UserId("7fa459ea-ee8a-3ca4-894e-db77e160355e")
EPOCH = "2026-01-31T12:00:00.123456789Z"
SHORTEST_PAYLOAD = 16_000


def entry(*gateways: GatewayId, user: str = ANN, **changes: Any) -> Entry:
    """A member with a connection at each gateway."""
    connections = {
        new_membership_id(ConnectionId(f"{user[:35]}{index}"), 0): gateway for index, gateway in enumerate(gateways)
    }
    return Entry(profile=Profile(username="Ann" if user == ANN else "Bob"), connections=connections, **changes)


def process(number: int) -> Process:
    return Process(host="pod", pid=number, nats=f"server/{number}")


def look(members: dict[UserId, Committed] | None = None, *, chat: int = 30) -> RoomLook:
    """Everybody agrees."""
    if members is None:
        members = {
            ANN: Committed(entry(HERE, user=ANN), 10),
            BOB: Committed(entry(THERE, user=BOB), 20),
        }
    gateways = [Connected("server/1", "10.0.0.1:1"), Connected("server/2", "10.0.0.2:1")]
    replicas = [Connected("server/3", "10.0.0.3:1"), Connected("server/4", "10.0.0.4:1")]
    seen = RoomLook(
        room=ROOM,
        witnesses=Witnesses(Expected(gateways, replicas, {HERE: 0.5, THERE: 0.5}), {}),
        members=members,
        removed={},
        epoch=EPOCH,
        chat=chat,
        bans={},
        retention=None,
        gateways=[],
        replicas=[],
    )
    revisions = {user: member.revision for user, member in members.items()}
    digest = members_digest(revisions.items())
    for number, gateway in enumerate((HERE, THERE), 1):
        own = seen.memberships_at(gateway)
        seen.gateways.append(
            GatewayRoom(
                process=process(number), gateway=gateway, hosted=True, epoch=EPOCH, revision=seen.revision,
                digest=digest, members=len(members), connections=len(own), connections_digest=connections_digest(own),
                chat=ChatState(position=chat, epoch="e", waits=False), revisions=revisions, memberships=own,
            )
        )  # fmt: skip
    for number in (3, 4):
        seen.replicas.append(
            PresenceRoom(
                process=process(number), ready=True, epoch=EPOCH, applied=99, digest=digest, members=len(members),
                revision=seen.revision, revisions=revisions,
            )
        )  # fmt: skip
    return seen


def change(seen: RoomLook, index: int = 0, **changes: Any) -> None:
    """Change what a gateway has, with the digests of that."""
    if (revisions := changes.get("revisions")) is not None:
        changes["digest"] = members_digest(revisions.items())
    if (memberships := changes.get("memberships")) is not None:
        changes |= {"connections_digest": connections_digest(memberships), "connections": len(memberships)}
    seen.gateways[index] = seen.gateways[index].model_copy(update=changes)


def texts(seen: RoomLook) -> list[str]:
    return [str(one) for one in differences_of_room(seen)]


def test_where_everybody_has_the_same_nothing_differs():
    assert texts(look()) == []
    assert texts(look({})) == []


def test_a_lost_join_a_lost_leave_and_an_old_revision_are_named():
    seen = look()
    change(seen, revisions={ANN: 10})
    (text,) = texts(seen)
    assert text == f"gateway {HERE} (pod:1) lacks member {BOB}, which the stream has (revision 20)"
    change(seen, revisions={ANN: 9, BOB: 20})
    assert texts(seen) == [f"gateway {HERE} (pod:1) has member {ANN} at revision 9, and the stream at 10"]

    seen = look({ANN: Committed(entry(HERE), 10)})
    seen.removed[BOB] = 21
    change(seen, revisions={ANN: 10, BOB: 20}, revision=21)
    change(seen, 1, revision=21)
    (text,) = texts(seen)
    assert text.endswith(f"still has member {BOB} (revision 20), removed from the stream at 21")


def test_a_party_that_is_ahead_of_the_stream_is_named():
    seen = look()
    change(seen, revisions={ANN: 10, BOB: 25})
    (text,) = texts(seen)
    assert text.endswith(f"has member {BOB} at revision 25, and the stream only 20")


def test_a_gateway_that_is_behind_in_members_or_chat_is_named():
    seen = look()
    change(seen, revision=12, chat=ChatState(position=28, epoch="e", waits=True))
    assert texts(seen) == [
        f"gateway {HERE} (pod:1) has changes of members up to 12, and the newest one of the room is 20",
        f"gateway {HERE} (pod:1) delivers the chat up to 28, and the newest stored entry is 30",
    ]


def test_connections_that_only_one_side_has_are_named():
    seen = look()
    (own,) = seen.memberships_at(HERE)
    change(seen, memberships={})
    assert texts(seen) == [f"gateway {HERE} (pod:1) does not have connection {own} of {ANN}, which the stream names"]
    change(seen, memberships={}, joining=[own])
    assert texts(seen) == []
    change(seen, memberships={own: ANN, MembershipId("other:0"): ANN}, joining=[])
    assert texts(seen) == [f"gateway {HERE} (pod:1) has connection other:0 of {ANN}, which the stream does not name"]
    change(seen, hosted=False, memberships={}, revisions=None)
    assert len(texts(seen)) == 1, "a gateway that does not host the room has none of its connections"


def test_another_epoch_is_one_difference_and_not_one_for_each_member():
    seen = look()
    change(seen, epoch="2026-01-31T11:00:00Z", revisions={})
    (text,) = texts(seen)
    assert "has members of the epoch 2026-01-31T11:00:00Z" in text
    change(seen, epoch="2026-01-31T12:00:00.123456789+00:00", revisions={ANN: 10, BOB: 20})
    assert texts(seen) == []


def test_a_gateway_that_names_positions_differently_is_named():
    seen = look()
    change(seen, 1, chat=ChatState(position=30, epoch="f", waits=False))
    (text,) = texts(seen)
    assert "names positions in the chat by epoch" in text


def test_a_replica_without_a_complete_mirror_and_a_shard_without_replicas_are_named():
    seen = look()
    seen.replicas[0] = seen.replicas[0].model_copy(update={"ready": False, "digest": 0})
    assert texts(seen) == ["presence pod:3 has no complete mirror, and answers no requests about the room"]
    seen.replicas = [one.model_copy(update={"serves": False}) for one in seen.replicas]
    assert len(texts(seen)) == 1
    assert "presence has no replica that answers for shard " in texts(seen)[0]


def test_those_who_do_not_answer_are_named_once():
    seen = look()
    del seen.gateways[0], seen.replicas[0]
    assert texts(seen) == [
        f"gateway {HERE} at 10.0.0.1:1 has renewed its lease 0.5 s ago, and did not answer (1 connection here)",
        "the presence replica at 10.0.0.3:1 is connected to NATS and did not answer",
    ]


def test_a_gateway_stays_the_same_difference_when_its_lease_ends_between_two_looks():
    before, now = look(), look()
    for seen in (before, now):
        del seen.gateways[0]
    del now.witnesses.expected.leases[HERE]
    now.members[ANN] = Committed(entry(), 22)  # presence has dropped its members
    assert len(lasting(differences_of_room(before), differences_of_room(now))) == 1


def test_a_dead_gateway_is_named_as_long_as_the_stream_has_its_members():
    seen = look()
    del seen.gateways[0], seen.witnesses.expected.gateways[0], seen.witnesses.expected.leases[HERE]
    (text,) = texts(seen)
    assert text.startswith(f"gateway {HERE} has no lease and did not answer: it is dead or cut off")


def test_without_the_stream_only_those_who_are_silent_are_reported():
    seen = look({})
    seen.witnesses.failures["members in the stream"] = "no answer"
    change(seen, revisions={ANN: 10})
    assert texts(seen) == []


# --- looks -------------------------------------------------------------------------------------------------


def member(revision: int | None, has: int | None, *, removed: int = 0) -> list[Difference]:
    """The differences about Bob, of whom the stream and the first gateway have these revisions."""
    members = {ANN: Committed(entry(HERE), 10)}
    if revision is not None:
        members[BOB] = Committed(entry(THERE, user=BOB), revision)
    seen = look(members)
    seen.removed = {BOB: removed} if removed else {}
    change(seen, revision=99, revisions={ANN: 10, **({BOB: has} if has is not None else {})})
    change(seen, 1, revision=99)
    return differences_of_room(seen)


def test_a_difference_lasts_until_the_party_has_reached_the_revision_that_the_stream_had():
    assert lasting(member(20, None), member(20, None))
    assert not lasting(member(20, None), member(20, 20))
    assert lasting(member(20, 15), member(30, 15)), "it has not even the earlier change"
    assert not lasting(member(20, 15), member(30, 20)), "it is behind a newer change only"
    assert lasting(member(None, 15, removed=20), member(None, 15))
    assert lasting(member(20, 25), member(20, 25))
    assert not lasting(member(20, 25), member(30, 25))


def test_somebody_who_comes_and_goes_in_every_look_does_not_count_as_missing():
    assert not lasting(member(20, None), member(30, None)), "each is on its way"
    assert not lasting(member(None, 15, removed=20), member(None, 25, removed=30))


async def test_it_looks_until_it_is_certain(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("studyroom.services.inspector.verdict.LOOK_AGAIN_SECONDS", (0.0, 0.0))

    async def certain(*looks: list[Difference] | None) -> tuple[list[Difference], int]:
        """None: the stream could not be read."""
        script = iter(looks)

        async def next_look() -> list[Difference] | None:
            return next(script)

        def differences(seen: list[Difference] | None) -> list[Difference]:
            return seen or []

        def is_known(seen: list[Difference] | None) -> bool:
            return seen is not None

        _, found, number = await look_until_certain(next_look, differences, is_known)
        return found, number

    here, gone = member(20, None), member(20, 20)
    assert await certain(gone) == ([], 1)
    assert await certain(here, gone) == ([], 2)
    assert (await certain(here, here, here))[1] == 3
    assert await certain(None, here, gone) == ([], 3)
    assert len((await certain(None, here, here, here))[0]) == 1
    assert await certain(None, None, None, None, None) == ([], 5)


def test_the_report_ends_with_the_differences_and_the_parts_that_were_not_compared():
    seen = look()
    change(seen, revisions={ANN: 10})
    verdict = Verdict(seen, differences_of_room(seen), 3, {})
    assert verdict.status == 1
    assert room_as_text(verdict, 20).splitlines()[-1].startswith(f"  - gateway {HERE} (pod:1) lacks member")
    unknown = Verdict(look(), [], 1, {"leases": "no answer"})
    assert unknown.status == 2
    assert room_as_text(unknown, 20).splitlines()[-1] == "  - leases: no answer"
    assert replace(unknown, failures={}).status == 0


def test_names_cannot_change_the_screen_of_the_reader():
    sly = Entry(profile=Profile(username="a\x1b[2J\u202eb"), connections={})
    report = room_as_text(Verdict(look({ANN: Committed(sly, 10)}), [], 1, {}), 20)
    assert "a\\x1b[2J\\u202eb" in report


@pytest.mark.parametrize("command", ["room", "user"])
def test_an_argument_that_cannot_be_an_id_is_refused_before_anybody_is_asked(command: str):
    refused = CliRunner().invoke(main, [command, "my room"])
    assert (refused.exit_code, "not a UUID: 'my room'" in refused.output) == (2, True)


def test_content_is_shown_in_the_live_log_only():
    refused = CliRunner().invoke(main, ["room", ROOM, "--content"])
    assert (refused.exit_code, "--content needs --follow" in refused.output) == (2, True)


# --- users -------------------------------------------------------------------------------------------------


def user_look() -> UserLook:
    """The user is in a room with one connection, banned from another room, and everybody agrees."""
    member = Committed(entry(HERE), 10)
    (own,) = member.entry.connections
    other = RoomId("650e8400-e29b-41d4-a716-446655440000")
    connection = OpenConnection(id=ConnectionId(own[:36]), kind="connection", room=ROOM, membership=own)
    return UserLook(
        user=ANN,
        witnesses=Witnesses(Expected([Connected("server/1", "a")], [Connected("server/3", "b")], {HERE: 0.1}), {}),
        rooms={ROOM: member},
        removed={},
        bans={other: Command(by="backend")},
        gateways=[
            GatewayUser(process=process(1), gateway=HERE, connections=[connection], connections_count=1, bans=[other])
        ],
        replicas=[PresenceUser(process=process(3), shards=list(range(64)), rooms={ROOM: 10}, rooms_count=1)],
    )


def test_facts_about_a_user_that_only_some_know_are_named():
    seen = user_look()
    assert differences_of_user(seen) == []
    seen.gateways[0] = seen.gateways[0].model_copy(update={"bans": [None], "connections": [], "connections_count": 0})
    seen.replicas[0] = seen.replicas[0].model_copy(update={"rooms": {}, "rooms_count": 0})
    found = "\n".join(str(one) for one in differences_of_user(seen))
    assert f"lacks room {ROOM}" in found
    assert "does not know the ban from room 650e8400" in found
    assert "has a ban from the service, which the bucket does not have" in found
    assert f"of room {ROOM}, which the stream names" in found
    seen.replicas[0] = seen.replicas[0].model_copy(update={"shards": []})
    assert "lacks room" not in "\n".join(str(one) for one in differences_of_user(seen))


# --- answers -----------------------------------------------------------------------------------------------


def test_every_member_is_in_one_part_and_an_answer_fits_into_the_shortest_payload():
    users = [new_user_id() for _ in range(2000)]
    parts = parts_for(len(users))
    asked = [Question(room=ROOM, parts=parts, part=part) for part in range(parts)]
    divided = [[user for user in users if question.asks_for(user)] for question in asked]
    assert sorted(user for part in divided for user in part) == sorted(users)
    largest = max(divided, key=len)
    assert len(largest) < 2 * MEMBERS_PER_PART
    answer = GatewayRoom(
        process=process(1), gateway=HERE, epoch=EPOCH, digest=2**64 - 1, connections_digest=2**64 - 1,
        revisions=dict.fromkeys(largest, 10**12),
        memberships={new_membership_id(ConnectionId(new_user_id()), 7): user for user in largest},
    )  # fmt: skip
    assert len(answer.encode()) < SHORTEST_PAYLOAD
    assert not Question(room=ROOM).asks_for(ANN)


def test_a_process_remembers_its_newest_problems_by_their_subject():
    def log(level: str, **fields: Any) -> None:
        recent_problems.remember(None, "", {"event": "it failed", "level": level, "timestamp": "t", **fields})

    room, other = str(new_gateway_id()), str(new_gateway_id())
    log("info", room=room)
    log("warning", room=room, error="x" * 1000, service="gateway")
    log("error", room=other)
    log("error", exc_info=ValueError("secret"))
    about: list[LoggedProblem] = recent_problems.newest_about(room)
    assert [(one.level, sorted(one.fields)) for one in about[:2]] == [
        ("error", ["exception"]), ("warning", ["error", "room"]),
    ]  # fmt: skip
    assert about[0].fields == {"exception": "ValueError"}
    assert len(about[1].fields["error"]) < 200


# --- the live log ------------------------------------------------------------------------------------------


def kinds(events: Any) -> list[str]:
    return [event.kind for event in events]


def test_the_log_distinguishes_joins_moves_losses_and_leaves():
    log = RoomLog(ROOM, with_content=False)
    log.begin({}, 0)
    first, second = (new_membership_id(ConnectionId(new_user_id()), 0) for _ in range(2))

    def changed(connections: dict[MembershipId, GatewayId], revision: int, **more: Any) -> list[Event]:
        profile = Profile(username=more.pop("name", "Ann"))
        return list(log.change(ANN, Entry(profile=profile, connections=connections, **more), revision, EPOCH))

    assert kinds(changed({first: HERE}, 1)) == ["joined"]
    assert changed({first: HERE}, 1) == [], "an old change has no event"
    assert kinds(changed({first: HERE, second: THERE}, 2)) == ["connected"]
    (moved,) = changed({second: THERE}, 3)
    assert (moved.kind, moved.fields["from"], moved.fields["to"]) == ("moved", HERE, THERE)
    assert kinds(changed({}, 4)) == ["lost"]
    assert kinds(changed({first: HERE}, 5)) == ["returned"]
    assert kinds(changed({first: HERE}, 6, name="Anna")) == ["renamed"]
    (fields,) = changed({first: HERE}, 7, name="Anna", fields={"status": "secret"})
    assert (fields.kind, fields.fields["fields"]) == ("changed", "status")
    assert "secret" not in str(fields)
    assert kinds(log.change(ANN, None, 8, EPOCH)) == ["left"]
    assert kinds(log.change(ANN, None, 9, EPOCH)) == []


def test_the_log_finds_changes_that_were_not_announced():
    log = RoomLog(ROOM, with_content=False)
    log.begin({ANN: Committed(entry(HERE), 10)}, 0)
    found = list(log.compare({BOB: Committed(entry(THERE, user=BOB), 20)}, {}, log.newest))
    assert [(event.kind, event.user) for event in found] == [("joined", BOB), ("left", ANN)]
    assert list(log.compare({BOB: Committed(entry(THERE, user=BOB), 20)}, {}, log.newest)) == []
    assert list(log.change(ANN, None, 11, EPOCH)) == [], "the announcement comes late"
    newer = log.newest
    list(log.change(ANN, entry(HERE), 30, EPOCH))
    assert list(log.compare({BOB: Committed(entry(THERE, user=BOB), 20)}, {}, newer)) == [], "she came while it read"


def test_the_log_shows_the_content_of_messages_only_if_asked():
    message = encode_stored(ANN, "Ann", "a secret \x1b[2J", 1, MessageId(new_message_id()))
    edit = encode_edit(
        ANN, EditChatPayload(target_id=new_message_id(), target_seq=5, content="another secret"), 1, new_message_id()
    )
    silent, open_ = RoomLog(ROOM, with_content=False), RoomLog(ROOM, with_content=True)
    for log in (silent, open_):
        log.begin({}, 4)
    (hidden,), (shown,) = silent.chat(message, 5, 4, EPOCH), open_.chat(message, 5, 4, EPOCH)
    assert (hidden.kind, hidden.fields) == ("message", {"seq": 5, "chars": 13})
    assert "\x1b" not in str(shown)
    assert shown.fields["content"] == "a secret \x1b[2J"
    (edited,) = silent.chat(edit, 6, 5, EPOCH)
    assert (edited.kind, edited.fields["target_seq"]) == ("edited", 5)
    assert "secret" not in str(edited)
    assert kinds(silent.chat(encode_tombstone(new_message_id(), 5), 9, 7, EPOCH)) == ["gap", "deleted"]
    assert list(silent.chat(message, 5, 4, EPOCH)) == []


def test_the_log_shows_commands_about_the_room_and_its_members_only():
    log = RoomLog(ROOM, with_content=False)
    log.begin({ANN: Committed(entry(HERE), 10)}, 0)
    ban = Command(by="backend", seconds=60)
    assert kinds(log.moderation(Target(Kind.BAN, BOB, ROOM), ban, EPOCH)) == ["ban"]
    assert kinds(log.moderation(Target(Kind.BAN, ANN), ban, EPOCH)) == ["ban"]
    assert kinds(log.moderation(Target(Kind.BAN, BOB), ban, EPOCH)) == []
    assert kinds(log.moderation(Target(Kind.BAN, BOB, RoomId(HERE)), ban, EPOCH)) == []
    assert kinds(log.moderation(Target(Kind.BAN, BOB, ROOM), None, EPOCH)) == ["ban lifted"]
    assert kinds(log.moderation(Target(Kind.REMOVE, ANN, ROOM), None, EPOCH)) == []
