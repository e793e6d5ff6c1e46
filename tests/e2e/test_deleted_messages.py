"""A message that is deleted is shown and given to nobody any more, wherever they are and however they come."""

from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import encode_edit, encode_tombstone
from studyroom.shared.contract.chat_messages import EditChatPayload
from studyroom.shared.contract.ids import MessageId, RoomId, UserId, new_message_id
from tests.support.backend import SETTINGS, Json, ask, token
from tests.support.client import Client, clients
from tests.support.presence import connected, stored_chat
from tests.support.processes import EmbeddedStack, embedded_stack, running
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def moderated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    with running(embedded_stack(tmp_path_factory.mktemp("moderated"), gateways=2, presence=1, **SETTINGS)) as stack:
        yield stack


async def sent_by(author: Client, *contents: str) -> list[Json]:
    for content in contents:
        await author.chat(content)
    return [await author.expect("Chat") for _ in contents]


def has_received(client: Client, message: Json) -> bool:
    return message in client.payloads("Chat")


async def lines_of(client: Client, room: str, **resume: Any) -> tuple[Json, list[Json]]:
    """`JoinedRoom`, and everything of the chat that had come when a message sent after it was answered."""
    await client.send("JoinRoom", {"room_id": room, **resume})
    joined = await client.expect("JoinedRoom")
    begun = client.log.index({"type": "JoinedRoom", "payload": joined})
    await client.settle()
    return joined, [line for line in client.log[begun:] if line["type"].startswith("Chat")]


def path(room: str, message: Json) -> str:
    return f"/rooms/{room}/messages/{message['seq']}"


def deletion(message: Json, seq: int) -> Json:
    return {"id": message["id"], "deleted_seq": message["seq"], "seq": seq}


async def test_everyone_receives_a_deletion_in_order_and_nobody_gets_the_message_again(
    moderated: EmbeddedStack, room: str
):
    async with clients(*moderated.gateways, *moderated.gateways) as (ann, bob, new_here, new_there):
        epoch = (await ann.join(room))["epoch"]
        await bob.join(room)
        before, bad, after = await sent_by(ann, "before", "bad", "after")
        answers = [await ask(gateway, "DELETE", path(room, bad)) for gateway in [*moderated.gateways] * 2]
        (last,) = await sent_by(ann, "last")

        assert [answer.status for answer in answers] == [204] * 4
        for client in (ann, bob):
            await eventually(partial(has_received, client, last), "the last message arrives")
            chat = [line for line in client.log if line["type"].startswith("Chat")]
            assert [line["payload"] for line in chat] == [before, bad, after, deletion(bad, last["seq"] - 1), last]
            assert [line["type"] for line in chat] == ["Chat", "Chat", "Chat", "ChatDeleted", "Chat"]

        for newcomer in (new_here, new_there):
            joined, lines = await lines_of(newcomer, room)
            assert [line["payload"] for line in lines] == [before, after, last]
            assert (joined["history"], joined["last_seq"]) == (3, last["seq"])
        for gateway in moderated.gateways:
            page = (await ask(gateway, "GET", f"/rooms/{room}/messages")).body
            assert page == {"room_id": room, "messages": [before, after, last], "before": None}
            older = (await ask(gateway, "GET", f"/rooms/{room}/messages?before={after['seq']}")).body
            assert older["messages"] == [before]

        for gateway in moderated.gateways:  # a client that was away
            async with clients(gateway) as (back,):
                resumed, lines = await lines_of(back, room, since=after["seq"], epoch=epoch)
                assert (resumed["recovered"], resumed["history"]) == (True, 1)
                assert [line["payload"] for line in lines] == [deletion(bad, last["seq"] - 1), last]
    async with connected(moderated.nats_url) as bus:
        assert bad["seq"] not in (await stored_chat(bus)).get(room, {})


