"""Members edit and delete their messages, react, reply and mention, through two gateways and the faults of one."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import encode_reaction, encode_stored
from studyroom.shared.contract.chat_messages import ReactToChatPayload
from studyroom.shared.contract.ids import MessageId, RoomId, UserId
from tests.support.backend import SETTINGS, ask, token
from tests.support.client import Client, Json, clients
from tests.support.presence import connected, stored_chat
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service
from tests.support.waiting import eventually

ALL_REACTIONS = 5
THUMB, HEART = "\N{THUMBS UP SIGN}", "\N{HEAVY BLACK HEART}"


@pytest.fixture(scope="module")
def gateways(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The addresses of two more gateways, which know users by their tokens, and a backend by its key."""
    directory = tmp_path_factory.mktemp("living")
    with (
        running(service("gateway", directory, stack.nats_url, **SETTINGS)) as first,
        running(service("gateway", directory, stack.nats_url, **SETTINGS)) as second,
    ):
        yield [first.url, second.url]


async def sent(author: Client, content: str, **extra: Any) -> Json:
    await author.send("Chat", {"content": content, **extra})
    return await author.expect("Chat")


async def edit(author: Client, message: Json, content: str, **extra: Any) -> str:
    """The id of the edit."""
    number = str(uuid4())
    target = {"target_id": message["id"], "target_seq": message["seq"]}
    await author.send("EditChat", {**target, "content": content, "id": number, **extra})
    return number


async def react(user: Client, message: Json, reaction: str, *, is_on: bool = True, **extra: Any) -> None:
    target = {"target_id": message["id"], "target_seq": message["seq"]}
    await user.send("ReactToChat", {**target, "reaction": reaction, "is_on": is_on, **extra})


async def delete(user: Client, message: Json) -> None:
    await user.send("DeleteChat", {"target_id": message["id"], "target_seq": message["seq"]})


def chat_of(client: Client) -> list[Json]:
    return [line for line in client.log if line["type"].startswith("Chat")]


async def page(gateway: str, room: str, query: str = "") -> list[Json]:
    messages: list[Json] = (await ask(gateway, "GET", f"/rooms/{room}/messages{query}")).body["messages"]
    return messages


def shown(message: Json) -> Json:
    """The parts of a message that change."""
    return {key: message[key] for key in ("content", "edited_at", "reactions") if key in message}


async def test_an_edit_reaches_everyone_in_the_order_of_the_chat_and_newcomers_see_only_the_result(
    gateways: list[str], room: str
):
    async with clients(*gateways, *gateways, token=None, username="x") as (ann, bob, new_here, new_there):
        await ann.join(room)
        await bob.join(room)
        before = await sent(ann, "befor")
        number = await edit(ann, before, "before", mentions=[bob.user])
        after = await sent(ann, "after")

        edited = await bob.expect("ChatEdited")
        assert edited == {
            "user_id": ann.user, "target_id": before["id"], "target_seq": before["seq"], "content": "before",
            "timestamp": edited["timestamp"], "id": number, "mentions": [bob.user], "seq": after["seq"] - 1,
        }  # fmt: skip
        assert await bob.expect("Chat") == after
        assert chat_of(ann) == chat_of(bob)
        now = {**before, "content": "before", "mentions": [bob.user], "edited_at": edited["timestamp"]}
        for newcomer in (new_here, new_there):
            joined = await newcomer.join(room)
            assert (joined["history"], joined["last_seq"]) == (2, after["seq"])
            assert [await newcomer.expect("Chat") for _ in range(2)] == [now, after]
        for gateway in gateways:
            assert await page(gateway, room) == [now, after]
            assert await page(gateway, room, f"?before={edited['seq']}") == [now]


