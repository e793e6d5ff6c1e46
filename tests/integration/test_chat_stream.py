"""Reading the chat stream: the newest messages, those before a position, and those after it, for any mix of rooms."""

import asyncio
import random
from typing import Any
from uuid import uuid4

import pytest

from studyroom.gateway.chat.stream import ChatStream, Trimmed
from studyroom.gateway.rooms.history import Stored
from studyroom.services.provisioner.streams import ensure, specifications
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import encode_tombstone
from studyroom.shared.contract.ids import MessageId, RoomId

TIMEOUT_SECONDS = 10.0
KEPT = 400
"""Messages of a room that are stored."""

Layout = dict[RoomId, list[int]]


def new_room() -> RoomId:
    return RoomId(str(uuid4()))


@pytest.fixture
async def stream(bus: Bus) -> ChatStream:
    await ensure(bus, specifications(StorageSettings(chat_max_messages_per_room=KEPT)))
    reading = ChatStream(bus)
    await reading.start()
    return reading


async def store_chat(bus: Bus, rooms: list[RoomId]) -> Layout:
    """One message in each of these rooms, in this order. The sequences of each room."""
    layout: Layout = {}
    for start in range(0, len(rooms), 200):
        some = rooms[start : start + 200]
        stored = await asyncio.gather(
            *(bus.store(subjects.chat(room), b'{"type":"Chat"', {}, timeout_seconds=5) for room in some)
        )
        for room, acknowledgement in zip(some, stored, strict=True):
            layout.setdefault(room, []).append(acknowledgement.sequence)
    return {room: sorted(sequences) for room, sequences in layout.items()}


def numbers(lines: list[Stored]) -> list[int]:
    return [line.sequence for line in lines]


@pytest.mark.parametrize("layout", ["alone", "thin", "early", "late", "bursts"])
async def test_the_newest_messages_are_found_wherever_they_lie(bus: Bus, stream: ChatStream, layout: str):
    dice = random.Random(layout)
    room, others = new_room(), [new_room() for _ in range(5)]
    noise = [dice.choice(others) for _ in range(900)]
    own = [room] * 150
    spoken = {
        "alone": own,
        "thin": sorted(own + noise, key=lambda _: dice.random()),
        "early": own + noise,
        "late": noise + own,
        "bursts": own[:70] + noise[:400] + own[70:75] + noise[400:] + own[75:],
    }[layout]
    sequences = (await store_chat(bus, spoken))[room]
    for count in (1, 7, 50, 149, 150, 400):
        page = await stream.newest(room, count)
        assert numbers(page.messages) == sequences[-count:]
        assert page.older == (count < len(sequences))


async def test_pages_lead_from_the_newest_to_the_oldest_message(bus: Bus, stream: ChatStream):
    dice = random.Random(7)
    room, other = new_room(), new_room()
    sequences = (await store_chat(bus, dice.choices([room, other], k=500)))[room]
    read: list[int] = []
    before = None
    while True:
        page = await stream.newest(room, 40, before=before)
        read = numbers(page.messages) + read
        if not page.older:
            break
        before = page.messages[0].sequence
    assert read == sequences
    assert numbers((await stream.newest(room, 3, before=sequences[-1] + 1000)).messages) == sequences[-3:]
    assert (await stream.newest(room, 3, before=sequences[0])).messages == []


class Counting(ChatStream):
    questions = messages = 0

    async def _get(self, request: dict[str, Any]) -> Any:
        batch = await super()._get(request)
        self.questions += 1
        self.messages += len(batch.messages)
        return batch


@pytest.mark.parametrize("before", [None, 2**63 - 1])
async def test_few_messages_are_read_for_the_newest_few_of_any_age(bus: Bus, stream: ChatStream, before: int | None):
    room, others = new_room(), [new_room() for _ in range(10)]
    sequences = (await store_chat(bus, [room] * 300))[room]
    await store_chat(bus, others * 200)
    counting = Counting(bus)
    await counting.start()
    assert numbers((await counting.newest(room, 2, before=before)).messages) == sequences[-2:]
    assert counting.messages < 50
    assert counting.questions < 50


async def test_a_room_without_messages_has_none(stream: ChatStream):
    room = new_room()
    assert await stream.last(room) is None
    assert (await stream.newest(room, 10)).messages == []
    assert await stream.lasts([room]) == {}


