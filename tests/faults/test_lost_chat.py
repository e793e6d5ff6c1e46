"""Chat that gets lost on its way is found and delivered in order, and clients learn of chat that is gone for good."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import encode_stored
from studyroom.shared.contract.ids import MessageId, RoomId, UserId
from tests.faults.test_lost_connections import System, running
from tests.support.client import Client, clients
from tests.support.presence import announce, chat_history, connected
from tests.support.processes import NatsServer, service
from tests.support.processes import running as process_running
from tests.support.waiting import eventually

COMPARED_SECONDS = 20
STORED = encode_stored(UserId(str(uuid4())), "Ada", "missed", 1_700_000_000, MessageId(str(uuid4())))
MISSED = 70
"""More than a gateway shows newcomers."""

RETRY_SECONDS = 0.2


@pytest.fixture
def system(own_nats: NatsServer, tmp_path: Path) -> Iterator[System]:
    yield from running(own_nats, tmp_path, 2)


def chat(client: Client) -> list[Any]:
    return client.payloads("Chat")


def texts(client: Client) -> list[str]:
    return [line["content"] for line in chat(client)]


def has_received(client: Client, count: int) -> bool:
    return len(chat(client)) >= count


async def test_messages_and_edits_that_were_lost_come_before_the_message_that_shows_it(system: System, room: str):
    for process in system.others:
        process.signal(signal.SIGSTOP)
    urls = [gateway.url for gateway in system.gateways]
    async with connected(system.nats.url) as bus, clients(*urls) as (ann, bob):
        for client in (ann, bob):
            await client.join(room)
        await ann.chat("first")
        first = await ann.expect("Chat")
        await announce(bus, subjects.CHAT_STREAM, on=False)
        target = {"target_id": first["id"], "target_seq": first["seq"]}
        await ann.send("EditChat", {**target, "content": "edited", "id": str(uuid4())})
        for number in range(3):
            await ann.chat(str(number))

        async def stored() -> bool:
            return len(await chat_history(bus, room)) == 5

        await eventually(stored, "they are stored")
        await announce(bus, subjects.CHAT_STREAM, on=True)
        await bob.chat("3")
        for client in (ann, bob):
            await eventually(partial(has_received, client, 5), "everything arrives")
            await client.settle()

        for client in (ann, bob):
            lines = [line["payload"]["content"] for line in client.log if line["type"] in {"Chat", "ChatEdited"}]
            assert lines == ["first", "edited", "0", "1", "2", "3"]


async def test_a_last_message_that_was_lost_is_found_soon_by_its_own_gateway_and_in_time_by_the_others(
    system: System, room: str
):
    for process in system.others:
        process.signal(signal.SIGSTOP)
    first, second = system.gateways
    async with connected(system.nats.url) as bus, clients(first.url, second.url) as (ann, bob):
        for client in (ann, bob):
            await client.join(room)
        # So late no check of the new room is to come.
        await asyncio.to_thread(time.sleep, 3)
        await announce(bus, subjects.CHAT_STREAM, on=False)
        await ann.chat("lost")
        began = time.monotonic()
        await eventually(partial(has_received, ann, 1), "the author gets it back", COMPARED_SECONDS)
        own = time.monotonic() - began
        await eventually(partial(has_received, bob, 1), "the comparison finds it", COMPARED_SECONDS)
        print(f"the author had it after {own:.1f} s, the others after {time.monotonic() - began:.1f} s")
        for gateway in system.gateways:
            assert gateway.metric("studyroom_gateway_chat_rooms_behind_total") == 1
        await announce(bus, subjects.CHAT_STREAM, on=True)


async def test_chat_sent_while_a_gateway_was_frozen_or_nats_away_comes_in_order(system: System, room: str):
    first, second = system.gateways
    async with clients(first.url, second.url) as (ann, bob):
        for client in (ann, bob):
            await client.join(room)
        os.kill(second.pid, signal.SIGSTOP)
        for number in range(MISSED):
            await ann.chat(str(number))
        await eventually(partial(has_received, ann, MISSED), "the author has them")
        system.nats.stop()
        os.kill(second.pid, signal.SIGCONT)
        system.nats.start()
        system.nats.wait_ready()
        await eventually(partial(has_received, bob, MISSED), "everything arrives")
        await send_chat(ann, "after")
        await eventually(partial(has_received, bob, MISSED + 1), "and goes on")

        assert chat(bob) == chat(ann)
        assert "ChatReset" not in bob.types()


async def test_an_unknown_outcome_is_reported_and_sending_again_stores_the_message_once(system: System, room: str):
    first, second = system.gateways
    async with clients(first.url, second.url) as (ann, bob):
        for client in (ann, bob):
            await client.join(room)
        system.nats.signal(signal.SIGSTOP)
        message = str(uuid4())
        await ann.chat("hello", id=message)
        await eventually(lambda: "Error" in ann.types(), "the author learns it", 30)
        system.nats.signal(signal.SIGCONT)
        (refused,) = ann.payloads("Error")
        assert (refused["code"], refused["id"]) == ("chat_unavailable", message)
        for _ in range(3):
            await send_chat(ann, "hello", message)
        await eventually(partial(has_received, bob, 1), "the message arrives")
        async with connected(system.nats.url) as bus:
            assert len(await chat_history(bus, room)) == 1
        assert texts(bob) == ["hello"]
        assert {line["seq"] for line in chat(ann)} == {chat(bob)[0]["seq"]}


async def send_chat(client: Client, content: str, message: str = "") -> None:
    """Send chat as the protocol asks: again with the same id for as long as the outcome is unknown."""
    message = message or str(uuid4())
    while True:
        await client.chat(content, id=message)
        while True:
            answer = await client.next()
            if answer["type"] == "Chat" and answer["payload"]["id"] == message:
                return
            if answer["type"] == "Error" and answer["payload"].get("id") == message:
                break
        await asyncio.sleep(RETRY_SECONDS)  # while NATS is away the answer comes at once, and floods end the connection


async def test_members_who_missed_too_much_learn_it_and_go_on_from_the_newest(
    own_nats: NatsServer, tmp_path: Path, room: str
):
    provisioner, presence = (service(name, tmp_path, own_nats.url) for name in ("provisioner", "presence"))
    gateway = service(
        "gateway", tmp_path, own_nats.url, STUDYROOM_GATEWAY_RESUME_MAX_MESSAGES=str(MISSED - 1),
        STUDYROOM_GATEWAY_HISTORY_ON_JOIN="5", STUDYROOM_GATEWAY_MESSAGES_PER_SECOND="1000",
    )  # fmt: skip
    with process_running(provisioner), process_running(presence), process_running(gateway):
        provisioner.signal(signal.SIGSTOP)
        async with connected(own_nats.url) as bus, clients(gateway.url) as (ann,):
            joined = await ann.join(room)
            await announce(bus, subjects.CHAT_STREAM, on=False)
            sent = [(await bus.jetstream().publish(subjects.chat(RoomId(room)), STORED)).seq for _ in range(MISSED)]
            await announce(bus, subjects.CHAT_STREAM, on=True)
            await ann.chat("after")
            reset = await ann.expect("ChatReset")
            await eventually(lambda: "after" in texts(ann), "chat goes on")
            history = await chat_history(bus, room)

    assert reset["epoch"] == joined["epoch"]
    seen = [line["seq"] for line in chat(ann)]
    assert seen == [sequence for sequence in history if sequence > reset["last_seq"]]
    assert sent[0] <= reset["last_seq"] < sent[-1]


async def test_when_the_storage_is_lost_members_and_returning_clients_learn_it(system: System, room: str):
    first, second = system.gateways
    async with clients(first.url, second.url) as (ann, bob):
        joined = await ann.join(room)
        await bob.join(room)
        await ann.chat("before")
        since = (await ann.expect("Chat"))["seq"]
        await bob.drop()
        system.nats.signal(signal.SIGKILL)
        system.nats.wait()
        shutil.rmtree(system.nats.log.parent / "store")
        system.nats.start()
        system.nats.wait_ready()
        await eventually(lambda: "ChatReset" in ann.types(), "the member learns it", 30)
        back = await Client.connect(second.url)
        await eventually(lambda: joins(back, room, since, joined["epoch"]), "the join succeeds", 30)
        answer = next(message["payload"] for message in back.log if message["type"] == "JoinedRoom")
        await send_chat(ann, "after")
        await eventually(partial(has_received, back, 1), "chat goes on")
        resets = ann.payloads("ChatReset")
        await eventually(lambda: resumes(ann, room), "former members can resume in the new epoch")
        await back.close()

    assert answer["recovered"] is False
    assert answer["history"] == 0
    assert resets[-1]["epoch"] != joined["epoch"]


async def joins(client: Client, room: str, since: int, epoch: str) -> bool:
    await client.send("JoinRoom", {"room_id": room, "since": since, "epoch": epoch})
    while True:
        answer = await client.next()
        if answer["type"] in {"JoinedRoom", "Error"}:
            return bool(answer["type"] == "JoinedRoom")


async def resumes(client: Client, room: str) -> bool:
    """Resumes from its position. The epoch changes more than once while both streams are made again."""
    resets = [message["payload"] for message in client.log if message["type"] in {"JoinedRoom", "ChatReset"}]
    since = max([resets[-1]["last_seq"], *(line["seq"] for line in chat(client)[-1:])])
    await client.send("JoinRoom", {"room_id": room, "since": since, "epoch": resets[-1]["epoch"]})
    return (await client.expect("JoinedRoom"))["recovered"] is True
