"""People on different gateways are in the same room."""

import asyncio
from uuid import uuid4

from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import RoomId, UserId, new_connection_id, new_gateway_id, new_membership_id
from studyroom.shared.contract.presence import JoinRequest, Outcome, Profile, RosterReply
from tests.support.client import Client, clients
from tests.support.presence import connected
from tests.support.processes import EmbeddedStack
from tests.support.traffic import metrics_of
from tests.support.waiting import eventually


async def test_a_joiner_gets_the_roster_and_the_others_receive_the_join(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways) as (ann, bob):
        first = await ann.join(room)
        second = await bob.join(room)
        received = await ann.expect("UserJoined")

    assert [user["user_id"] for user in first["users"]] == [ann.user]
    assert sorted(user["user_id"] for user in second["users"]) == sorted([ann.user, bob.user])
    assert received["user"]["user_id"] == bob.user
    assert first["epoch"] == second["epoch"]
    assert "UserJoined" not in bob.types()


async def test_chat_reaches_everyone_and_its_author(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        await bob.chat('Grüße, 世界 😀 <b>&\n"quoted"')
        at_ann, at_bob = await ann.expect("Chat"), await bob.expect("Chat")

    assert at_ann == at_bob
    assert at_ann["content"] == 'Grüße, 世界 😀 <b>&\n"quoted"'
    assert at_ann["user_id"] == bob.user
    assert at_ann["seq"] > 0


async def test_chat_sent_right_after_a_join_is_not_lost(stack: EmbeddedStack, room: str):
    async with clients(stack.gateways[0]) as (ann,):
        await ann.send("JoinRoom", {"room_id": room})
        for number in range(10):
            await ann.chat(str(number))
        contents = [(await ann.expect("Chat"))["content"] for _ in range(10)]

    assert contents == [str(number) for number in range(10)]


async def test_repeating_a_chat_id_stores_one_message_and_answers_with_it(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        message = str(uuid4())
        await ann.chat("once", id=message)
        first = await ann.expect("Chat")
        await ann.chat("once", id=message)
        repeated = await ann.expect("Chat")
        await ann.chat("end")
        at_bob = [await bob.expect("Chat"), await bob.expect("Chat")]

    assert first == repeated
    assert [chat["content"] for chat in at_bob] == ["once", "end"]


async def test_cursors_and_typing_reach_the_others_only(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        await bob.send("CursorMove", {"x": 12.5, "y": -3, "element_id": "board"})
        await bob.send("Typing", {"is_typing": True})
        cursor = await ann.expect("CursorUpdate")
        typing = await ann.expect("TypingStatus")
        await bob.settle()

    assert cursor == {"user_id": bob.user, "x": 12.5, "y": -3.0, "element_id": "board"}
    assert typing == {"user_id": bob.user, "is_typing": True}
    assert {"CursorUpdate", "TypingStatus"}.isdisjoint(bob.types())


async def test_typing_ends_with_its_author(stack: EmbeddedStack, room: str):
    async with clients(stack.gateways[0], stack.gateways[1], stack.gateways[1]) as (ann, bob, cem):
        for client in (ann, bob, cem):
            await client.join(room)
        for client in (bob, cem):
            await client.send("Typing", {"is_typing": True})
            await ann.expect("TypingStatus")
        await bob.leave()
        ended = [await ann.expect("TypingStatus")]
        await cem.drop()
        ended.append(await ann.expect("TypingStatus"))

    assert ended == [{"user_id": client.user, "is_typing": False} for client in (bob, cem)]


async def test_typing_without_an_end_ends_after_a_while(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        await bob.send("Typing", {"is_typing": True})
        statuses = [(await ann.expect("TypingStatus", 20))["is_typing"] for _ in range(2)]

    assert statuses == [True, False]


async def test_a_joiner_gets_the_last_cursor_of_everyone(stack: EmbeddedStack, room: str):
    async with clients(stack.gateways[0], stack.gateways[1], stack.gateways[0]) as (ann, bob, cem):
        await ann.join(room)
        await bob.join(room)
        await bob.send("CursorMove", {"x": 1, "y": 2})
        await ann.expect("CursorUpdate")
        joined = await cem.join(room)

    cursors = {user["user_id"]: user["cursor"] for user in joined["users"]}
    assert cursors == {ann.user: None, bob.user: {"x": 1.0, "y": 2.0, "element_id": None}, cem.user: None}


async def test_leaving_and_closing_are_received_as_user_left(stack: EmbeddedStack, room: str):
    async with clients(stack.gateways[0], stack.gateways[1], stack.gateways[1]) as (ann, bob, cem):
        for client in (ann, bob, cem):
            await client.join(room)
        await bob.leave()
        left = [await ann.expect("UserLeft")]
        await cem.drop()
        left.append(await ann.expect("UserLeft"))
        await bob.settle()

    assert [event["user_id"] for event in left] == [bob.user, cem.user]
    assert "UserLeft" not in bob.types()


async def test_switching_rooms_leaves_the_old_one(stack: EmbeddedStack, room: str):
    other = str(uuid4())
    async with clients(*stack.gateways) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        await ann.expect("UserJoined")
        joined = await bob.join(other)
        left = await ann.expect("UserLeft")
        await ann.chat("only for the old room")
        await ann.expect("Chat")
        await bob.settle()

    assert [user["user_id"] for user in joined["users"]] == [bob.user]
    assert left["user_id"] == bob.user
    assert "Chat" not in bob.types()


async def test_joining_the_same_room_again_announces_nothing(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        again = await bob.join(room)
        await bob.chat("marker")
        await ann.expect("Chat")
        await bob.expect("Chat")

    assert sorted(user["user_id"] for user in again["users"]) == sorted([ann.user, bob.user])
    assert ann.types().count("UserJoined") == 1
    assert "UserLeft" not in ann.types()


async def test_a_member_may_leave_and_come_back_many_times(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways) as (ann, bob):
        await ann.join(room)
        for _ in range(10):
            await bob.join(room)
            await bob.leave()
        await bob.join(room)
        await bob.chat("marker")
        await ann.expect("Chat")

    about_bob = [kind for kind in ann.types() if kind in {"UserJoined", "UserLeft"}]
    assert about_bob == ["UserJoined", "UserLeft"] * 10 + ["UserJoined"]


async def test_messages_after_leaving_are_refused(stack: EmbeddedStack, room: str):
    async with clients(stack.gateways[0]) as (ann,):
        await ann.join(room)
        await ann.leave()
        await ann.chat("nobody hears this")
        refused = await ann.next()

    assert refused["payload"]["code"] == "not_in_room"


async def test_rooms_do_not_receive_each_other(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways) as (ann, bob):
        await ann.join(room)
        await bob.join(str(uuid4()))
        await ann.chat("here")
        await ann.expect("Chat")
        await bob.settle()

    assert bob.types() == ["JoinedRoom", "Pong"]


async def test_a_client_connects_by_either_gateway_and_keeps_its_own_user(stack: EmbeddedStack):
    async with clients(*stack.gateways) as (ann, bob):
        assert ann.user != bob.user
        assert isinstance(ann, Client)


async def test_a_guest_that_comes_back_on_another_gateway_within_the_grace_period_was_never_gone(
    stack: EmbeddedStack, room: str
):
    here, there = stack.gateways
    watcher, guest = await Client.connect(here), await Client.connect(here, username="Ada")
    await watcher.join(room)
    await guest.join(room)
    await watcher.expect("UserJoined")
    await guest.drop()
    again = await Client.connect(f"{there}?guest_token={guest.welcome['guest_token']}")
    roster = await again.join(room)
    await watcher.settle()
    await again.close()
    left = await watcher.expect("UserLeft")
    await watcher.close()

    assert again.user == guest.user
    assert sorted(user["user_id"] for user in roster["users"]) == sorted([watcher.user, guest.user])
    assert watcher.types().count("UserJoined") == 1
    assert left["user_id"] == guest.user
    assert watcher.types().count("UserLeft") == 1


async def test_a_roster_larger_than_a_message_of_nats_reaches_the_joiner(stack: EmbeddedStack, room: str):
    """Many members with the longest avatar addresses there may be, joined past the gateways."""
    profile = Profile(username="Ann", avatar_url="https://" + "a" * 1990)
    users = {str(uuid4()) for _ in range(600)}
    async with connected(stack.nats_url) as bus, clients(stack.gateways[0], max_size=None) as (ann,):
        turns = asyncio.Semaphore(32)

        async def join(user: str) -> None:
            request = JoinRequest(
                room=RoomId(room), user=UserId(user), connection=new_membership_id(new_connection_id(), 0),
                gateway=new_gateway_id(), profile=profile, with_roster=False,
            )  # fmt: skip
            subject = subjects.presence_join(subjects.shard_of(RoomId(room)))
            async with turns:
                reply = RosterReply.decode((await bus.request(subject, request.encode(), timeout=5)).data)
            assert reply.outcome is Outcome.OK

        await asyncio.gather(*(join(user) for user in users))
        roster = {user["user_id"] for user in (await ann.join(room))["users"]}

    assert roster == {*users, ann.user}


async def test_metrics_show_traffic_between_gateways_and_how_many_host_a_room(stack: EmbeddedStack, room: str):
    def sums(name: str) -> float:
        texts = metrics_of(stack, "gateway").values()
        return sum(float(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith(name))

    crossed, on_two = "studyroom_gateway_crossed_deliveries_total ", 'studyroom_gateway_room_gateways_bucket{le="2.0"} '
    on_one = 'studyroom_gateway_room_gateways_bucket{le="1.0"} '
    before = {name: await asyncio.to_thread(sums, name) for name in (crossed, on_two, on_one)}
    async with clients(*stack.gateways) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        await ann.send("CursorMove", {"x": 1.0, "y": 2.0})
        await bob.expect("CursorUpdate")

        async def counted() -> bool:
            now = {name: await asyncio.to_thread(sums, name) for name in before}
            rooms = (now[on_two] - now[on_one]) - (before[on_two] - before[on_one])
            return now[crossed] > before[crossed] and rooms >= 1

        await eventually(counted, "the cursor and the room on two gateways are counted", 15)