async def test_the_last_message_of_many_rooms_is_one_question(bus: Bus, stream: ChatStream):
    rooms = [new_room() for _ in range(300)]
    layout = await store_chat(bus, rooms + rooms[:100])
    assert await stream.lasts([*rooms, new_room()]) == {room: layout[room][-1] for room in rooms}
    assert await stream.last(rooms[5]) == layout[rooms[5]][-1]


async def test_messages_up_to_a_sequence_are_not_asked_for_again(bus: Bus, stream: ChatStream):
    old, new, both = new_room(), new_room(), new_room()
    layout = await store_chat(bus, [old, both])
    reached = layout[both][-1]
    layout = await store_chat(bus, [new, both])
    counting = Counting(bus)
    await counting.start()
    assert await counting.lasts([old, new, both], after=reached) == {new: layout[new][-1], both: layout[both][-1]}
    assert counting.messages == 2
    assert await counting.lasts([old], after=reached) == {}


async def after(stream: ChatStream, room: RoomId, position: int, up_to: int, at_most: int = 1000) -> list[int]:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        return numbers(await stream.after(room, position, up_to=up_to, at_most=at_most))


async def test_all_messages_after_a_position_are_read_or_none(bus: Bus, stream: ChatStream):
    room, other = new_room(), new_room()
    sequences = (await store_chat(bus, [room, other] * 350))[room]
    assert await after(stream, room, sequences[3], sequences[-1]) == sequences[4:]
    assert await after(stream, room, sequences[3] + 1, sequences[-1]) == sequences[4:]
    assert await after(stream, room, sequences[-1], sequences[-1]) == []
    with pytest.raises(Trimmed):
        await after(stream, room, sequences[3], sequences[-1], at_most=300)


async def test_messages_removed_after_a_position_are_noticed(bus: Bus, stream: ChatStream):
    room, empty = new_room(), (await stream.learn()).last
    sequences = (await store_chat(bus, [room] * (KEPT + 10)))[room]
    kept = sequences[10:]
    for position in (empty, sequences[0], sequences[9]):
        with pytest.raises(Trimmed):
            await after(stream, room, position, sequences[-1])
    assert await after(stream, room, kept[0], sequences[-1]) == kept[1:]


async def test_removed_messages_are_noticed_though_others_were_erased_since(bus: Bus, stream: ChatStream):
    room, empty = new_room(), (await stream.learn()).last
    sequences = (await store_chat(bus, [room] * (KEPT + 1)))[room]
    tombstone = encode_tombstone(MessageId(str(uuid4())), sequences[50])
    stored = await bus.store(subjects.chat(room), tombstone, {}, timeout_seconds=5)
    await stream.erase(sequences[50])
    for position in (empty, sequences[0], sequences[1] - 1):
        with pytest.raises(Trimmed):
            await after(stream, room, position, stored.sequence)
    assert len(await after(stream, room, sequences[2], stored.sequence)) == KEPT - 2


async def test_a_position_in_an_empty_room_is_a_position_of_the_whole_stream(bus: Bus, stream: ChatStream):
    room, other = new_room(), new_room()
    await store_chat(bus, [other] * 5)
    position = (await stream.learn()).last
    sequences = (await store_chat(bus, [other, room, other, room]))[room]
    assert await after(stream, room, position, sequences[-1]) == sequences
    assert await after(stream, room, position, position) == sequences


async def test_another_stream_is_noticed(bus: Bus, stream: ChatStream):
    sent: list[str] = []
    stream.on_replaced(lambda: sent.append(stream.terms.epoch))
    before = stream.terms.epoch
    await stream.learn()
    await bus.api(f"STREAM.DELETE.{subjects.CHAT_STREAM}")
    await ensure(bus, specifications(StorageSettings(chat_max_messages_per_room=KEPT)))
    await stream.learn()
    assert sent == [stream.terms.epoch] != [before]


async def test_a_walk_returns_every_entry_of_all_rooms_once_and_ends_where_the_last_are_gone(
    bus: Bus, stream: ChatStream
):
    before = (await stream.learn()).last
    rooms = [new_room() for _ in range(3)]
    layout = await store_chat(bus, [rooms[number % 3] for number in range(400)])
    stored = {sequence: room for room, sequences in layout.items() for sequence in sequences}
    last = max(stored)
    for gone in (before + 1, before + 200, last - 1, last):
        await stream.erase(gone)
        del stored[gone]
    async with asyncio.timeout(TIMEOUT_SECONDS):
        assert [(line.sequence, room) async for room, line in stream.walk(before, last, 0)] == sorted(stored.items())
        assert [line async for line in stream.walk(last, last, 0)] == []