@pytest.mark.parametrize("deleted", [0, 1, 2])
async def test_a_position_at_a_deleted_message_still_recovers(moderated: EmbeddedStack, room: str, deleted: int):
    async with clients(*moderated.gateways) as (ann, back):
        epoch = (await ann.join(room))["epoch"]
        lines = await sent_by(ann, "0", "1", "2")
        assert (await ask(moderated.gateways[0], "DELETE", path(room, lines[deleted]))).status == 204
        resumed, missed = await lines_of(back, room, since=lines[deleted]["seq"], epoch=epoch)

        assert resumed["recovered"] is True
        (deletion_seen,) = [line["payload"] for line in missed if line["type"] == "ChatDeleted"]
        assert deletion_seen["deleted_seq"] == lines[deleted]["seq"]
        assert [line["payload"] for line in missed if line["type"] == "Chat"] == lines[deleted + 1 :]


async def test_a_page_with_only_deleted_messages_points_to_older_messages(moderated: EmbeddedStack, room: str):
    gateway = moderated.gateways[0]
    async with clients(gateway) as (ann,):
        await ann.join(room)
        kept, *gone = await sent_by(ann, "kept", "1", "2", "3")
        for message in gone:
            assert (await ask(gateway, "DELETE", path(room, message))).status == 204
    newest = (await ask(gateway, "GET", f"/rooms/{room}/messages?limit=2")).body
    assert newest["messages"] == []
    older = (await ask(gateway, "GET", f"/rooms/{room}/messages?limit=2&before={newest['before']}")).body
    assert older["messages"] == [kept]


async def test_a_message_left_half_deleted_by_a_gateway_that_died_is_shown_to_nobody_and_erased(
    moderated: EmbeddedStack, room: str
):
    """The tombstone is stored, and the message and its edit are too."""
    async with clients(*moderated.gateways) as (ann, bob), connected(moderated.nats_url) as bus:
        await ann.join(room)
        (bad,) = await sent_by(ann, "bad")
        target = {"target_id": bad["id"], "target_seq": bad["seq"]}
        await ann.send("EditChat", {**target, "content": "worse"})
        edit = await ann.expect("ChatEdited")
        await ann.leave()
        stone = encode_tombstone(MessageId(bad["id"]), bad["seq"])
        await bus.jetstream().publish(subjects.chat(RoomId(room)), stone)

        page = (await ask(moderated.gateways[0], "GET", f"/rooms/{room}/messages")).body
        joined, lines = await lines_of(bob, room)
        assert (page["messages"], joined["history"], lines) == ([], 0, [])

        async def erased() -> bool:
            return {bad["seq"], edit["seq"]}.isdisjoint((await stored_chat(bus)).get(room, {}))

        await eventually(erased, "a gateway erases both")


async def test_an_edit_that_is_stored_long_after_its_message_was_deleted_is_deleted_too(
    moderated: EmbeddedStack, room: str
):
    """The connection of the gateway to NATS stood still meanwhile."""
    async with clients(*moderated.gateways) as (ann, bob), connected(moderated.nats_url) as bus:
        await ann.join(room)
        await bob.join(room)
        bad, other = await sent_by(ann, "bad", "other")
        js, subject = bus.jetstream(), subjects.chat(RoomId(room))
        await js.publish(subject, encode_tombstone(MessageId(bad["id"]), bad["seq"]))
        await bob.expect("ChatDeleted")
        await js.delete_msg("CHAT", bad["seq"])
        for message, content in ((bad, "worse"), (other, "better")):
            change = EditChatPayload(target_id=message["id"], target_seq=message["seq"], content=content)
            await js.publish(subject, encode_edit(UserId(ann.user), change, 0, new_message_id()))
        late, kept = await bob.expect("ChatEdited"), await bob.expect("ChatEdited")

        assert (await bob.expect("ChatDeleted"))["deleted_seq"] == late["seq"]

        async def erased() -> bool:
            return late["seq"] not in (await stored_chat(bus))[room]

        await eventually(erased, "the late edit is not stored any more")
        assert kept["seq"] in (await stored_chat(bus))[room]
        shown = (await ask(moderated.gateways[1], "GET", f"/rooms/{room}/messages")).body["messages"]
        assert [message["content"] for message in shown] == ["better"]


