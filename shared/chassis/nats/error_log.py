"""Counts and logs errors of the connection to NATS, and keeps the reason why there is no connection."""

import nats.errors

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.connecting import CredentialsUnusable, ServerError, in_words

log = logs.get(__name__)

_REPEAT_SECONDS = 30.0
"""The shortest time between two logs of the same reason."""
_ANSWER_REFUSED = 'permissions violation for publish to "_inbox.'


class ErrorLog:
    """The errors of one connection. Times are those of the event loop."""

    def __init__(self, metrics: BusMetrics, addresses: list[str]) -> None:
        """Create it. `addresses`: the servers without passwords, for logs."""
        self._metrics = metrics
        self._addresses = addresses
        self._logged_at: dict[str, float] = {}
        self._given_by_nats = False
        """Whether the present reason is from NATS. It is better than the loss of the connection that follows."""
        self.why_away = ""
        """The reason why there is no connection, for people; empty while there is one, or if the reason is unknown."""

    def connected(self) -> None:
        """Forget the reason, because there is a connection."""
        self.why_away, self._given_by_nats = "", False

    def take(self, error: Exception, *, is_connected: bool, now: float) -> None:
        kind, text = type(error).__name__, str(error)
        self._metrics.errors.labels(kind=kind).inc()
        if text.lower().startswith(_ANSWER_REFUSED):
            # NATS forgets the permitted answers when it reloads its configuration. The gateway repeats its requests.
            log.warning("NATS refused an answer", error=text)
        elif "permissions violation" in text.lower():
            self._metrics.refusals.inc()
            log.error("NATS does not allow this", error=text)
        elif isinstance(error, ServerError):
            self._metrics.count_server_error(text)
            self._given_by_nats = True
            self._keep_reason("NATS sent an error", text, now)
        elif isinstance(error, CredentialsUnusable):
            self._given_by_nats = True
            self._keep_reason("no credentials for NATS", text, now)
        elif isinstance(error, OSError | nats.errors.Error | TimeoutError):
            log.debug("bus error", kind=kind, error=text)
            if not is_connected and not self._given_by_nats:
                self._keep_reason("cannot connect to NATS", f"{in_words(error)} ({', '.join(self._addresses)})", now)
        else:
            log.error("a message handler failed", exc_info=error)

    def _keep_reason(self, event: str, text: str, now: float) -> None:
        self.why_away = text
        if now - self._logged_at.get(text, float("-inf")) > _REPEAT_SECONDS:
            self._logged_at[text] = now
            log.warning(event, error=text)