async def test_a_client_that_was_away_gets_the_edit_and_never_the_text_from_before(gateways: list[str], room: str):
    user = token()
    async with clients(*gateways, username="x") as (ann, bob):
        epoch = (await ann.join(room))["epoch"]
        await bob.join(room)
        seen = await sent(ann, "seen")
        missed = await sent(ann, "a secret")
        await edit(ann, seen, "seen, edited")
        await edit(ann, missed, "nothing")
        for _ in range(2):
            await ann.expect("ChatEdited")
        await react(bob, missed, THUMB)
        await ann.expect("ChatReaction")
        async with clients(gateways[1], token=user) as (back,):
            await back.send("JoinRoom", {"room_id": room, "since": seen["seq"], "epoch": epoch})
            assert (await back.expect("JoinedRoom"))["history"] == 1
            await back.expect("ChatReaction")
            lines = chat_of(back)
        assert [line["type"] for line in lines] == ["Chat", "ChatEdited", "ChatEdited", "ChatReaction"]
        assert lines[0]["payload"]["content"] == "nothing"
        assert lines[1]["payload"]["content"] == "seen, edited"
        assert "secret" not in json.dumps(back.log)


async def test_a_retried_edit_is_stored_once_and_answered_with_the_stored_one(gateways: list[str], room: str):
    user = token()
    async with clients(*gateways, token=user) as (ann, again), clients(gateways[1]) as (bob,):
        for client in (ann, again, bob):
            await client.join(room)
        message = await sent(ann, "one")
        await again.expect("Chat")
        number = await edit(ann, message, "two")
        first = await ann.expect("ChatEdited")
        await again.expect("ChatEdited")
        await edit(again, message, "two", id=number)
        assert await again.expect("ChatEdited") == first
        last = await sent(ann, "last")
        assert await bob.expect("ChatEdited") == first
        assert await bob.expect("Chat") == last
        assert last["seq"] == first["seq"] + 1


async def test_only_its_author_may_edit_and_delete_a_message(gateways: list[str], room: str):
    async with clients(*gateways) as (ann, eve):
        for client in (ann, eve):
            await client.join(room)
        message = await sent(ann, "mine")
        await eve.expect("Chat")
        number = await edit(eve, message, "stolen")
        assert await eve.error() == "not_author"
        assert eve.log[-1]["payload"]["id"] == number
        await delete(eve, message)
        assert await eve.error() == "not_author"
        assert eve.log[-1]["payload"]["id"] == message["id"]
        for target in ({"seq": message["seq"], "id": str(uuid4())}, {"seq": message["seq"] + 10_000, "id": number}):
            for change in (edit(ann, target, "x"), react(ann, target, THUMB), delete(ann, target)):
                await change
                assert await ann.error() == "chat_not_found"
        assert await page(gateways[0], room) == [message]


async def test_nobody_gets_a_message_again_that_its_author_has_deleted_nor_an_edit_of_it(
    gateways: list[str], stack: EmbeddedStack, room: str
):
    async with clients(*gateways) as (ann, bob), connected(stack.nats_url) as bus:
        for client in (ann, bob):
            await client.join(room)
        message = await sent(ann, "one")
        await edit(ann, message, "two")
        edited = await ann.expect("ChatEdited")
        await delete(ann, message)
        assert (await bob.expect("ChatDeleted"))["deleted_seq"] == message["seq"]
        assert (await bob.expect("ChatDeleted"))["deleted_seq"] == edited["seq"]
        await ann.expect("ChatDeleted")
        await ann.expect("ChatDeleted")
        await delete(ann, message)
        assert (await ann.expect("ChatDeleted"))["id"] == message["id"]
        last = await sent(ann, "last")
        assert await page(gateways[1], room) == [last]

        async def erased() -> bool:
            return {message["seq"], edited["seq"]}.isdisjoint((await stored_chat(bus)).get(room, {}))

        await eventually(erased, "nothing of it is stored")


async def test_a_moderator_who_deletes_a_message_deletes_its_edits_too(
    gateways: list[str], stack: EmbeddedStack, room: str
):
    async with clients(*gateways) as (ann, _), connected(stack.nats_url) as bus:
        await ann.join(room)
        message = await sent(ann, "one")
        await edit(ann, message, "worse")
        edited = await ann.expect("ChatEdited")
        moderated = f"/rooms/{room}/messages/"
        assert (await ask(gateways[1], "DELETE", f"{moderated}{edited['seq']}")).refusal == (404, "not_found")
        assert (await ask(gateways[1], "DELETE", f"{moderated}{message['seq']}")).status == 204
        assert {message["seq"], edited["seq"]}.isdisjoint((await stored_chat(bus)).get(room, {}))
        assert await page(gateways[0], room) == []


