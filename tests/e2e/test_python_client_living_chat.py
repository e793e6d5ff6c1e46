"""Edits, deletions, reactions, replies and mentions with the Python client, on the running system."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from studyroom.client import ChatEdited, ChatReacted, ChatRemoved, Client, Reaction, StudyroomError
from tests.support.processes import EmbeddedStack, embedded_stack, running
from tests.support.proxy import Link
from tests.support.python_client import DEADLINE_SECONDS, SOON, of_kind, within_deadline


async def test_all_members_see_edits_replies_and_reactions_and_newcomers_do_too(stack: EmbeddedStack, room: str):
    first, second = stack.gateways
    async with Client(first, username="Ann") as ann, Client(second, username="Bob") as bob, Client(second) as late:
        await ann.join(room)
        await bob.join(room)
        assert ann.limits.living_chat
        events = bob.events()
        question = await ann.chat("Wich chapter?")
        await ann.edit(question, "Which chapter, @Bob?", mentions=[bob.user_id or ""])
        edited = await of_kind(events, ChatEdited)
        assert isinstance(edited, ChatEdited)
        assert (edited.message.content, edited.message.mentions) == ("Which chapter, @Bob?", (bob.user_id,))
        assert edited.message.edited_at is not None
        answer = await bob.chat("Four", reply_to=bob.messages[0], mentions=[ann.user_id or ""])
        await bob.react(bob.messages[0], "👍")
        await bob.react(bob.messages[0], "👀")
        await bob.react(bob.messages[0], "👀", is_on=False)
        await within_deadline(ann, lambda: len(ann.messages) == 2 and len(ann.messages[0].reactions) == 1)
        assert ann.messages[0].reactions == (Reaction("👍", 1, (bob.user_id or "",), own=False),)
        assert bob.messages[0].reactions == (Reaction("👍", 1, (bob.user_id or "",), own=True),)
        reacted = await of_kind(events, ChatReacted)
        assert isinstance(reacted, ChatReacted)
        assert (reacted.user_id, reacted.reaction, reacted.is_on) == (bob.user_id, "👍", True)
        assert (answer.reply_to, answer.mentions) == (question.id, (ann.user_id,))

        await late.join(room)
        await within_deadline(late, lambda: len(late.messages) == 2)
        shown = [(one.content, one.reply_to, len(one.reactions)) for one in late.messages]
        assert shown == [("Which chapter, @Bob?", None, 1), ("Four", question.id, 0)]
        assert late.messages[0].edited_at == edited.message.edited_at

        await ann.delete(question)
        removed = await of_kind(events, ChatRemoved)
        assert removed == ChatRemoved(question.id, question.seq or 0)
        await within_deadline(late, lambda: [one.content for one in late.messages] == ["Four"])


async def test_earlier_messages_come_as_their_edits_and_reactions_have_made_them(stack: EmbeddedStack, room: str):
    async with Client(stack.gateways[0]) as ann, Client(stack.gateways[1]) as late:
        await ann.join(room)
        first = await ann.chat("frist")
        for number in range(55):
            await ann.chat(str(number))
        await late.join(room)
        await within_deadline(late, lambda: len(late.messages) == late.limits.history_length)
        await ann.edit(first, "first")
        await ann.react(first, "🎉")
        await late.load_earlier()
        await within_deadline(late, lambda: late.messages[0].reactions)
        assert (late.messages[0].content, late.messages[0].seq) == ("first", first.seq)
        await ann.react(first, "👀")
        await within_deadline(late, lambda: len(late.messages[0].reactions) == 2)


async def test_only_the_author_changes_a_message_and_nobody_changes_one_that_is_gone(stack: EmbeddedStack, room: str):
    async with Client(stack.gateways[0]) as ann, Client(stack.gateways[1]) as bob:
        await ann.join(room)
        await bob.join(room)
        events = bob.events()
        message = await ann.chat("mine")
        for call in (bob.edit(message, "yours"), bob.delete(message)):
            with pytest.raises(StudyroomError, match="not_author"):
                await call
        await asyncio.gather(ann.delete(message), ann.delete(message))
        await of_kind(events, ChatRemoved)
        with pytest.raises(StudyroomError, match="chat_not_found"):
            await bob.react(message, "👍")
        other = await ann.chat("another")
        with pytest.raises(StudyroomError, match="chat_too_long"):
            await ann.edit(other, "x" * (ann.limits.chat_chars + 1))
        ann.leave()
        with pytest.raises(StudyroomError, match="not_in_room"):
            await ann.delete(other)


async def test_changes_that_are_made_without_a_connection_are_stored_once_there_is_one(
    stack: EmbeddedStack, way: Link, room: str
):
    async with Client(f"ws://127.0.0.1:{way.port}/ws", backoff=SOON) as ann, Client(stack.gateways[1]) as bob:
        await ann.join(room)
        await bob.join(room)
        message = await ann.chat("before")
        gone = await ann.chat("gone soon")
        await within_deadline(bob, lambda: len(bob.messages) == 2)
        way.cut()
        way.reset()
        changes = [
            asyncio.create_task(change)
            for change in (ann.edit(message, "after"), ann.react(message, "👍"), ann.delete(gone))
        ]
        await bob.react(message, "🎉")
        way.heal()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await asyncio.gather(*changes)
        for client in (ann, bob):
            await within_deadline(client, lambda client=client: [one.content for one in client.messages] == ["after"])
            await within_deadline(client, lambda client=client: len(client.messages[0].reactions) == 2)
            assert {one.reaction: one.count for one in client.messages[0].reactions} == {"👍": 1, "🎉": 1}


async def test_a_change_fails_when_the_room_is_left_before_it_is_stored(way: Link, room: str):
    async with Client(f"ws://127.0.0.1:{way.port}/ws", backoff=SOON) as ann:
        await ann.join(room)
        message = await ann.chat("before")
        way.cut()
        edit = asyncio.create_task(ann.edit(message, "after"))
        join = asyncio.create_task(ann.join(str(uuid4())))
        with pytest.raises(StudyroomError, match="left"):
            await edit
        join.cancel()
        way.heal()


async def test_where_the_operator_wants_plain_chat_every_change_is_refused(tmp_path: Path, room: str):
    with running(embedded_stack(tmp_path, gateways=1, presence=1, STUDYROOM_GATEWAY_LIVING_CHAT="false")) as plain:
        async with Client(plain.gateways[0]) as ann:
            await ann.join(room)
            message = await ann.chat("plain")
            assert not ann.limits.living_chat
            for call in (ann.edit(message, "x"), ann.delete(message), ann.react(message, "👍")):
                with pytest.raises(StudyroomError, match="living_chat_off"):
                    await call
