"""Two hundred clients act at random. At rest everyone knows the truth, and nobody received anything wrong."""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest

from tests.support.client import Client
from tests.support.presence import chat_history, connected, users_in
from tests.support.processes import EmbeddedStack, embedded_stack, running
from tests.support.roster import check_chat_order, memberships
from tests.support.tokens import SECRET, token_of
from tests.support.waiting import eventually

CLIENTS = 200
ROOMS = 12
SECONDS = 8.0
USERS_WITH_TABS = 30


@pytest.fixture(scope="module")
def busy_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    stack = embedded_stack(tmp_path_factory.mktemp("busy"), gateways=2, presence=2, STUDYROOM_GATEWAY_JWT_SECRET=SECRET)
    with running(stack):
        yield stack


@dataclass
class Actor:
    """One tab of one user, which joins, leaves, switches, disconnects and chats at random."""

    gateways: list[str]
    rooms: list[str]
    user: str
    dice: random.Random
    room: str | None = None
    sent: list[tuple[str, str]] = field(default_factory=list)
    past: list[Client] = field(default_factory=list)
    client: Client | None = None

    async def act_until(self, end: float) -> None:
        while time.monotonic() < end:
            await self._act()
            await asyncio.sleep(self.dice.uniform(0, 0.15))
        if self.client is None:
            await self._connect()

    async def _act(self) -> None:
        if self.client is None:
            await self._connect()
        assert self.client is not None
        match self.dice.choices(["join", "chat", "leave", "close", "drop"], [30, 50, 10, 3, 3])[0]:
            case "join":
                # Also the room it is in, and without waiting for the answer: joins overtake each other.
                self.room = self.dice.choice(self.rooms)
                await self.client.send("JoinRoom", {"room_id": self.room})
            case "chat" if self.room is not None:
                content = str(uuid4())
                self.sent.append((self.room, content))
                await self.client.chat(content)
            case "leave" if self.room is not None:
                self.room = None
                await self.client.leave()
            case "close":
                await self._end(clean=True)
            case "drop":
                await self._end(clean=False)
            case _:
                pass

    async def _connect(self) -> None:
        token = token_of(self.user)
        self.client = await Client.connect(self.dice.choice(self.gateways), token=token)
        self.past.append(self.client)

    async def _end(self, *, clean: bool) -> None:
        assert self.client is not None
        await (self.client.close() if clean else self.client.drop())
        self.client, self.room = None, None


@pytest.mark.parametrize("seed", [1, 20261122])
@pytest.mark.timeout(180)
async def test_at_rest_every_roster_is_the_truth_and_no_event_was_missed_or_repeated(
    busy_stack: EmbeddedStack, seed: int
):
    dice = random.Random(seed)
    rooms = [str(UUID(int=dice.getrandbits(128))) for _ in range(ROOMS)]
    users = [str(UUID(int=dice.getrandbits(128))) for _ in range(CLIENTS)]
    actors = [
        Actor(busy_stack.gateways, rooms, users[index % (CLIENTS - USERS_WITH_TABS)], random.Random(f"{seed}-{index}"))
        for index in range(CLIENTS)
    ]
    end = time.monotonic() + SECONDS
    await asyncio.gather(*(actor.act_until(end) for actor in actors))

    try:
        await at_rest(busy_stack, actors, rooms)
    finally:
        await asyncio.gather(*(actor.client.close() for actor in actors if actor.client is not None))
    async with connected(busy_stack.nats_url) as bus:
        for room in rooms:

            async def empty(room: str = room) -> bool:
                return not await users_in(bus, room)

            await eventually(empty, "the rooms are empty after everyone left")


async def at_rest(stack: EmbeddedStack, actors: list[Actor], rooms: list[str]) -> None:
    truth: dict[str, set[str]] = {room: {actor.user for actor in actors if actor.room == room} for room in rooms}
    current = [actor.client for actor in actors if actor.client is not None]
    for client in current:
        await client.settle()

    def all_know() -> bool:
        return all(
            actor.room is None or knows(actor.client, truth[actor.room]) for actor in actors if actor.client is not None
        )

    await eventually(all_know, "every client's roster is the truth", 30)
    await send_goodbye(actors, rooms)
    async with connected(stack.nats_url) as bus:
        for room in rooms:
            assert await users_in(bus, room) == truth[room], "presence's roster is the truth"
        histories = {room: await chat_history(bus, room) for room in rooms}

    operations = 0
    for actor in actors:
        for client in actor.past:
            operations += len(client.log)
            for membership in memberships(client.log):
                check_chat_order(membership, histories[membership.room])
    assert sum(len(history) for history in histories.values()) > CLIENTS
    print(f"{operations} messages seen by clients, {sum(map(len, histories.values()))} chat messages stored")


def knows(client: Client, truth: set[str]) -> bool:
    found = memberships(client.log)
    return bool(found) and found[-1].users == truth


async def send_goodbye(actors: list[Actor], rooms: list[str]) -> None:
    """One last message per room, which everyone who is there must get: so nobody's chat ends early."""
    for room in rooms:
        members = [actor.client for actor in actors if actor.room == room and actor.client is not None]
        if not members:
            continue
        await members[0].chat(f"goodbye {room}")
        for member in members:

            def received(member: Client = member, room: str = room) -> bool:
                return any(
                    message["type"] == "Chat" and message["payload"]["content"] == f"goodbye {room}"
                    for message in member.log[-50:]
                )

            await eventually(received, "the last message reaches every member")
