"""Clients that work in rooms while faults happen, and remember what they did and were told."""

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import jwt
from websockets.exceptions import InvalidHandshake, InvalidMessage, WebSocketException

from tests.faults.system import SECRET, System
from tests.support.client import Client

JOINS_ENDED_BY = {"presence_unavailable", "internal", "busy"}
_RETRY_SECONDS = (0.1, 1.0)
_SETTLE_SECONDS = 30.0


@dataclass
class Session:
    """One connection of an actor."""

    client: Client
    gateway: int
    opened: float
    closed: float | None = None
    clean: bool = False
    """The client ended it, or left its room before."""


@dataclass
class Departure:
    """A connection was lost, and its user stays away."""

    user: str
    room: str
    at: float


@dataclass
class Actor:
    """One tab of one user. `steady`: it joins once and stays; `mortal`: it does not come back when it is lost."""

    system: System
    group: int
    user: str
    rooms: list[str]
    dice: random.Random
    steady: bool
    mortal: bool
    wanted: str | None = None
    away: bool = False
    sessions: list[Session] = field(default_factory=list)
    departures: list[Departure] = field(default_factory=list)
    operations: int = 0
    refused: int = 0
    _joins: int = 0
    _read_to: int = 0

    @property
    def session(self) -> Session | None:
        """The open one."""
        last = self.sessions[-1] if self.sessions else None
        return last if last is not None and last.closed is None else None

    @property
    def room(self) -> str | None:
        """Where it is meant to be."""
        return None if self.away else self.wanted

    # --- work ---------------------------------------------------------------------------------------------

    async def work(self, resting: asyncio.Event) -> None:
        """Act until told to rest."""
        self.away = False
        while not resting.is_set():
            await self._keep_connected()
            if self.session is not None:
                await self._act()
            await asyncio.sleep(self.dice.uniform(0.1, 0.5))

    async def settle(self) -> None:
        """Returns when it is connected and where it wants to be, as far as its gateway knows."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while not self.away:
            await self._keep_connected()
            if self.session is not None and self._joins == 0:
                return
            assert time.monotonic() < deadline, f"{self.user} could not settle in {self.wanted}"
            await asyncio.sleep(0.05)

    async def end(self) -> None:
        session = self.session
        if session is not None:
            self.wanted = None
            await self._close(session, clean=True)

    async def _keep_connected(self) -> None:
        """Connect if it is time to, notice what was lost, and ask again for what was refused."""
        session = self.session
        if session is not None and session.client.close_code is not None:
            self._lost(session)
            session = None
        if session is None and not self.away:
            await self._connect()
        elif session is not None:
            await self._read(session)

    async def _act(self) -> None:
        assert self.session is not None
        self.operations += 1
        steady = {"chat": 5, "move": 10, "type": 1}
        busy = {"join": 12, "leave": 4, "chat": 8, "move": 8, "type": 1, "close": 2, "drop": 2}
        acts = steady if self.steady else busy
        act = self.dice.choices(list(acts), list(acts.values()))[0]
        if act in {"chat", "move", "type", "leave"} and self.wanted is None:
            return
        match act:
            case "join":
                await self._join(self.dice.choice(self.rooms))
            case "leave":
                self.wanted = None
                await self._send("LeaveRoom")
            case "chat":
                await self._send("Chat", {"content": f"{self.wanted} says {self.user}"})
            case "move":
                await self._send("CursorMove", {"x": self.dice.random(), "y": self.dice.random()})
            case "type":
                await self._send("Typing", {"is_typing": self.dice.random() < 0.5})
            case "close" | "drop":
                await self._close(self.session, clean=act == "close")

    async def _join(self, room: str) -> None:
        self.wanted = room
        self._joins += 1
        await self._send("JoinRoom", {"room_id": room})

    async def _send(self, kind: str, payload: object = None) -> None:
        assert self.session is not None
        # A lost connection is noticed when its reader has ended.
        with suppress(WebSocketException, OSError, TimeoutError):
            await asyncio.wait_for(self.session.client.send(kind, payload), 10)

    async def _read(self, session: Session) -> None:
        """Every `JoinRoom` is answered once; ask again when the answer was that it could not be done."""
        log = session.client.log
        again = False
        while self._read_to < len(log):
            message = log[self._read_to]
            self._read_to += 1
            if message["type"] == "JoinedRoom":
                self._joins -= 1
            elif message["type"] == "Error" and message["payload"]["code"] in JOINS_ENDED_BY:
                self._joins -= 1
                self.refused += 1
                again = True
        if again and self.wanted is not None:
            await self._join(self.wanted)

    # --- connections --------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        gateway = self.dice.randrange(len(self.system.gateways))
        token = jwt.encode({"sub": self.user, "exp": int(time.time()) + 86_400}, SECRET, algorithm="HS256")
        try:
            client = await asyncio.wait_for(Client.connect(self.system.gateways[gateway].url, token=token), 4)
        except (OSError, TimeoutError, InvalidHandshake, InvalidMessage, WebSocketException):
            await asyncio.sleep(self.dice.uniform(*_RETRY_SECONDS))
            return
        self.sessions.append(Session(client, gateway, time.monotonic()))
        self._joins = self._read_to = 0
        if self.wanted is None and self.steady:
            self.wanted = self.dice.choice(self.rooms)
        if self.wanted is not None:
            await self._join(self.wanted)

    def _lost(self, session: Session) -> None:
        session.closed = time.monotonic()
        if self.mortal and self.wanted is not None:
            self.departures.append(Departure(self.user, self.wanted, session.closed))
            self.wanted, self.away = None, True

    async def _close(self, session: Session, *, clean: bool) -> None:
        session.clean = clean
        if clean:
            self.wanted = None
        try:
            await asyncio.wait_for(session.client.close() if clean else session.client.drop(), 10)
        except (WebSocketException, OSError, TimeoutError):
            session.client.socket.transport.abort()
        session.closed = time.monotonic()
        if not clean and self.dice.random() < 0.5 and self.wanted is not None:
            self.departures.append(Departure(self.user, self.wanted, session.closed))
            self.wanted, self.away = None, True


@dataclass(frozen=True)
class Crowd:
    steady: int = 12
    mortal: int = 9
    busy: int = 21
    second_tabs: int = 6
    rooms: int = 12
    groups: int = 2


def crowd(system: System, seed: int, size: Crowd | None = None) -> list[Actor]:
    """Actors of two groups that share nothing: not a room, not a user."""
    size = size or Crowd()
    dice = random.Random(seed)

    def ids(count: int) -> list[str]:
        return [str(UUID(int=dice.getrandbits(128))) for _ in range(count)]

    rooms = [ids(size.rooms // size.groups) for _ in range(size.groups)]
    actors = []
    for index in range(size.steady + size.mortal + size.busy):
        group = index % size.groups
        steady = index < size.steady + size.mortal
        mortal = size.steady <= index < size.steady + size.mortal
        user = ids(1)[0]
        tabs = 2 if index >= size.steady + size.mortal + size.busy - size.second_tabs else 1
        for tab in range(tabs):
            own = random.Random(f"{seed}-{index}-{tab}")
            actors.append(Actor(system, group, user, rooms[group], own, steady, mortal))
    return actors
