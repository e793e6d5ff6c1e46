"""Requests to the presence service."""

from typing import TypeVar

from pydantic import ValidationError

from services.bus import Bus, BusUnavailable
from shared import subjects
from shared.presence import (
    JoinRequest,
    LeaveReply,
    LeaveRequest,
    Outcome,
    RosterReply,
)

REQUEST_TIMEOUT_SECONDS = 2.5
"""Longer than presence works on a request, so that it has given up before we ask again."""


Reply = TypeVar("Reply", RosterReply, LeaveReply)


class PresenceUnavailable(Exception):
    """No replica carried out the request in time. It may have been carried out all the same."""


class PresenceClient:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def join(self, request: JoinRequest) -> RosterReply:
        """Raises PresenceUnavailable."""
        subject = subjects.presence_join(subjects.shard_of(request.room))
        return await self._ask(subject, request.encode(), RosterReply)

    async def leave(self, request: LeaveRequest) -> None:
        """Raises PresenceUnavailable."""
        subject = subjects.presence_leave(subjects.shard_of(request.room))
        await self._ask(subject, request.encode(), LeaveReply)

    async def _ask(self, subject: str, request: bytes, kind: type[Reply]) -> Reply:
        try:
            message = await self._bus.request(subject, request, timeout_seconds=REQUEST_TIMEOUT_SECONDS)
            reply = kind.decode(message.data)
        except (BusUnavailable, ValidationError) as error:
            raise PresenceUnavailable(str(error)) from error
        if reply.outcome is not Outcome.OK:
            raise PresenceUnavailable(reply.outcome.value)
        return reply
