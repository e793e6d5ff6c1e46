"""Asks NATS, all gateways and all presence replicas. Every question has a deadline."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.all_answers import all_answers
from studyroom.shared.chassis.nats.batches import Read, read_all
from studyroom.shared.chassis.nats.bus import Bus, BusError, BusUnavailable, Message
from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import STATUS
from studyroom.shared.contract.ids import GatewayId, RoomId
from studyroom.shared.contract.inspection import (
    GatewayRoom,
    GatewayUser,
    PresenceRoom,
    PresenceUser,
    Question,
)
from studyroom.shared.contract.inspection_subjects import INSPECT_GATEWAYS, INSPECT_PRESENCE, inspect_answers
from studyroom.shared.contract.moderation import Command
from studyroom.shared.contract.retention import Retention
from studyroom.shared.contract.retention_subjects import RETENTION_STREAM, retention_key

log = logs.get(__name__)

_CONNECTIONS = "$SYS.REQ.ACCOUNT.PING.CONNZ"
_CONNECTIONS_MAX = 4096
_FIRST_SECONDS = 1.0
_SILENCE_SECONDS = 0.5
"""After so long without another answer, nobody else answers."""

Answered = TypeVar("Answered", GatewayRoom, GatewayUser, PresenceRoom, PresenceUser)
Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Connected:
    """A process that NATS lists as a subscriber of the question."""

    nats: str
    """Its connection, named as in `Process.nats`."""
    address: str
    """Where NATS sees it."""


@dataclass(slots=True)
class Expected:
    """The processes that should answer, as far as NATS knows them."""

    gateways: list[Connected] = field(default_factory=list)
    replicas: list[Connected] = field(default_factory=list)
    leases: dict[GatewayId, float | None] = field(default_factory=dict)
    """How many seconds ago each gateway has renewed its lease; None if the time is unknown."""


class Asker:
    """Asks on one connected bus. `failures` has the parts that could not be had, with the reasons."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.failures: dict[str, str] = {}

    async def or_failure(self, asked: str, answer: Awaitable[Part]) -> Part | None:
        """Return the answer, or note the failure and return None."""
        try:
            return await answer
        except BusError as error:
            self.failures[asked] = str(error)
            return None

    # --- who should answer --------------------------------------------------------------------------------

    async def expected(self) -> Expected:
        """Return the processes that should answer, as far as NATS lists them."""
        gateways, replicas, leases = await asyncio.gather(
            self.or_failure("the list of gateways", self._subscribers(INSPECT_GATEWAYS)),
            self.or_failure("the list of presence replicas", self._subscribers(INSPECT_PRESENCE)),
            self.or_failure("leases", read_all(self.bus, subjects.GATEWAYS_STREAM, subjects.LEASE_KEYS)),
        )
        now = next((found[1] for found in (gateways, replicas) if found is not None), None)
        return Expected(
            gateways=gateways[0] if gateways is not None else [],
            replicas=replicas[0] if replicas is not None else [],
            leases={subjects.parse_gateway_key(one.subject): _age(one, now) for one in leases or [] if one.data},
        )

    async def _subscribers(self, subject: str) -> tuple[list[Connected], str]:
        """Return the connections that are subscribed to a subject, and the time of NATS (RFC 3339)."""
        request = json.dumps({"limit": _CONNECTIONS_MAX, "filter_subject": subject}).encode()
        answers = [json.loads(message.data) for message in await self._all(_CONNECTIONS, request) if message.data]
        if not answers:
            raise BusUnavailable("no server lists its connections")
        found = [
            Connected(f"{answer['server']['id']}/{one['cid']}", f"{one['ip']}:{one['port']}")
            for answer in answers
            for one in answer["data"].get("connections") or []
        ]
        return found, answers[0]["server"]["time"]

    # --- gateways and presence ----------------------------------------------------------------------------

    async def gateways(self, kind: type[Answered], question: Question, expected: Expected) -> list[Answered]:
        """Return the answers of all gateways. `kind`: `GatewayRoom` or `GatewayUser`. Raises SubscriptionRefused."""

        def is_complete(answers: list[Any]) -> bool:
            connected = {one.nats for one in expected.gateways} <= {answer.process.nats for answer in answers}
            return connected and expected.leases.keys() <= {answer.gateway for answer in answers}

        return await self._ask(INSPECT_GATEWAYS, kind, question, is_complete)

    async def replicas(self, kind: type[Answered], question: Question, expected: Expected) -> list[Answered]:
        """Return the answers of all presence replicas. `kind`: `PresenceRoom` or `PresenceUser`.

        Raises SubscriptionRefused.
        """

        def is_complete(answers: list[Any]) -> bool:
            answered = {answer.process.nats for answer in answers}
            return bool(expected.replicas) and {one.nats for one in expected.replicas} <= answered

        return await self._ask(INSPECT_PRESENCE, kind, question, is_complete)

    async def _ask(
        self, subject: str, kind: type[Answered], question: Question, is_complete: Callable[[list[Any]], bool]
    ) -> list[Answered]:
        token = self.bus.new_inbox().rsplit(".", 1)[1]
        messages = await self._all(
            subject,
            question.encode(),
            inbox=inspect_answers(token),
            is_complete=lambda answers: _is_status(answers[-1]) or is_complete(self._decoded(kind, answers)),
        )
        return self._decoded(kind, messages)

    def _decoded(self, kind: type[Answered], messages: list[Message]) -> list[Answered]:
        found = []
        for message in messages:
            if _is_status(message):
                continue
            try:
                found.append(kind.decode(message.data))
            except ValidationError as error:
                self.failures["an answer"] = f"it is not understood, perhaps of another version: {error}"
        return found

    async def _all(
        self,
        subject: str,
        request: bytes,
        *,
        inbox: str | None = None,
        is_complete: Callable[[list[Message]], bool] = lambda answers: _is_status(answers[-1]),
    ) -> list[Message]:
        return await all_answers(
            self.bus, subject, request, inbox=inbox, is_complete=is_complete,
            first_seconds=_FIRST_SECONDS, silence_seconds=_SILENCE_SECONDS,
        )  # fmt: skip

    # --- streams ------------------------------------------------------------------------------------------

    async def bans(self, *keys: str) -> list[tuple[str, Command]]:
        """Return the bans under these keys, each with its key. Raises BusError."""
        found = await asyncio.gather(*(read_all(self.bus, subjects.MODERATION_STREAM, key) for key in keys))
        return [(one.subject, command) for reads in found for one in reads if (command := _command(one)) is not None]

    async def retention(self, room: RoomId) -> Retention | None:
        """Return the retention of a room; None if it has none of its own. Raises BusError."""
        found = await read_all(self.bus, RETENTION_STREAM, retention_key(room))
        if not found or not found[0].data:
            return None
        try:
            return Retention.decode(found[0].data)
        except ValueError as error:
            log.error("malformed retention", room=room, error=str(error))
            return None

    async def newest_sequence(self, stream: str, subject: str) -> int:
        """Return the sequence of the newest message of a subject, from the leader; 0 if there is none. Raises BusError.

        A marker of a removed key counts as none.
        """
        found = await self.bus.stored(stream, {"last_by_subj": subject})
        if found is None or not b64decode(found.get("data", "")):
            return 0
        sequence: int = found["seq"]
        return sequence


def _is_status(message: Message) -> bool:
    """Return whether the message shows that there are no subscribers."""
    return STATUS in (message.headers or {})


def _age(lease: Read, now: str | None) -> float | None:
    if now is None:
        return None
    return (datetime.fromisoformat(now) - datetime.fromisoformat(lease.time)).total_seconds()


def _command(read: Read) -> Command | None:
    if not read.data:
        return None  # it was lifted
    try:
        return Command.decode(read.data)
    except ValueError as error:
        log.error("malformed ban", subject=read.subject, error=str(error))
        return None
