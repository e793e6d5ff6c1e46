"""Has the hooks service erase what it has stored, and let the backend know."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import datetime
from uuid import uuid4

from studyroom.gateway.erasure.targets import Until
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError, BusUnavailable
from studyroom.shared.contract import hook_subjects, subjects
from studyroom.shared.contract.hook_requests import Action, HooksAnswer, HooksRequest, Outcome, Report
from studyroom.shared.contract.ids import RoomId

log = logs.get(__name__)

_ANSWER_SECONDS = 20.0
_ATTEMPTS, _PAUSE_SECONDS = 6, 0.5
_USERS_MAX = 2000
"""In one request, which takes about 100 bytes for each."""


class HookErasure:
    """Methods raise BusError, also while no hooks service works on a group of shards."""

    def __init__(self, bus: Bus, groups: int) -> None:
        self._bus = bus
        self._groups = groups

    async def erase_users(self, users: Mapping[str, Until]) -> None:
        """`users`: fingerprints, each with the time up to which everything goes."""
        for some in _parts(users):
            for group in range(self._groups):
                await self._erase(group, HooksRequest(action=Action.ERASE, users=some))
        # When the backend gets this, all events about the user were sent, in all groups.
        for user in users:
            await self._report(Report.USER, user)

    async def erase_room(self, room: RoomId, until: Until) -> None:
        await self._erase(self._group_of(room), HooksRequest(action=Action.ERASE, room=room, until=until))
        await self._report(Report.ROOM, room)

    async def report_messages(self, room: RoomId, before: datetime) -> None:
        """Let the backend know that messages from before a time were erased."""
        await self._report(Report.MESSAGES, room, before=int(before.timestamp()))

    def _group_of(self, topic: str) -> int:
        return subjects.shard_of(RoomId(topic)) % self._groups

    async def _report(self, report: Report, target: str, *, before: int | None = None) -> None:
        request = HooksRequest(action=Action.REPORT, report=report, target=target, before=before, token=uuid4().hex)
        await self._ask(self._group_of(target), request)

    async def _erase(self, group: int, request: HooksRequest) -> None:
        while (answer := await self._ask(group, request)).outcome is Outcome.UNFINISHED:
            request = request.model_copy(update={"after": answer.position})

    async def _ask(self, group: int, request: HooksRequest) -> HooksAnswer:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._answer(group, request)
            except (BusError, TimeoutError) as error:
                if attempt == _ATTEMPTS:
                    raise BusUnavailable(f"hooks: {error}") from error
                log.info("an erasure asks the hooks service again", action=request.action, error=str(error))
            await asyncio.sleep(_PAUSE_SECONDS * attempt)

    async def _answer(self, group: int, request: HooksRequest) -> HooksAnswer:
        subject = hook_subjects.hooks_erase(group)
        message = await self._bus.request(subject, request.encode(), timeout_seconds=_ANSWER_SECONDS)
        try:
            answer = HooksAnswer.decode(message.data)
        except ValueError as error:
            raise BusUnavailable(f"cannot decode an answer of the hooks service: {error}") from error
        if answer.outcome is Outcome.UNAVAILABLE:
            raise BusUnavailable(answer.reason)
        return answer


def _parts(users: Mapping[str, Until]) -> Iterator[dict[str, Until]]:
    everyone = sorted(users)
    for start in range(0, len(everyone), _USERS_MAX):
        yield {user: users[user] for user in everyone[start : start + _USERS_MAX]}
