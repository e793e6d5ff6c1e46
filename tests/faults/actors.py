"""Clients that work in rooms while faults happen, and remember their acts and all messages."""

import asyncio
import random
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID
from zlib import crc32

from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus, WebSocketException

from studyroom.shared.contract.custom_presence import difference
from tests.faults.backend_requests import Answer, ask
from tests.faults.folding import Change
from tests.faults.members import Membership, Place, avatar_of
from tests.faults.refusals import Refusal
from tests.faults.shown_to_members import OwnFields, Received, Written, event
from tests.faults.stored import Posted
from tests.faults.system import System
from tests.support.chat import Asked, ends_join
from tests.support.client import Client
from tests.support.fallback import Refused, connect_patiently
from tests.support.tokens import token_of

_RETRY_SECONDS = (0.1, 1.0)
_STOPPING = 1012
_DELETED, _REFUSED, _NOT_FOUND = 204, 400, 404
_SETTLE_SECONDS = 30.0
_REPEAT_SECONDS = 1.0
_REFUSALS_NAMED = 5
_LOOKED_AT = 300
_CHANGED_AMONG = 10
"""Messages at the end of what it has received, and those among which it chooses one to change."""
_TAKEN_BACK, _REACTED = 0.15, 0.7
"""The share of changes of own messages that delete them, and of reactions that are not taken back."""
_BURST = 3
"""So many events in a row may come in one batch, and replace each other if they have a key."""
_RESENT_FOR_SECONDS = 90.0
"""Safely within the time in which the stream recognises a message that is sent again."""


@dataclass
class Session:
    """One connection of an actor."""

    client: Client
    gateway: int
    opened: float
    closed: float | None = None
    clean: bool = False
    """The client ended it, or left its room before."""
    by_client: bool = False
    asked: list[Asked] = field(default_factory=list)
    repeated: set[str] = field(default_factory=set)
    """Ids of chat that was sent here and had been sent before."""
    room: str | None = None
    epoch: str = ""
    """The epoch that the server sent last."""
    name: str = ""
    """The name in its token."""
    memberships: list[Membership] = field(default_factory=list)
    """In the order in which they were asked for."""
    sent: dict[str, float] = field(default_factory=dict)
    """When each message was sent for the first time, by its id."""
    joining: deque[tuple[Membership, float]] = field(default_factory=deque)
    """The membership of each join that is not answered yet, and when it was sent."""
    answered: list[float] = field(default_factory=list)
    """When each join was sent that was answered by `JoinedRoom`."""
    received: Received = field(default_factory=lambda: Received(""))
    """The events and fields that came."""
    events: int = 0
    """Events that it has sent."""

    @property
    def closed_by_gateway(self) -> tuple[float, int] | None:
        """When, and with which code."""
        client = self.client
        if self.by_client or client.close_code is None or client.closed_at is None:
            return None
        return client.closed_at, client.close_code

    def end_membership(self, at: float, *, clean: bool) -> None:
        """Where it was, it is no more."""
        last = self.memberships[-1] if self.memberships else None
        if last is not None and last.ended is None:
            last.ended, last.clean = at, clean


@dataclass
class Unanswered:
    """A message, edit or reaction whose outcome its author does not know."""

    room: str
    kind: str
    payload: dict[str, Any]
    since: float
    sent: bool = True
    """On the present connection, and not answered there."""
    again_at: float = 0.0


