"""Well-behaved clients in a room of their own, who talk and move while somebody attacks the gateway they are on."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from tests.support.client import Client
from tests.support.waiting import eventually

PEOPLE = 4
_CHAT_SECONDS, _MOVE_SECONDS = 0.25, 0.05
_SETTLED_SECONDS = 30.0


class Neighbours:
    def __init__(self, people: list[Client]) -> None:
        self.people = people
        self.sent_at: dict[str, float] = {}
        """When (monotonic seconds), by content."""
        self.moved: dict[tuple[str, float], float] = {}
        """When, by user and place."""
        self._quiet = asyncio.Event()
        self._tasks = [
            asyncio.create_task(activity(person)) for person in people for activity in (self._talk, self._move)
        ]

    @classmethod
    @asynccontextmanager
    async def talking(cls, url: str, room: str) -> AsyncIterator[Self]:
        people = [await Client.connect(url) for _ in range(PEOPLE)]
        try:
            for person in people:
                await person.join(room)
            neighbours = cls(people)
            try:
                yield neighbours
            finally:
                await neighbours.fall_silent()
        finally:
            for person in people:
                await person.drop()

    async def fall_silent(self) -> None:
        """Stop sending, and return when everything was sent."""
        self._quiet.set()
        await asyncio.gather(*self._tasks)
        self._tasks = []

    async def settle(self) -> None:
        await self.fall_silent()
        await eventually(lambda: not self.complaints(), "everyone has received everything", _SETTLED_SECONDS)

    def complaints(self) -> list[str]:
        """The differences between the messages that each of them should have received and has received."""
        found = []
        orders = {tuple(self._received(person)) for person in self.people}
        if len(orders) > 1:
            found.append("not all of them saw the same in the same order")
        for person in self.people:
            if person.close_code is not None:
                found.append(f"closed with {person.close_code} {person.close_reason}")
            if sorted(self._received(person)) != sorted(self.sent_at):
                found.append(f"saw {len(self._received(person))} messages of {len(self.sent_at)}")
            codes = [message["payload"]["code"] for message in person.log if message["type"] == "Error"]
            found += [f"received {code}" for code in codes]
            found += [
                f"does not see where {user} is" for user, x in self._places().items() if not sees(person, user, x)
            ]
        return found

    def latencies(self, since: float, until: float) -> tuple[list[float], list[float]]:
        """Seconds that chat and cursors took to each of the others, for messages sent in that time."""
        chat, cursors = [], []
        for person in self.people:
            for message, came in zip(person.log, person.times, strict=True):
                payload = message.get("payload", {})
                if message["type"] == "Chat" and since <= self.sent_at.get(payload["content"], 0.0) < until:
                    chat.append(came - self.sent_at[payload["content"]])
                elif message["type"] == "CursorUpdate":
                    sent = self.moved.get((payload["user_id"], payload["x"]), 0.0)
                    if since <= sent < until:
                        cursors.append(came - sent)
        return chat, cursors

    async def _talk(self, person: Client) -> None:
        number = 0
        while not self._quiet.is_set():
            content = f"{person.user} {number}"
            self.sent_at[content] = time.monotonic()
            await person.chat(content)
            number += 1
            await asyncio.sleep(_CHAT_SECONDS)  # a pace of people

    async def _move(self, person: Client) -> None:
        number = 0
        while not self._quiet.is_set():
            self.moved[person.user, number] = time.monotonic()
            await person.send("CursorMove", {"x": number, "y": 0})
            number += 1
            await asyncio.sleep(_MOVE_SECONDS)  # a pace of hands

    def _places(self) -> dict[str, float]:
        return dict(sorted(self.moved, key=lambda move: self.moved[move]))

    @staticmethod
    def _received(person: Client) -> list[str]:
        return [message["payload"]["content"] for message in person.log if message["type"] == "Chat"]


def sees(person: Client, user: str, x: float) -> bool:
    updates = [message["payload"] for message in person.log if message["type"] == "CursorUpdate"]
    return user == person.user or [update["x"] for update in updates if update["user_id"] == user][-1:] == [x]
