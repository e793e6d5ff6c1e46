"""The audit log: one line for each moderation request and each message of a backend, with caller, target and result.

Erasures and exports are also in the audit stream, which keeps them.
"""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter

from studyroom.gateway.auth.identity import Identity
from studyroom.gateway.http.access import Backend
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.batches import BatchReader
from studyroom.shared.chassis.nats.bus import API_TIMEOUT_SECONDS, Bus, BusError
from studyroom.shared.contract import audit_subjects
from studyroom.shared.contract.audit import Action, AuditRecord, Outcome, fingerprint

log = logs.get("audit")

ACTIONS = (
    "publish", "delete_message", "remove_member", "disconnect_user", "ban", "unban",
    "write_document", "delete_document", "delete_version", "restore_version", "export",
    "erase_user", "erase_room", "erase_old_messages", "repeat_erasures", "export_user",
    "set_retention", "remove_retention",
)  # fmt: skip
_BATCH_MAX = 256
_RESULTS = ("done", "refused", "unavailable")


class Audit:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._actions = Counter(
            "studyroom_gateway_moderation_actions",
            "Requests of backends and moderators over HTTP, by action and result.",
            ["action", "result"],
            registry=registry,
        )
        self.erasures = Counter(
            "studyroom_gateway_erasures",
            "Erasures that this gateway has ended, by outcome. Request interrupted ones again.",
            ["outcome"],
            registry=registry,
        )
        for outcome in (Outcome.DONE, Outcome.INTERRUPTED):
            self.erasures.labels(outcome=outcome.value)
        for action in ACTIONS:
            for result in _RESULTS:
                self._actions.labels(action=action, result=result)

    @contextmanager
    def action(self, action: str, caller: Backend | Identity, **target: str | int | None) -> Iterator[None]:
        """Log and count the action that the block carries out. Leaves out fields of `target` that are None.

        Requests of guests are counted and not logged, because anyone can be a guest and could fill the log.
        """
        result = "refused"
        try:
            yield
            result = "done"
        except (BusError, TimeoutError, asyncio.CancelledError):
            # The outcome is unknown, and the response asks the caller to retry.
            result = "unavailable"
            raise
        finally:
            if isinstance(caller, Backend) or not caller.is_guest:
                fields = {name: value for name, value in target.items() if value is not None}
                log.info("moderation", action=action, by=str(caller), result=result, **fields)
            self._actions.labels(action=action, result=result).inc()


def recorded_name(caller: Backend | Identity) -> str:
    """The caller as records have it, in which users have a fingerprint."""
    return str(caller) if isinstance(caller, Backend) else f"user {fingerprint(caller.user)}"


class Recorded(NamedTuple):
    record: AuditRecord
    at: datetime
    """The commit time, by the clock of NATS."""
    sequence: int


class Trail:
    """Writes and reads the audit stream. Methods raise BusError."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._reader = BatchReader(bus, audit_subjects.AUDIT_STREAM)
        self._opening = asyncio.Lock()
        self._is_open = False

    async def write(self, record: AuditRecord) -> None:
        """Returns when the record is stored. Raises StorageFull if there is no room for it."""
        await self._bus.store(record.subject, record.encode(), {}, timeout_seconds=API_TIMEOUT_SECONDS)

    def note(self, record: AuditRecord) -> None:
        """Write a record without waiting, because this process stops. It may get lost."""
        self._bus.publish(record.subject, record.encode())

    async def newest(self, action: Action, target: str) -> Recorded | None:
        """The newest record about a target, from the leader; None if there is none."""
        found = await self._bus.stored(
            audit_subjects.AUDIT_STREAM, {"last_by_subj": audit_subjects.audit(action, target)}
        )
        if found is None:
            return None
        record = AuditRecord.decode(b64decode(found["data"]))
        return Recorded(record, datetime.fromisoformat(found["time"]), found["seq"])

    async def since(self, moment: datetime) -> AsyncIterator[Recorded]:
        """All records from a moment on, the oldest first. They come from any replica."""
        await self._open()
        position = 0
        while True:
            request = {"seq": position + 1, "next_by_subj": ">", "batch": _BATCH_MAX}
            batch = await self._reader.get(request)
            for read in batch.messages:
                at = datetime.fromisoformat(read.time)
                if at < moment:
                    continue
                try:
                    yield Recorded(AuditRecord.decode(read.data), at, read.sequence)
                except ValueError as error:
                    log.error("cannot decode a record of the audit stream", sequence=read.sequence, error=str(error))
            if not batch.messages or not batch.pending:
                return
            position = batch.last
            await asyncio.sleep(0)

    async def _open(self) -> None:
        async with self._opening:
            if not self._is_open:
                await self._reader.open()
                self._is_open = True
