"""Reconciles the streams with their configuration, and decides which it may create and how large each is."""

import asyncio
import time
from typing import Any

from studyroom.services.provisioner import sizes
from studyroom.services.provisioner.regrouping import Found, check_others, groups_before
from studyroom.services.provisioner.streams import (
    Claim,
    ConfigurationIgnored,
    NoRoom,
    NotAllowed,
    StreamSpec,
    Superseded,
    WrongStorage,
    ensure_one,
    find,
    specifications,
)
from studyroom.services.provisioner.survey import Survey, survey
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError
from studyroom.shared.chassis.nats.version import NEEDED
from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.contract import hook_subjects, subjects
from studyroom.shared.contract.groups import STREAMS_MADE, groups_made

log = logs.get(__name__)

_SURVEY_SECONDS = 60.0
_USAGE_SECONDS = 4.0
"""Servers of a cluster report the usage of an account to each other every 1.5 s."""
_USAGE_POLL_SECONDS = 0.25


class Reconciler:
    """Makes the streams as configured. It remembers what NATS has refused, so it does not repeat it."""

    def __init__(self, bus: Bus, settings: StorageSettings) -> None:
        self._bus = bus
        self._settings = settings
        self._names = subjects.streams(settings.groups)
        if settings.has_hooks:
            self._names += hook_subjects.streams_of_hooks(settings.groups)
        self._order = subjects.streams_of_record(settings.groups)
        """They are made before all others, so if one of them is missing while a later one exists, it has been lost.
        Those of chat are also the largest, which may not fit."""
        self.found: Found = {}
        """The state of each stream before the last pass changed anything; None for a missing one."""
        self._survey: Survey | None = None
        self._surveyed_at = 0.0
        self._claim: Claim | None = None
        self._without_effect: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {}
        self._superseded: set[str] = set()
        self._fits: dict[int, int] = {}
        """The size of all streams together that fits, for each configured size."""
        self._expected: str | None = None
        """Why missing streams should have data. It is remembered, because servers erase data of unknown streams."""

    def forget_survey(self) -> None:
        """Look at NATS again in the next pass, because it may be another NATS than before."""
        self._survey = None
        self._without_effect.clear()

    async def ensure(self) -> None:
        """Make every stream exist as configured. Raises WrongStorage, NotAllowed or BusError."""
        began = time.monotonic()
        # The survey comes first, since a cluster with a server that is too old may have no leader to ask about streams.
        seen = await self._look(since=began - _SURVEY_SECONDS)
        try:
            found: Found = {name: await find(self._bus, name) for name in self._names}
        except BusError:
            self._survey = None  # Servers may have started since.
            raise
        self.found = found
        missing = [name for name, info in found.items() if info is None]
        if groups_before(found, self._settings.groups) or (missing and self._settings.groups > 1):
            await check_others(self._bus, found, self._settings.groups, self._claim_of_this())
        if missing:
            seen = await self._look(since=began)
            await self._check_may_create(missing, found, seen)
        self._expected = None
        await self._fit(found, seen)

    async def _look(self, *, since: float) -> Survey:
        """Return a survey that is not older than `since` (monotonic seconds). Raises WrongStorage for an old server."""
        if self._survey is None or self._surveyed_at < since:
            now = time.monotonic()
            self._survey, self._surveyed_at = await survey(self._bus), now
            if self._claim is None:
                self._claim = Claim(self._survey.time_ns or time.time_ns())
        if self._survey.too_old:
            servers = ", ".join(f"{server.name} is {server.version}" for server in self._survey.too_old)
            raise WrongStorage(f"nats-server {NEEDED}: {servers}")
        return self._survey

    # --- permission to create streams ---------------------------------------------------------------------

    async def _check_may_create(self, missing: list[str], found: Found, seen: Survey) -> None:
        match self._settings.create:
            case "never":
                raise NotAllowed(f"{', '.join(missing)} missing, and STUDYROOM_STORAGE_CREATE is never")
            case "missing":
                return
        if silent := seen.silent:
            raise NotAllowed(f"{', '.join(missing)} missing, and {silent} do not report what they have stored")
        unknown = set(missing) | ((subjects.CHAT_STREAMS | subjects.DOCUMENTS_STREAMS) - found.keys())
        found_on_disk = _on_disk(unknown, seen) or await self._unseen_usage(found, seen)
        if found_on_disk and [name for name in missing if await find(self._bus, name)]:
            raise NotAllowed("another provisioner is making the streams")
        self._expected = self._expected or found_on_disk
        if reason := self._expected or self._made_before(missing, found):
            raise NotAllowed(
                f"{', '.join(missing)} missing although there was data before: {reason}. Restore it, or set "
                'STUDYROOM_STORAGE_CREATE=missing to begin without (docs/operations.md, "Storage that is missing")'
            )

    async def _unseen_usage(self, found: Found, seen: Survey) -> str | None:
        """Return the account's usage as a sign of data, if servers do not report what is on their disks."""
        reported = any(server.max_file_bytes is not None for server in seen.servers)
        if reported or not self._bus.clustered or any(found.values()):
            return None
        deadline = time.monotonic() + _USAGE_SECONDS
        while time.monotonic() < deadline:
            account = await self._bus.api("INFO")
            used = account.get("storage", 0) + account.get("memory", 0)
            if used and not account.get("streams"):
                return f"{used} bytes are stored in streams that the cluster does not know{_ERASED_SOON}"
            await asyncio.sleep(_USAGE_POLL_SECONDS)
        return None

    def _made_before(self, missing: list[str], found: Found) -> str | None:
        """Return why a missing stream must have existed: another stream's metadata names it, and is made after it."""
        for place, lost in enumerate(self._order):
            later = [(name, info) for name, info in found.items() if info and name not in self._order[: place + 1]]
            for name, info in later:
                config = info["config"]
                if groups_made(config) != self._settings.groups or lost not in missing:
                    continue
                if lost in config["metadata"][STREAMS_MADE].split():
                    return f"{name} was made after {lost}"
        return None

    # --- creating and changing streams --------------------------------------------------------------------

    async def _fit(self, found: Found, seen: Survey) -> None:
        """Make all streams, as large as the store allows. NATS reserves the space, and may have none left."""
        settings = self._settings
        limit, stream_max = sizes.account_bytes(seen.account, kind=settings.kind, replicas=settings.replicas)
        reported = [size for size in (limit, seen.server_bytes(settings.kind)) if size is not None]
        whole = settings.size_bytes or min(reported, default=sizes.ASSUMED_BYTES)
        total = self._fits.get(whole, whole)
        made: set[str] = set()
        while True:
            shares = sizes.divide(
                total, groups=settings.groups, stream_max_bytes=stream_max, with_hooks=settings.has_hooks
            )
            fitted = {
                name: shares[name]
                if name in made
                else _fitted(shares[name], found[name], known=bool(reported or settings.size_bytes))
                for name in shares
            }
            try:
                await self._ensure_all(specifications(settings, fitted), found, made)
            except NoRoom as error:
                total //= 2
                if settings.size_bytes or total < sizes.SMALLEST_BYTES:
                    raise WrongStorage(f"{error}; {_HOW_TO_MAKE_ROOM}") from error
                log.warning("NATS has less space than reported, trying less", problem=str(error), total_bytes=total)
            else:
                self._fits[whole] = total
                return

    async def _ensure_all(self, specs: list[StreamSpec], found: Found, made: set[str]) -> None:
        claim, order = self._claim_of_this(), self._order
        for spec in sorted(specs, key=lambda spec: order.index(spec.name) if spec.name in order else len(order)):
            info = found[spec.name] if spec.name not in made else await find(self._bus, spec.name)
            if info is None:
                made.add(spec.name)
            await self._ensure_one(spec, info, claim)

    def _claim_of_this(self) -> Claim:
        return self._claim or Claim(time.time_ns())

    async def _ensure_one(self, spec: StreamSpec, info: dict[str, Any] | None, claim: Claim) -> None:
        actual = info["config"] if info else {}
        if info and (known := self._without_effect.get(spec.name)) and known[:2] == (spec.config, actual):
            raise WrongStorage(known[2])
        try:
            await ensure_one(self._bus, spec, info, claim)
        except Superseded as other:
            if spec.name not in self._superseded:
                log.warning("leaving a stream to another provisioner", problem=str(other))
            self._superseded.add(spec.name)
        except ConfigurationIgnored as error:
            # Another attempt would have the same result.
            after = await find(self._bus, spec.name)
            self._without_effect[spec.name] = (spec.config, after["config"] if after else {}, str(error))
            raise
        else:
            self._superseded.discard(spec.name)


_HOW_TO_MAKE_ROOM = "give NATS a larger store, or streams a smaller part of it (STUDYROOM_STORAGE_SIZE_BYTES)"


def _fitted(share: int, info: dict[str, Any] | None, *, known: bool) -> int:
    if info is None:
        return share
    return sizes.fitted(share, has=info["config"].get("max_bytes", -1), state_bytes=info["state"]["bytes"], known=known)


_ERASED_SOON = " and erases 30 s after its start. Stop NATS and keep a copy"


def _on_disk(unknown: set[str], seen: Survey) -> str | None:
    for server in seen.servers:
        for name, messages in server.messages:
            if messages and name in unknown:
                return f"{server.name} has {messages} messages of {name} that the cluster does not know{_ERASED_SOON}"
    return None
