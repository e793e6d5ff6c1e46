"""The audit log: one line for each moderation request and each message of a backend, with caller, target and result."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter

from studyroom.gateway.auth.identity import Identity
from studyroom.gateway.http.access import Backend
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError

log = logs.get("audit")

ACTIONS = (
    "publish", "delete_message", "remove_member", "disconnect_user", "ban", "unban",
    "write_document", "delete_document", "delete_version", "restore_version", "export",
)  # fmt: skip
_RESULTS = ("done", "refused", "unavailable")


class Audit:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._actions = Counter(
            "studyroom_gateway_moderation_actions",
            "Requests of backends and moderators over HTTP, by action and result.",
            ["action", "result"],
            registry=registry,
        )
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