@dataclass
class Departure:
    """A connection was lost, and its user stays away."""

    user: str
    room: str
    at: float
    gateway: int
    dropped: bool
    """The client itself ended the connection."""
    asked_to_wait: bool = False
    """The gateway stopped, and keeps the membership until its clients have had time to come back."""


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
    own: OwnFields
    wanted: str | None = None
    away: bool = False
    sessions: list[Session] = field(default_factory=list)
    departures: list[Departure] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    """Handshakes that a gateway answered with a refusal."""
    operations: int = 0
    chats_sent: int = 0
    acknowledged: int = 0
    over_http: bool = False
    """Its network blocks WebSockets."""
    repeated: int = 0
    """Chat that was sent again, since its outcome was unknown."""
    recovered: int = 0
    not_recovered: int = 0
    """Answers to its resumes."""
    _unanswered: dict[str, Unanswered] = field(default_factory=dict)
    _known: dict[str, tuple[int, str, float]] = field(default_factory=dict)
    """The last position seen, its epoch, and when that epoch came, by room."""
    _history: int = 0
    """Messages of the past that are still to come."""
    _joins: int = 0
    _join_failed: bool = False
    _unsent_fields: dict[str, Any] = field(default_factory=dict)
    """The fields that the server does not have after a join."""
    _failures: int = 0
    """Failures to connect, one after the other."""
    _read_to: int = 0

    @property
    def session(self) -> Session | None:
        """The open session."""
        last = self.sessions[-1] if self.sessions else None
        return last if last is not None and last.closed is None else None

    @property
    def room(self) -> str | None:
        """Where it is meant to be."""
        return None if self.away else self.wanted

    def asked_to_move(self, session: Session) -> bool:
        """Rooms with homes bring their members there."""
        return self.system.homes and session.client.close_code == _STOPPING

    def refused(self, session: Session) -> tuple[float, int] | None:
        """When the gateway ended the connection, and with which code, unless it asked the client to come back."""
        return None if self.asked_to_move(session) else session.closed_by_gateway

    # --- work ---------------------------------------------------------------------------------------------

    async def work(self, resting: asyncio.Event) -> None:
        """Act until it must rest."""
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
            if self.session is not None and self._joins == 0 and not self._unanswered:
                return
            assert time.monotonic() < deadline, (
                f"{self.user} could not settle in {self.wanted}: {self._joins} joins, {self._unanswered}; "
                f"it was refused {self._refused()}"
            )
            await asyncio.sleep(0.05)

    def _refused(self) -> list[str]:
        """The last refusals of its connection: a join that is refused at once is sent again and again."""
        log = self.session.client.log if self.session is not None else []
        errors = [message["payload"] for message in log if message["type"] == "Error"]
        return [f"{error['code']}: {error['message']}" for error in errors[-_REFUSALS_NAMED:]]

    async def end(self) -> None:
        session = self.session
        if session is not None:
            self.own.left(self.wanted)
            self.wanted = None
            await self._close(session, clean=True)

    async def _keep_connected(self) -> None:
        """Connect if it is time to, notice a lost connection, and join again after a refusal."""
        session = self.session
        if session is not None and session.client.close_code is not None:
            self._lost(session)
            session = None
        if session is None and not self.away:
            await self._connect()
        elif session is not None:
            await self._read()

    async def _act(self) -> None:
        assert self.session is not None
        self.operations += 1
        steady = {"chat": 5, "move": 10, "type": 1, "post": 1, "delete": 1, "event": 4, "fields": 4}
        steady |= {"edit": 3, "react": 3}
        busy = {"join": 12, "leave": 4, "chat": 8, "move": 8, "type": 1, "close": 2, "drop": 3, "event": 4, "fields": 4}
        busy |= {"edit": 3, "react": 3}
        acts = steady if self.steady else busy
        act = self.dice.choices(list(acts), list(acts.values()))[0]
        if act not in {"join", "close", "drop"} and self.wanted is None:
            return
        match act:
            case "join":
                await self._join(self.dice.choice(self.rooms))
            case "event":
                await self.send_events(keyed=self.dice.random() < 0.5)
            case "fields":
                await self._set_fields()
            case "leave":
                self.own.left(self.wanted)
                self.wanted = None
                self._unanswered.clear()
                self.session.end_membership(time.monotonic(), clean=True)
                await self._send("LeaveRoom")
            case "chat":
                await self._send_chat()
            case "move":
                await self._move()
            case "type":
                await self._send("Typing", {"is_typing": self.dice.random() < 0.5})
            case "post":
                await self._post()
            case "delete":
                await self._delete()
            case "edit":
                await self._edit()
            case "react":
                await self._react()
            case "close" | "drop":
                await self._close(self.session, clean=act == "close")

    async def _join(self, room: str) -> None:
        """Resume where it has been before. A wandering actor joins without a position as often."""
        assert self.session is not None
        if room != self.wanted:
            # Only a member can send a message again.
            self._unanswered.clear()
            self.own.left(self.wanted)
        self.wanted = room
        self._joins += 1
        asked, payload = Asked(room), {}
        if room in self._known and (self.steady or self.dice.random() < 0.5):
            since, epoch, known = self._known[room]
            asked, payload = Asked(room, since, epoch, known), {"since": since, "epoch": epoch}
        self.session.asked.append(asked)
        self._note_join(self.session, room)
        await self._send("JoinRoom", {"room_id": room, **payload})

    def _note_join(self, session: Session, room: str) -> None:
        last = session.memberships[-1] if session.memberships else None
        if last is None or last.ended is not None or last.room != room:
            session.end_membership(time.monotonic(), clean=True)
            last = Membership(self.user, room, session.gateway, asked=time.monotonic())
            session.memberships.append(last)
        session.joining.append((last, time.monotonic()))

    async def _move(self) -> None:
        assert self.session is not None
        x, y = self.dice.random(), self.dice.random()
        self.session.memberships[-1].moved = Place(x, y)
        await self._send("CursorMove", {"x": x, "y": y})

    @property
    def _is_inside(self) -> bool:
        """Whether it is in the room that it wants, as far as it knows."""
        session = self.session
        return session is not None and session.room is not None and session.room == self.wanted and not self._joins

    async def send_events(self, *, keyed: bool) -> None:
        """Send some events at once. Those with a key may replace each other."""
        session = self.session
        if session is None or session.room is None or not self._is_inside:
            return
        for _ in range(_BURST):
            session.events += 1
            connection = session.client.welcome["connection_id"]
            await self._send("Broadcast", event(session.room, connection, session.events, keyed=keyed))

    async def _set_fields(self) -> None:
        if self.wanted is None or not self._is_inside:
            return
        name = self.dice.choice(["seat", "page", "hand"])
        value = None if name == "hand" and self.dice.random() < 0.5 else self.own.written.next_value()
        await self._send("UpdatePresence", {"fields": self.own.set(self.wanted, {name: value})})

    async def _send_chat(self) -> None:
        assert self.wanted is not None
        await self._store("Chat", {"content": f"{self.wanted} says {self.user} {self.chats_sent}"})

    async def _store(self, kind: str, payload: dict[str, Any]) -> str:
        """Send an entry of the chat, and again until its outcome is known. Return its id."""
        assert self.session is not None
        assert self.wanted is not None
        self.chats_sent += 1
        message = str(UUID(int=self.dice.getrandbits(128)))
        payload = {**payload, "id": message}
        self._unanswered[message] = Unanswered(self.wanted, kind, payload, time.monotonic())
        self.session.sent[message] = time.monotonic()
        if (target := payload.get("target_id")) is not None:
            self.system.changes[message] = Change(self.wanted, target)
        await self._send(kind, payload)
        return message

    def _seen(self, *, own: bool) -> dict[str, Any] | None:
        """One of the last messages of its room."""
        session = self.session
        if session is None or not self._is_inside:
            return None
        found: list[dict[str, Any]] = []
        for message in reversed(session.client.log[-_LOOKED_AT:]):
            if message["type"] in {"JoinedRoom", "ChatReset"} or len(found) >= _CHANGED_AMONG:
                break
            if message["type"] == "Chat" and (not own or message["payload"]["user_id"] == self.user):
                found.append(message["payload"])
        return self.dice.choice(found) if found else None

    async def _edit(self) -> None:
        """Edit an own message, or sometimes delete it."""
        message = self._seen(own=True)
        if message is None:
            return
        target = {"target_id": message["id"], "target_seq": message["seq"]}
        if self.dice.random() < _TAKEN_BACK:
            self.system.deleted.add(message["id"])
            await self._send("DeleteChat", target)
        else:
            await self._store("EditChat", {**target, "content": f"{self.wanted} says {self.chats_sent} better"})

    async def _react(self) -> None:
        message = self._seen(own=False)
        if message is not None:
            target = {"target_id": message["id"], "target_seq": message["seq"]}
            reaction = {"reaction": self.dice.choice("👍🎉"), "is_on": self.dice.random() < _REACTED}
            await self._store("ReactToChat", target | reaction)

    async def _post(self) -> None:
        """A backend posts a message in this user's name."""
        session, room = self.session, self.wanted
        assert session is not None
        assert room is not None
        self.chats_sent += 1
        message = str(UUID(int=self.dice.getrandbits(128)))
        post = {"user_id": self.user, "username": session.name, "content": f"{room} says {self.user}", "id": message}
        session.sent[message] = time.monotonic()
        answer = await self._ask(session.gateway, "POST", f"/rooms/{room}/messages", post)
        if answer is not None and answer.status in {200, 201}:
            self.acknowledged += 1
            self.system.posted[message] = Posted(room, message, time.monotonic())

    async def _delete(self) -> None:
        """A backend deletes the last message that this client has seen of somebody else, or that with the last edit."""
        session = self.session
        assert session is not None
        kind, prefix = self.dice.choice([("Chat", ""), ("ChatEdited", "target_")])
        seen = next((message["payload"] for message in reversed(session.client.log) if message["type"] == kind), None)
        if seen is None or session.room != self.wanted or seen["content"].split(" ", 1)[0] != session.room:
            return
        message = seen[f"{prefix}id"]
        self.system.deleted.add(message)
        path = f"/rooms/{session.room}/messages/{seen[f'{prefix}seq']}?id={message}"
        answer = await self._ask(session.gateway, "DELETE", path)
        if answer is not None and answer.status == _DELETED:
            self.system.erased[message] = Posted(session.room or "", message, time.monotonic())

    async def _ask(self, gateway: int, method: str, path: str, body: dict[str, Any] | None = None) -> Answer | None:
        answer = await ask(self.system.gateways[gateway].url, method, path, body)
        if answer is not None and answer.status >= _REFUSED and answer.status != _NOT_FOUND:
            detail = f"{method} was answered with {answer.status} {answer.body.get('code')}"
            what = f"http {answer.status}"
            self.refusals.append(Refusal(self.user, gateway, time.monotonic(), what, detail=detail))
        return answer

    async def _retry_chat(self) -> None:
        """Send unanswered chat again, once it is in the room of that chat and has read the missed messages."""
        session = self.session
        if session is None or session.room != self.wanted or self._history or self._joins:
            return
        for message, unanswered in list(self._unanswered.items()):
            if time.monotonic() - unanswered.since > _RESENT_FOR_SECONDS:
                del self._unanswered[message]
            elif not unanswered.sent and unanswered.again_at <= time.monotonic():
                unanswered.sent, unanswered.again_at = True, time.monotonic() + _REPEAT_SECONDS
                self.repeated += 1
                session.repeated.add(message)
                await self._send(unanswered.kind, unanswered.payload)

    async def _send(self, kind: str, payload: object = None) -> None:
        assert self.session is not None
        # A lost connection is noticed when its reader has ended.
        with suppress(WebSocketException, OSError, TimeoutError):
            await asyncio.wait_for(self.session.client.send(kind, payload), 10)

    async def _read(self) -> None:
        """Every `JoinRoom` is answered once; ask again when the answer was that it could not be done."""
        self.catch_up()
        if self._join_failed and self.wanted is not None:
            await self._join(self.wanted)
        self._join_failed = False
        if self._unsent_fields and self._is_inside:
            fields, self._unsent_fields = self._unsent_fields, {}
            await self._send("UpdatePresence", {"fields": fields})
        await self._retry_chat()

    def catch_up(self) -> None:
        """Read what has come on the open connection."""
        if self.session is not None:
            self._join_failed = self._take_in(self.session) or self._join_failed

    def _take_in(self, session: Session) -> bool:
        """Read what has come. True when a join was refused."""
        log = session.client.log
        refused = False
        while self._read_to < len(log):
            message, at = log[self._read_to], session.client.times[self._read_to]
            self._read_to += 1
            payload = message.get("payload", {})
            self._take_fields(session, message, at)
            match message["type"]:
                case "JoinedRoom":
                    self._joins -= 1
                    joined, asked = session.joining.popleft()
                    joined.entered = joined.entered or at
                    session.answered.append(asked)
                    session.room, session.epoch = payload["room_id"], payload["epoch"]
                    self.recovered += payload.get("recovered") is True
                    self.not_recovered += payload.get("recovered") is False
                    self._history = payload["history"]
                    self._know(session, payload["last_seq"] if not self._history else None, at)
                case "ChatReset":
                    session.epoch = payload["epoch"]
                    self._know(session, payload["last_seq"], at)
                case "Chat":
                    self._history = max(0, self._history - 1)
                    self._know(session, payload["seq"], at)
                    if self._unanswered.pop(payload["id"], None) is not None:
                        self.acknowledged += 1
                case "ChatEdited" | "ChatReaction":
                    self._know(session, payload["seq"], at)
                    if self._unanswered.pop(payload["id"], None) is not None:
                        self.acknowledged += 1
                case "ChatDeleted":
                    self._know(session, payload["seq"], at)
                    # It may have been deleted before it came back.
                    self._unanswered.pop(payload["id"], None)
                case "Error" if ends_join(message):
                    self._joins -= 1
                    joined, _ = session.joining.popleft()
                    if joined.entered is None and joined.ended is None:
                        # It may have been written all the same: then its membership is kept like a lost one.
                        joined.ended = at
                    refused = True
                case "Error" if payload["code"] == "chat_not_found":
                    self._unanswered.pop(payload.get("id"), None)
                case "Error" if payload.get("id") in self._unanswered:
                    self._unanswered[payload["id"]].sent = False
                case _:
                    pass
        return refused

    def _take_fields(self, session: Session, message: dict[str, Any], at: float) -> None:
        """Take a message for the rules of events and fields, and compare the fields of the user with those it wants."""
        before = session.received.fields.get(self.user, {})
        session.received.take(message)
        after = session.received.fields.get(self.user, {})
        if session.closed is not None or session.received.room != self.wanted:
            return
        if message["type"] == "JoinedRoom" and self._joins == 1:
            self._unsent_fields = self.own.joined(self.wanted, after)
        elif message["type"] in {"PresenceChanged", "UserUpdated"} and self._joins == 0:
            self.own.changed(self.wanted, difference(before, after), at)

    def _know(self, session: Session, position: int | None, at: float) -> None:
        """A position has been seen; answers to repeated messages are older than others."""
        room = session.room
        if room is None or position is None:
            return
        before, epoch, since = self._known.get(room, (0, "", 0.0))
        if epoch != session.epoch:
            self._known[room] = (position, session.epoch, at)
        else:
            self._known[room] = (max(before, position), epoch, since)

    # --- connections --------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        gateway = self._gateway()
        name = f"{self.user[:8]} {self.dice.randrange(1000)}"
        token = token_of(self.user, name=name, avatar_url=avatar_of(name))
        try:
            client = await asyncio.wait_for(self._client(gateway, token), 4)
        except (InvalidStatus, Refused) as refused:
            status = refused.status if isinstance(refused, Refused) else refused.response.status_code
            self.refusals.append(Refusal(self.user, gateway, time.monotonic(), f"status {status}"))
            self._failures += 1
            await asyncio.sleep(self.dice.uniform(*_RETRY_SECONDS))
            return
        except (OSError, EOFError, TimeoutError, InvalidHandshake, InvalidMessage, WebSocketException):
            self._failures += 1
            await asyncio.sleep(self.dice.uniform(*_RETRY_SECONDS))
            return
        self._failures = 0
        if self.sessions:
            self._take_in(self.sessions[-1])
        self.sessions.append(Session(client, gateway, time.monotonic(), name=name, received=Received(self.user)))
        self._joins = self._read_to = self._history = 0
        self._join_failed, self._unsent_fields = False, {}
        for unanswered in self._unanswered.values():
            unanswered.sent = False
        if self.wanted is None and self.steady:
            self.wanted = self.dice.choice(self.rooms)
        if self.wanted is not None:
            await self._join(self.wanted)

    async def _client(self, gateway: int, token: str) -> Client:
        """Raises what the connection raises."""
        url = self.system.gateways[gateway].url
        hint = f"room={self.wanted}" if self.system.homes and self.wanted is not None else ""
        if self.over_http:
            others = [one.url for one in self.system.gateways]
            return await connect_patiently(url, others, self.dice, query=f"access_token={token}&{hint}")
        return await Client.connect(f"{url}?{hint}" if hint else url, token=token)

    def _gateway(self) -> int:
        """Any gateway, or that to which a balancer sends the room: its home, and after a failure the next one."""
        gateways = range(len(self.system.gateways))
        if not self.system.homes or self.wanted is None:
            return self.dice.choice(gateways)
        homes = sorted(gateways, key=lambda number: crc32(f"{self.wanted} {number}".encode()))
        return homes[self._failures % len(homes)]

    def _lost(self, session: Session) -> None:
        self._take_in(session)
        session.closed = time.monotonic()
        session.end_membership(session.client.closed_at or session.closed, clean=False)
        if self.mortal and self.wanted is not None:
            asked_to_wait = session.client.close_code == _STOPPING
            self.departures.append(
                Departure(self.user, self.wanted, session.closed, session.gateway, False, asked_to_wait)
            )
            self.own.left(self.wanted)
            self.wanted, self.away = None, True
            self._unanswered.clear()
        self.own.lost(self.wanted)

    async def _close(self, session: Session, *, clean: bool) -> None:
        self.catch_up()
        session.clean, session.by_client = clean, True
        session.end_membership(time.monotonic(), clean=clean)
        self.own.lost(self.wanted)
        if clean:
            self.own.left(self.wanted)
            self.wanted = None
            self._unanswered.clear()
        try:
            await asyncio.wait_for(session.client.close() if clean else session.client.drop(), 10)
        except (WebSocketException, OSError, TimeoutError):
            session.client.socket.transport.abort()
        session.closed = time.monotonic()
        if not clean and self.dice.random() < 0.5 and self.wanted is not None:
            self.departures.append(Departure(self.user, self.wanted, session.closed, session.gateway, dropped=True))
            self.own.left(self.wanted)
            self.wanted, self.away = None, True
            self._unanswered.clear()


@dataclass(frozen=True)
class Crowd:
    steady: int = 12
    mortal: int = 9
    busy: int = 21
    second_tabs: int = 6
    rooms: int = 12
    groups: int = 2
    over_http_each: int = 5
    """One user in so many has a network that blocks WebSockets."""


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
        written = Written()
        tabs = 2 if index >= size.steady + size.mortal + size.busy - size.second_tabs else 1
        for tab in range(tabs):
            own = random.Random(f"{seed}-{index}-{tab}")
            fields = OwnFields(user, written, alone=tabs == 1)
            actor = Actor(system, group, user, rooms[group], own, steady, mortal, fields)
            actor.over_http = index % size.over_http_each == size.over_http_each - 1
            actors.append(actor)
    return actors
