"""A visitor that knows `Moving`: it opens its next connection before the gateway closes the present one."""

import asyncio
import random
import time
from contextlib import suppress
from functools import partial
from itertools import pairwise

from websockets.exceptions import InvalidHandshake, InvalidMessage, WebSocketException

from tests.support.client import Client
from tests.support.tokens import token_of
from tests.support.visitor import Visit, Visitor
from tests.support.waiting import eventually

_RETRY_SECONDS = (0.05, 0.3)
_JOIN_SECONDS = 60.0
_SPREAD_SECONDS = 1.0
"""The random wait before the first attempt is at most this. Half of the time would do, and take longer."""


class Mover(Visitor):
    def _address(self) -> str:
        url = super()._address()
        return f"{url}{'&' if '?' in url else '?'}moving=true"

    async def visit(self) -> None:
        visit, talking = await self._begin(await self._connect())
        while not self._leaving:
            client = visit.client
            await eventually(partial(_is_going, client), "the client must go", 600)
            if client.close_code is None:
                visit, talking = await self._move(visit, talking)
                continue
            talking.cancel()
            if client.close_code != 1000:
                await asyncio.sleep(self._wait_seconds(client))
            if not self._leaving:
                visit, talking = await self._begin(await self._connect())
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)

    @property
    def gaps(self) -> list[float]:
        """The seconds between connections in which the user was in the room. Below 0: they overlapped."""
        return [_joined_at(new) - _ended_at(old) for old, new in pairwise(self.visits)]

    async def _begin(self, client: Client) -> "tuple[Visit, asyncio.Task[None]]":
        asked = self._asked()
        visit = Visit(client, asked)
        resume = {"since": asked.since, "epoch": asked.epoch} if asked.epoch else {}
        self.visits.append(visit)
        with suppress(WebSocketException):
            await client.send("JoinRoom", {"room_id": self.room, **resume})
        return visit, asyncio.create_task(self._talk(visit))

    async def _move(self, old: Visit, talking: "asyncio.Task[None]") -> "tuple[Visit, asyncio.Task[None]]":
        """Returns the next visit, or the old one if there was no other gateway until it closed."""
        (moving,) = old.client.payloads("Moving")
        self._hint = moving.get("room", self._hint)
        await asyncio.sleep(random.uniform(0, min(_SPREAD_SECONDS, moving["within_ms"] / 2000)))
        while not self._leaving and old.client.close_code is None:
            try:
                client = await Client.connect(self._address(), token=token_of(self.user))
            except (OSError, InvalidHandshake, InvalidMessage, WebSocketException):
                await asyncio.sleep(random.uniform(*_RETRY_SECONDS))
                continue
            visit, next_talking = await self._begin(client)
            await eventually(partial(_is_in, visit), "joined on the next connection", _JOIN_SECONDS)
            talking.cancel()
            await old.client.close()
            return visit, next_talking
        await old.client.ended()
        return old, talking


def _is_going(client: Client) -> bool:
    return client.close_code is not None or "Moving" in client.types()


def _is_in(visit: Visit) -> bool:
    return visit.is_in


def _joined_at(visit: Visit) -> float:
    return visit.client.times[visit.client.types().index("JoinedRoom")]


def _ended_at(visit: Visit) -> float:
    return time.monotonic() if visit.client.closed_at is None else visit.client.closed_at
