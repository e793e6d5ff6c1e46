"""Carries out erasures in the background, and records their requests and outcomes in the audit stream."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial

from prometheus_client import Counter

from studyroom.gateway.erasure.erasing import Counts, Erasing
from studyroom.gateway.erasure.targets import targets_of
from studyroom.gateway.http.audit import Recorded, Trail
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract.audit import Action, AuditRecord, Outcome, fingerprint
from studyroom.shared.contract.ids import RoomId, UserId

log = logs.get(__name__)

RECORDED_SECONDS = 30.0
"""How often an erasure that goes on says so in the audit stream."""
ABANDONED_SECONDS = 4 * RECORDED_SECONDS
"""An erasure that has said nothing for so long is interrupted: its gateway has died."""
_ATTEMPTS, _PAUSE_SECONDS = 6, 2.0
_WAITING_MAX = 1000
_AT_ONCE = 100
_Work = Callable[[Counts], Awaitable[None]]
_Key = tuple[Action, str, int | None]


class TooManyErasures(Exception):
    """This gateway has as many erasures under way as it takes."""


@dataclass(slots=True)
class _Job:
    action: Action
    target: str
    by: str
    work: _Work
    before: int | None = None
    requests: int = 1
    """How often it was requested since it was spawned."""
    began: int | None = None
    """When the work began last, in Unix seconds."""
    counts: Counts = field(default_factory=Counts)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> _Key:
        return self.action, self.target, self.before

    def record(self, outcome: Outcome) -> AuditRecord:
        counted = asdict(self.counts) if self.began is not None else {}
        return AuditRecord(
            action=self.action, target=self.target, by=self.by, outcome=outcome, began=self.began, before=self.before,
            **counted,
        )  # fmt: skip


class Erasures:
    """Erases some users and one room at a time. The others wait, so that a gateway has time for its clients."""

    def __init__(self, trail: Trail, erasing: Erasing, tasks: Tasks, outcomes: Counter) -> None:
        self._trail = trail
        self._erasing = erasing
        self._tasks = tasks
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._under_way: dict[_Key, _Job] = {}
        self._outcomes = outcomes

    async def erase_user(self, user: UserId, by: str) -> None:
        """Returns when the request is recorded. Raises TooManyErasures or BusError."""
        await self._begin(_Job(Action.ERASE_USER, fingerprint(user), by, partial(self._erasing.user, user, by)))

    async def erase_room(self, room: RoomId, by: str) -> None:
        """Returns when the request is recorded. Raises TooManyErasures or BusError."""
        await self._begin(_Job(Action.ERASE_ROOM, room, by, partial(self._erasing.room, room, by)))

    async def erase_old_messages(self, room: RoomId, before: int, by: str) -> None:
        """`before`: Unix seconds. Returns when the request is recorded. Raises TooManyErasures or BusError."""
        await self._begin(self._of_old_messages(room, before, by))

    async def expire_messages(self, room: RoomId, before: int, by: str) -> None:
        """Erase old messages, and return when that has ended, with any outcome. Raises TooManyErasures or BusError."""
        job = await self._begin(self._of_old_messages(room, before, by))
        await job.ended.wait()

    def _of_old_messages(self, room: RoomId, before: int, by: str) -> _Job:
        work = partial(self._erasing.old_messages, room, datetime.fromtimestamp(before, UTC))
        return _Job(Action.ERASE_OLD_MESSAGES, room, by, work, before)

    async def repeat(self, since: int, by: str) -> None:
        """Erase again what was erased since a time, in Unix seconds. Returns when the request is recorded.

        Raises TooManyErasures or BusError.
        """
        await self._begin(_Job(Action.REPEAT, str(since), by, partial(self._repeat, since)))

    async def newest(self, action: Action, target: str) -> Recorded | None:
        """The newest record about a target, with the outcome `interrupted` if its gateway has died. Raises BusError."""
        found = await self._trail.newest(action, target)
        if found is None:
            return None
        outcome = found.record.outcome
        has_ended = outcome in {Outcome.DONE, Outcome.INTERRUPTED}
        if (action, target, found.record.before) in self._under_way:
            outcome = Outcome.RUNNING if has_ended else outcome
        elif not has_ended and (datetime.now(UTC) - found.at).total_seconds() > ABANDONED_SECONDS:
            outcome = Outcome.INTERRUPTED
        return found._replace(record=found.record.model_copy(update={"outcome": outcome}))

    async def _begin(self, job: _Job) -> _Job:
        """Return the job that carries it out, which may be an earlier one. Raises TooManyErasures or BusError."""
        if job.key not in self._under_way and len(self._under_way) >= _WAITING_MAX:
            raise TooManyErasures(f"this gateway has {_WAITING_MAX} erasures under way")
        await self._trail.write(job.record(Outcome.REQUESTED))
        if (same := self._under_way.get(job.key)) is not None:
            same.requests += 1
            return same
        self._under_way[job.key] = job
        self._tasks.spawn("erasure", self._carry_out(job))
        return job

    async def _carry_out(self, job: _Job) -> None:
        reports = self._tasks.spawn("erasure reports", self._report(job))
        try:
            async with self._turn:
                outcome = await self._erase(job)
        except BaseException:  # the process stops, or this is a bug
            self._outcomes.labels(outcome=Outcome.INTERRUPTED.value).inc()
            self._trail.note(job.record(Outcome.INTERRUPTED))
            raise
        finally:
            reports.cancel()
            del self._under_way[job.key]  # A request from now on is another erasure.
            job.ended.set()
        await self._end(job, outcome)

    async def _erase(self, job: _Job) -> Outcome:
        """Do the work again for requests that came meanwhile, because it may have passed messages from before them."""
        while True:
            requests, job.began = job.requests, int(time.time())
            outcome = await self._attempt(job)
            if outcome is Outcome.INTERRUPTED or requests == job.requests:
                return outcome

    async def _attempt(self, job: _Job) -> Outcome:
        for attempt in range(_ATTEMPTS):
            try:
                await job.work(job.counts)
            except (BusError, TimeoutError) as error:
                reason = str(error) or "no answer in time"
                log.warning("an erasure has failed", action=job.action, target=job.target, error=reason)
                if attempt + 1 < _ATTEMPTS:
                    await asyncio.sleep(_PAUSE_SECONDS * 2**attempt)
            else:
                return Outcome.DONE
        return Outcome.INTERRUPTED

    async def _end(self, job: _Job, outcome: Outcome) -> None:
        self._outcomes.labels(outcome=outcome.value).inc()
        log.info("erasure", action=job.action, target=job.target, by=job.by, outcome=outcome, **asdict(job.counts))
        for attempt in range(_ATTEMPTS):
            try:
                await self._trail.write(job.record(outcome))
            except BusError as error:
                log.warning("cannot record the outcome of an erasure", target=job.target, error=str(error))
                await asyncio.sleep(_PAUSE_SECONDS * 2**attempt)
            else:
                return

    async def _report(self, job: _Job) -> None:
        """Record now and then that the erasure goes on. Never returns."""
        while True:
            await asyncio.sleep(RECORDED_SECONDS)
            try:
                await self._trail.write(job.record(Outcome.RUNNING))
            except BusError as error:
                log.info("cannot record that an erasure goes on", target=job.target, error=str(error))

    async def _repeat(self, since: int, counts: Counts) -> None:
        """Raises BusError."""
        records = [(found.record, found.at) async for found in self._trail.since(datetime.fromtimestamp(since, UTC))]
        await self._erasing.again(targets_of(records), counts)
