"""The audit log: one line for everything that is done in the name of others, with who, what, whom and the outcome."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter

from studyroom.gateway.auth.identity import Identity
from studyroom.gateway.http.access import Backend
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError

log = logs.get("audit")

ACTIONS = ("publish", "delete_message", "remove_member", "disconnect_user", "ban", "unban")
_RESULTS = ("done", "refused", "unavailable")


class Audit:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._actions = Counter(
            "studyroom_gateway_moderation_actions",
            "What backends and moderators asked for over HTTP, by action and result.",
            ["action", "result"],
            registry=registry,
        )
        for action in ACTIONS:
            for result in _RESULTS:
                self._actions.labels(action=action, result=result)

    @contextmanager
    def action(self, action: str, who: Backend | Identity, **about: str | int | None) -> Iterator[None]:
        """What happens inside is the action. `about`: what it is done to; None is left out.

        What a guest is refused is counted only: guests are anybody, and must not be able to fill the log.
        """
        result = "refused"
        try:
            yield
            result = "done"
        except (BusError, TimeoutError, asyncio.CancelledError):
            # It may have been done or not: whoever asked is told to ask again.
            result = "unavailable"
            raise
        finally:
            if isinstance(who, Backend) or not who.is_guest:
                named = {name: value for name, value in about.items() if value is not None}
                log.info("moderation", action=action, by=str(who), result=result, **named)
            self._actions.labels(action=action, result=result).inc()