async def test_reactions_are_counted_once_for_each_user_and_can_be_taken_back(gateways: list[str], room: str):
    async with clients(*gateways, gateways[0]) as (ann, bob, new):
        for client in (ann, bob):
            await client.join(room)
        message = await sent(ann, "nice")
        await bob.expect("Chat")
        for user in (ann, bob, bob):
            await react(user, message, THUMB)
            await user.expect("ChatReaction")
        await react(ann, message, HEART)
        await react(ann, message, HEART, is_on=False)
        await eventually(lambda: len(ann.payloads("ChatReaction")) >= ALL_REACTIONS, "all reactions arrive")
        await new.join(room)
        now = await new.expect("Chat")
        (thumbs,) = now["reactions"]
        assert (thumbs["reaction"], thumbs["count"], set(thumbs["user_ids"])) == (THUMB, 2, {ann.user, bob.user})
        assert await page(gateways[1], room) == [now]


async def test_replies_and_mentions_come_back_as_they_were_sent_and_a_bad_one_loses_nothing(
    gateways: list[str], room: str
):
    async with clients(*gateways) as (ann, bob):
        for client in (ann, bob):
            await client.join(room)
        first = await sent(ann, "first")
        reply = await sent(ann, "second", reply_to=first["id"], mentions=[bob.user.upper(), bob.user])
        assert (reply["reply_to"], reply["mentions"]) == (first["id"], [bob.user])
        assert await bob.expect("Chat") == first
        assert await bob.expect("Chat") == reply
        for wrong in ({"mentions": ["bob"]}, {"mentions": [str(uuid4()) for _ in range(21)]}, {"reply_to": 7}):
            number = str(uuid4())
            await ann.send("Chat", {"content": "x", "id": number, **wrong})
            assert await ann.error() == "invalid_message"
            assert ann.log[-1]["payload"]["id"] == number
        for reaction in ("", " ", "\n", "x" * 33):
            await react(ann, first, reaction)
            assert await ann.error() == "invalid_message"
        assert await page(gateways[0], room) == [first, reply]


async def test_an_operator_can_have_plain_chat(stack: EmbeddedStack, tmp_path: Path, room: str):
    plain = service("gateway", tmp_path, stack.nats_url, STUDYROOM_GATEWAY_LIVING_CHAT="false")
    with running(plain):
        async with clients(plain.url, stack.gateways[0]) as (ann, bob):
            await ann.join(room)
            message = await sent(ann, "plain")
            number = str(uuid4())
            await ann.send("Chat", {"content": "x", "id": number, "reply_to": message["id"]})
            assert await ann.error() == "living_chat_off"
            assert ann.log[-1]["payload"]["id"] == number
            for change in (edit(ann, message, "x"), react(ann, message, THUMB), delete(ann, message)):
                await change
                assert await ann.error() == "living_chat_off"
            await bob.join(room)
            assert await bob.expect("Chat") == message
            assert ("living_chat" in ann.welcome, bob.welcome["living_chat"]) == (False, True)


async def test_a_page_of_old_messages_shows_their_edits_however_much_was_written_since(
    gateways: list[str], stack: EmbeddedStack, room: str
):
    author = token()
    async with clients(gateways[0], token=author) as (ann,), connected(stack.nats_url) as bus:
        await ann.join(room)
        old = await sent(ann, "old")
        jetstream, subject = bus.jetstream(), subjects.chat(RoomId(room))
        for number in range(300):
            line = encode_stored(UserId(str(uuid4())), "Ada", str(number), 1_700_000_000, MessageId(str(uuid4())))
            await jetstream.publish(subject, line)
        await edit(ann, old, "old, edited")  # the gateway does not remember the message any more
        edited = await ann.expect("ChatEdited")
        for gateway in gateways:
            for _ in range(2):
                (found,) = await page(gateway, room, f"?before={old['seq'] + 1}")
                assert shown(found) == {"content": "old, edited", "edited_at": edited["timestamp"]}
        await edit(ann, old, "again")
        await ann.expect("ChatEdited")
        assert [message["content"] for message in await page(gateways[1], room, f"?before={old['seq'] + 1}")] == [
            "again"
        ]