async def test_deleting_a_message_that_the_room_lacks_does_nothing(moderated: EmbeddedStack, room: str):
    gateway = moderated.gateways[0]
    async with clients(gateway) as (ann,):
        await ann.join(room)
        (message,) = await sent_by(ann, "kept")
        other = str(uuid4())
        answers = [
            await ask(gateway, "DELETE", path(other, message)),
            await ask(gateway, "DELETE", f"{path(room, message)}?id={uuid4()}"),
            await ask(gateway, "DELETE", path(room, {"seq": message["seq"] + 1_000_000})),
        ]
        assert [answer.refusal for answer in answers] == [(404, "not_found")] * 3
        assert (await ask(gateway, "DELETE", path(room, {"seq": 0}))).refusal == (400, "invalid_request")
        assert (await ask(gateway, "GET", f"/rooms/{room}/messages")).body["messages"] == [message]
        for _ in range(2):
            assert (await ask(gateway, "DELETE", f"{path(room, message)}?id={message['id']}")).status == 204
        deleted_before = await ann.expect("ChatDeleted")
        assert (await ask(gateway, "DELETE", path(room, deleted_before))).refusal == (404, "not_found")


async def test_only_a_moderator_of_the_room_may(moderated: EmbeddedStack, room: str):
    gateway, other = moderated.gateways[0], str(uuid4())
    async with clients(gateway) as (ann,):
        await ann.join(room)
        (message,) = await sent_by(ann, "bad")
    refusals = [
        (await ask(gateway, "DELETE", path(room, message), bearer=bearer)).refusal
        for bearer in ("", "wrong", token(), token(role="admin"), token(role="moderator", rooms=[other]))
    ]
    assert refusals == [
        (403, "role_not_allowed"),  # a guest
        (401, "unauthorized"),
        (403, "role_not_allowed"),
        (403, "role_not_allowed"),
        (403, "room_not_allowed"),
    ]
    assert (await ask(gateway, "GET", f"/rooms/{room}/messages")).body["messages"] == [message]
    moderator = token(role="moderator", rooms=[room])
    assert (await ask(gateway, "DELETE", path(room, message), bearer=moderator)).status == 204


async def test_a_backend_that_repeats_a_deleted_message_gets_a_final_refusal(moderated: EmbeddedStack, room: str):
    gateway, messages = moderated.gateways[0], f"/rooms/{room}/messages"
    body = {"user_id": str(uuid4()), "username": "Tutor", "content": "too much", "id": str(uuid4())}
    posted = await ask(gateway, "POST", messages, body)
    assert posted.status == 201
    assert (await ask(gateway, "POST", messages, body)).status == 200
    assert (await ask(gateway, "DELETE", path(room, posted.body))).status == 204
    assert (await ask(gateway, "POST", messages, body)).refusal == (404, "not_found")


async def test_an_author_who_repeats_a_deleted_message_learns_that_it_is_deleted(moderated: EmbeddedStack, room: str):
    async with clients(*moderated.gateways) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        message = str(uuid4())
        await ann.chat("bad", id=message)
        bad = await ann.expect("Chat")
        assert (await ask(moderated.gateways[0], "DELETE", path(room, bad))).status == 204
        assert (await ann.expect("ChatDeleted"))["id"] == message
        # Its answer may have been lost with a connection, so the author does not know.
        await ann.chat("bad", id=message)
        again = await ann.expect("ChatDeleted")
        await bob.settle()

    assert again == deletion(bad, bad["seq"])
    assert len(bob.payloads("Chat")) == 1
