"""The lease of a group of shards, so that one replica at a time works on it.

The holder counts its lease from before it asked for it, and gives up a while before it ends in NATS. So a replica that
was frozen or cut off sends nothing when it goes on, unless a request was under way.
"""

import asyncio
from uuid import uuid4

from studyroom.services.hooks.bucket import Bucket
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError, Conflict

log = logs.get(__name__)

LEASE_SECONDS = 10
_HELD_SECONDS = 8.0
_RENEW_SECONDS = 2.0
_WRITE_SECONDS = 2.0


class LeaseLost(Exception):
    """The lease has ended, or another replica has it."""


class Lease:
    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._holder = uuid4().hex
        self._revision = 0
        self._until = 0.0

    @property
    def is_held(self) -> bool:
        return asyncio.get_running_loop().time() < self._until

    async def acquire(self) -> None:
        """Wait until this replica has the lease."""
        while True:
            try:
                holder, self._revision = await self._bucket.lease()
                if holder in {"", self._holder}:
                    await self._write()
                    return
            except Conflict:
                pass  # another replica was faster
            except BusError as error:
                log.info("cannot ask for a lease of hooks, trying again", error=str(error))
            await asyncio.sleep(_RENEW_SECONDS)

    async def keep(self) -> None:
        """Renew the lease until it is lost. Raises LeaseLost then."""
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            try:
                await self._write()
            except Conflict as error:
                self._until = 0.0
                raise LeaseLost("another write has taken the lease") from error
            except BusError as error:
                if not self.is_held:
                    raise LeaseLost(str(error)) from error
            if not self.is_held:
                raise LeaseLost("the lease has ended")

    async def give_up(self) -> None:
        """Let another replica have the lease at once. Raises BusError."""
        held, self._until = self.is_held, 0.0
        if held:
            await self._bucket.write_lease("", expected=self._revision, seconds=1, timeout_seconds=_WRITE_SECONDS)

    async def _write(self) -> None:
        """Raises BusError. After one other than Conflict, the write may have happened."""
        asked_at = asyncio.get_running_loop().time()
        self._revision = await self._bucket.write_lease(
            self._holder, expected=self._revision, seconds=LEASE_SECONDS, timeout_seconds=_WRITE_SECONDS
        )
        self._until = asked_at + _HELD_SECONDS
