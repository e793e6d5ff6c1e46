"""Clients that do as the protocol asks, through restarts and losses, and the rules for the messages they received."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from websockets.exceptions import InvalidHandshake, InvalidMessage, WebSocketException

from tests.support.chat import (
    Asked,
    Stored,
    View,
    existing,
    hole_violations,
    identity_violations,
    order_violations,
    views,
)
from tests.support.client import Client
from tests.support.roster import memberships
from tests.support.tokens import token_of
from tests.support.waiting import eventually

CHATS_EVERY_SECONDS = (2.0, 6.0)
RETRIES_AFTER_SECONDS = 6.0
"""Longer than a gateway takes to report that the outcome is unknown."""
HINT = re.compile(r"reconnect_after_ms=(\d+)(?: room_hint=([0-9a-f-]{36}))?")
LOST_WAIT_SECONDS = (0.0, 0.5)
"""The wait before a client that received no hint connects again, with full jitter."""


@dataclass
class Visit:
    """One connection."""

    client: Client
    asked: Asked
    repeated: set[str] = field(default_factory=set)
    """Chat that was sent here and before."""

    @property
    def views(self) -> list[View]:
        return views(self.client.log, [self.asked], self.repeated)

    @property
    def is_in(self) -> bool:
        """It is in the room and has read all missed messages."""
        answers = self.client.payloads("JoinedRoom")
        return bool(answers) and self.client.types().count("Chat") >= answers[0]["history"]


class Visitor:
    """A client that does as the protocol asks.

    It comes back when the gateway asks it to, to a gateway that lets it in, resumes where it was, and sends chat again
    that got no answer.
    """

    def __init__(
        self, urls: list[str], room: str, *, may_be_lost: bool = False, by_hint: bool = False, hint: str = ""
    ) -> None:
        """`may_be_lost`: its connection may end in other ways than with 1012 and a hint. `by_hint`: it names the room
        in the address, or what the gateway asks it to name. `hint`: it names this one first."""
        self.user = str(uuid4())
        self.room = room
        self.visits: list[Visit] = []
        self.sent: dict[str, float] = {}
        """When each message was sent last."""
        self.quiet = False
        self._received: set[str] = set()
        self._urls = urls
        self._may_be_lost = may_be_lost
        self._hint = hint or (room if by_hint else "")
        self._leaving = False

    async def visit(self) -> None:
        while not self._leaving:
            asked = self._asked()
            visit = Visit(await self._connect(), asked)
            self.visits.append(visit)
            if self._leaving:
                await visit.client.close()
                return
            resume: dict[str, Any] = {"since": asked.since, "epoch": asked.epoch} if asked.epoch else {}
            talking = asyncio.create_task(self._talk(visit))
            with suppress(WebSocketException):
                await visit.client.send("JoinRoom", {"room_id": self.room, **resume})
            await visit.client.ended(600)
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)
            if visit.client.close_code != 1000:
                await asyncio.sleep(self._wait_seconds(visit.client))

    def _asked(self) -> Asked:
        """A join from where it has been last."""
        known = [view for visit in self.visits for view in visit.views]
        return Asked(self.room, known[-1].end, known[-1].epoch) if known else Asked(self.room)

    async def _talk(self, visit: Visit) -> None:
        await eventually(lambda: visit.is_in, "joined", 60)
        while True:
            for message in self.unanswered:
                if self.sent[message] < time.monotonic() - RETRIES_AFTER_SECONDS or visit is not self.visits[0]:
                    visit.repeated.add(message)
                    await self._send_chat(visit, message)
            if not self.quiet:
                await self._send_chat(visit, str(uuid4()))
            await asyncio.sleep(random.uniform(*CHATS_EVERY_SECONDS))

    async def _send_chat(self, visit: Visit, message: str) -> None:
        self.sent[message] = time.monotonic()
        with suppress(WebSocketException):
            await visit.client.chat(f"{self.room} says {self.user}", id=message)

    @property
    def unanswered(self) -> list[str]:
        for visit in self.visits:
            self._received |= {line["payload"]["id"] for line in visit.client.log if line["type"] == "Chat"}
        return [message for message in self.sent if message not in self._received]

    async def _connect(self) -> Client:
        token = token_of(self.user)
        while True:
            try:
                return await Client.connect(self._address(), token=token)
            except (OSError, InvalidHandshake, InvalidMessage, WebSocketException):
                await asyncio.sleep(random.uniform(0.05, 0.2))

    def _address(self) -> str:
        url = random.choice(self._urls)
        return f"{url}?room={self._hint}" if self._hint else url

    def _wait_seconds(self, client: Client) -> float:
        """How long the gateway asked its client to wait."""
        hint = HINT.fullmatch(client.close_reason)
        if self._hint:
            hints = [answer["room_hint"] for answer in client.payloads("JoinedRoom") if "room_hint" in answer]
            self._hint = (hint is not None and hint.group(2)) or (hints or [self._hint])[-1]
        if self._may_be_lost and hint is None:
            return random.uniform(*LOST_WAIT_SECONDS)
        assert client.close_code == 1012, client.close_reason
        assert hint is not None, client.close_reason
        return int(hint.group(1)) / 1000

    def is_in(self) -> bool:
        return bool(self.visits) and self.visits[-1].is_in and self.visits[-1].client.close_code is None

    async def leave(self) -> None:
        self._leaving = True
        await self.visits[-1].client.close()


@asynccontextmanager
async def visiting(visitors: list[Visitor]) -> AsyncIterator[None]:
    """Everyone is in and talks, until the end."""
    visits = [asyncio.create_task(visitor.visit()) for visitor in visitors]
    try:
        await all_in(visitors)
        yield
    finally:
        await asyncio.gather(*(visitor.leave() for visitor in visitors if visitor.visits))
        await asyncio.gather(*visits)


async def all_in(visitors: list[Visitor], deadline_seconds: float = 60) -> None:
    await eventually(lambda: all(visitor.is_in() for visitor in visitors), "everyone is in", deadline_seconds)


def reconnects(visitors: list[Visitor]) -> int:
    return sum(len(visitor.visits) - 1 for visitor in visitors)


async def settle(visitors: list[Visitor], grace_seconds: float, stored_chat: Callable[[], Awaitable[Stored]]) -> None:
    """Let all fall silent and read on. Fails when any client received a leave, or misses a member or a message."""
    await all_in(visitors)
    for visitor in visitors:
        visitor.quiet = True
    # Presence keeps a membership for so long: clients lost on the way would leave by then.
    await asyncio.sleep(grace_seconds + 1)
    await eventually(lambda: not any(visitor.unanswered for visitor in visitors), "all chat is answered", 60)
    stored = await stored_chat()
    await eventually(lambda: all(_has_read(visitor, stored) for visitor in visitors), "everyone has read all", 60)
    left = sum(visit.client.types().count("UserLeft") for visitor in visitors for visit in visitor.visits)
    sent = sum(len(visitor.sent) for visitor in visitors)
    wrong = chat_violations(visitors, stored)
    print(
        f"{len(visitors)} clients, {reconnects(visitors)} reconnects, {left} reported to have left, "
        f"{sent} messages sent, {sum(map(len, stored.values()))} stored, {len(wrong)} lost, doubled or out of order"
    )
    assert left == 0
    assert wrong == []
    for visitor in visitors:
        there = {other.user for other in visitors if other.room == visitor.room}
        assert memberships(visitor.visits[-1].client.log)[-1].users == there


def _has_read(visitor: Visitor, stored: Stored) -> bool:
    return visitor.visits[-1].views[-1].end >= max(stored.get(visitor.room, {0: ""}))


def chat_violations(visitors: list[Visitor], stored: Stored) -> list[str]:
    found = [view for visitor in visitors for visit in visitor.visits for view in visit.views]
    known = existing(found)
    for (room, _), lines in known.items():
        for sequence, message in stored[room].items():
            lines[sequence].add(message)
    wrong = order_violations(found) + identity_violations(known) + hole_violations(found, known)
    for visitor in visitors:
        here = set(stored[visitor.room].values())
        wrong += [f"{message} was sent and is not stored" for message in visitor.sent if message not in here]
        wrong += ["a resume was not recovered" for visit in visitor.visits[1:] if not visit.views[0].recovered]
    return wrong