async def test_newcomers_get_the_newest_messages_even_if_most_of_the_chat_is_reactions(
    gateways: list[str], stack: EmbeddedStack, room: str
):
    async with clients(*gateways) as (ann, new), connected(stack.nats_url) as bus:
        await ann.join(room)
        messages = [await sent(ann, str(number)) for number in range(3)]
        await ann.leave()
        jetstream, subject = bus.jetstream(), subjects.chat(RoomId(room))
        for number in range(150):
            target = messages[number % 3]
            reaction = ReactToChatPayload(
                target_id=target["id"], target_seq=target["seq"], reaction=THUMB, is_on=number % 2 == 0
            )
            line = encode_reaction(UserId(str(uuid4())), reaction, MessageId(str(uuid4())))
            await jetstream.publish(subject, line)
        assert (await new.join(room))["history"] == 3
        counts = [(await new.expect("Chat"))["reactions"][0]["count"] for _ in messages]
        assert counts == [25, 25, 25]
        newest = await page(gateways[1], room, "?limit=50")
        assert [message["reactions"][0]["count"] for message in newest if "reactions" in message] == counts


async def test_an_edit_is_stored_once_when_the_gateway_of_its_author_dies(
    gateways: list[str], stack: EmbeddedStack, tmp_path: Path, room: str
):
    """The author sends it again, with the same id, through another gateway."""
    user, number = token(), str(uuid4())
    dies: ServiceProcess = service("gateway", tmp_path, stack.nats_url, **SETTINGS)
    with running(dies):
        async with clients(gateways[0]) as (bob,), clients(dies.url, token=user) as (ann,):
            await bob.join(room)
            epoch = (await ann.join(room))["epoch"]
            message = await sent(ann, "one")
            await bob.expect("Chat")
            await edit(ann, message, "two", id=number)
            dies.signal(signal.SIGKILL)
            await ann.ended()
            async with clients(gateways[1], token=user) as (back,):
                await back.send("JoinRoom", {"room_id": room, "since": message["seq"], "epoch": epoch})
                await edit(back, message, "two", id=number)
                assert (await back.expect("JoinedRoom"))["recovered"]
                edited = await back.expect("ChatEdited")
                assert await bob.expect("ChatEdited") == edited
                last = await sent(back, "last")
                assert await bob.expect("Chat") == last
                assert last["seq"] == edited["seq"] + 1
                assert [shown(line) for line in await page(gateways[0], room)] == [
                    {"content": "two", "edited_at": edited["timestamp"]}, {"content": "last"},
                ]  # fmt: skip


async def test_a_user_who_was_removed_from_the_room_changes_nothing_there(gateways: list[str], room: str):
    user = token()
    async with clients(gateways[0], token=user) as (ann,):
        await ann.join(room)
        message = await sent(ann, "mine")
        assert (await ask(gateways[1], "DELETE", f"/rooms/{room}/members/{ann.user}")).status == 204
        assert await ann.error() == "removed"
        for change in (edit(ann, message, "x"), react(ann, message, THUMB), delete(ann, message)):
            await change
            assert await ann.error() == "not_in_room"
        assert await page(gateways[0], room) == [message]


async def test_an_author_who_leaves_at_once_still_gets_the_outcome_of_its_changes(gateways: list[str], room: str):
    async with clients(*gateways) as (ann, bob):
        for client in (ann, bob):
            await client.join(room)
        message = await sent(ann, "one")
        await bob.expect("Chat")
        await edit(ann, message, "two")
        await ann.leave()
        assert await ann.expect("ChatEdited") == await bob.expect("ChatEdited")
        await ann.join(room)
        await delete(ann, message)
        await ann.leave()
        assert (await bob.expect("ChatDeleted"))["deleted_seq"] == message["seq"]
        await asyncio.gather(ann.settle(), bob.settle())
