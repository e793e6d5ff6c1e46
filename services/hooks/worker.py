"""Works on one group of shards while this replica has its lease."""

import asyncio

from pydantic import ValidationError

from studyroom.services.hooks.bucket import Bucket
from studyroom.services.hooks.collector import Collector
from studyroom.services.hooks.delivery import Contents, Delivery
from studyroom.services.hooks.erasure import Erasure
from studyroom.services.hooks.event_log import EventLog
from studyroom.services.hooks.events import NEEDED_FOR
from studyroom.services.hooks.keys import KeyReader
from studyroom.services.hooks.lease import Lease, LeaseLost
from studyroom.services.hooks.members import Member
from studyroom.services.hooks.metrics import HooksMetrics
from studyroom.services.hooks.sending import Sender
from studyroom.services.hooks.settings import HooksSettings
from studyroom.services.hooks.sources import source_of
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError, Message, SubscriptionRefused
from studyroom.shared.contract import hook_subjects, subjects
from studyroom.shared.contract.groups import Group
from studyroom.shared.contract.hook_requests import HooksAnswer, HooksRequest, Outcome
from studyroom.shared.contract.presence import Entry

log = logs.get(__name__)

_COLLECT_AGAIN_SECONDS = 0.5


class Worker:
    def __init__(self, bus: Bus, group: Group, sender: Sender, settings: HooksSettings, metrics: HooksMetrics) -> None:
        self._bus = bus
        self._group = group
        self._sender = sender
        self._settings = settings
        self._metrics = metrics
        self._bucket = Bucket(bus, group)
        self._lease = Lease(self._bucket)
        self._log = EventLog(bus, group)
        self._erasure = Erasure(bus, group, self._log)
        self._contents = Contents(bus, group, self._log)
        self._present = KeyReader(bus, group.presence_stream)
        self._sources = [
            source_of(bus, name, group) for name, kinds in NEEDED_FOR.items() if not settings.wanted.isdisjoint(kinds)
        ]
        self._collector: Collector | None = None
        self._working: asyncio.Task[None] | None = None
        self._opened = False
        self.delivery: Delivery | None = None
        """None while another replica has the lease."""

    async def run(self) -> None:
        """Get the lease, and work until it is lost."""
        if not self._opened:
            await asyncio.gather(self._bucket.open(), self._log.open(), self._present.open(), self._erasure.open())
            await asyncio.gather(*(source.open() for source in self._sources))
            self._opened = True
        await self._lease.acquire()
        log.info("working on a group of shards", group=self._group.number)
        self.delivery = delivery = Delivery(
            self._log, self._bucket, self._contents, self._sender, self._settings, self._metrics,
            may_send=lambda: self._lease.is_held,
        )  # fmt: skip
        self._working = working = asyncio.create_task(self._work(delivery), name="hooks of a group")
        try:
            await working
        except* (LeaseLost, BusError) as errors:
            reasons = "; ".join(str(error) for error in errors.exceptions)
            log.warning("stopped working on a group of shards", group=self._group.number, reason=reasons)
        finally:
            working.cancel()
            self.delivery = self._collector = self._working = None

    async def drain(self) -> None:
        """Finish the requests to the backend that are under way, and let another replica go on. Raises BusError."""
        if self.delivery is None or self._working is None:
            return
        working = self._working
        await self.delivery.drain()
        working.cancel()
        await asyncio.wait([working])
        await self._lease.give_up()

    @property
    def is_working(self) -> bool:
        """Whether this replica has the lease, and collects events."""
        return self._collector is not None

    def look_soon(self) -> None:
        """NATS was away."""
        if self._collector is not None:
            self._collector.look_soon()

    async def _work(self, delivery: Delivery) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._lease.keep(), name="keep the lease")
            tasks.create_task(self._collect(), name="collect")
            tasks.create_task(delivery.run(), name="deliver")
            tasks.create_task(self._answer_erasures(delivery), name="answer erasures")

    async def _answer_erasures(self, delivery: Delivery) -> None:
        """Answer the requests of gateways, one after the other, until cancelled."""
        received: asyncio.Queue[Message] = asyncio.Queue()
        subject = hook_subjects.hooks_erase(self._group.number)
        try:
            subscription = await self._bus.subscribe(subject, received.put_nowait)
        except SubscriptionRefused as error:
            log.error("erasures cannot be completed", error=str(error))
            return
        try:
            while True:
                message = await received.get()
                answer = await self._answer(message, delivery)
                if answer is not None:
                    self._bus.publish(message.reply, answer.encode())
        finally:
            await subscription.unsubscribe()

    async def _answer(self, message: Message, delivery: Delivery) -> HooksAnswer | None:
        """Return the answer; None if another replica has the lease."""
        if not self._lease.is_held:
            return None
        if self._collector is None:
            return HooksAnswer(outcome=Outcome.UNAVAILABLE, reason="this replica begins to collect events")
        try:
            request = HooksRequest.decode(message.data)
        except ValueError as error:
            log.error("cannot decode a request", subject=message.subject, error=str(error))
            return HooksAnswer(outcome=Outcome.UNAVAILABLE, reason="this replica does not know the request")
        return await self._erasure.answer(request, self._collector, delivery)

    async def _collect(self) -> None:
        """Collect until cancelled. After a failure of NATS, go on from what is saved."""
        while True:
            self._collector = None
            collector = Collector(
                self._bus, self._sources, self._log, self._bucket, self._members, self._settings, self._metrics
            )
            try:
                await collector.open()
                self._collector = collector
                await collector.run()
            except BusError as error:
                log.info("cannot collect events, trying again", group=self._group.number, error=str(error))
                await asyncio.sleep(_COLLECT_AGAIN_SECONDS)

    async def _members(self) -> dict[Member, str]:
        """Return the names of all members according to their bucket. Raises BusError."""
        found = {}
        for key, value in (await self._present.all(hook_subjects.MEMBER_LOG_SOURCE)).items():
            try:
                found[subjects.parse_presence_key(key)] = Entry.decode(value).profile.username
            except ValidationError as error:
                log.error("cannot decode a member", key=key, error=str(error))
        return found
