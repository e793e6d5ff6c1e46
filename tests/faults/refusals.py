"""The refusals that clients received, and whether the faults of the moment are a reason. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from tests.support.chat import Asked, ends_join

NATS, PRESENCE, GATEWAY, CHAT = "NATS", "presence", "gateway", "chat"
"""The parts that a fault can take. `GATEWAY` is one gateway, and `CHAT` is the storage of chat alone."""
DEADLINE_SECONDS = 5.0
"""A join, or a chat message, is answered within."""
_MARGIN_SECONDS = 2.0
ALLOWED = {
    "presence_unavailable": {NATS, PRESENCE, GATEWAY},
    "chat_unavailable": {NATS, CHAT, GATEWAY},
    "chat_storage_full": {NATS, CHAT},
    "http 507": {NATS, CHAT},
    "busy": {NATS, PRESENCE, GATEWAY},
    "http 503": {NATS, CHAT, GATEWAY},
    "closed": {GATEWAY},
    "status 503": {GATEWAY},
}
"""The parts that must be broken for each code of an `Error`. Others are always wrong: the actors keep all limits."""


_OVERDUE = {"presence_unavailable", "chat_unavailable", "http 503"}
"""Codes for something that took too long."""


@dataclass(frozen=True)
class Refusal:
    """`what`: the code of an `Error`; "closed" for a connection that its client did not end, or "status 503"."""

    user: str
    gateway: int
    at: float
    what: str
    room: str | None = None
    detail: str = ""
    about: str | None = None
    """The id of the message that was refused."""


@dataclass(frozen=True)
class Damage:
    """The damage in a round, from the first fault to the moment when all was well again.

    `gateways`: the broken gateways. `rooms`: where joins may be refused through it; None for everywhere.
    """

    since: float
    until: float
    takes: frozenset[str] = frozenset()
    gateways: frozenset[int] = frozenset()
    rooms: Collection[str] | None = None


def refusals_in(
    user: str,
    gateway: int,
    log: Iterable[dict[str, Any]],
    times: Iterable[float],
    *,
    asked: Iterable[Asked],
    closed: tuple[float, int] | None = None,
) -> list[Refusal]:
    """`asked`: the joins, which are answered in order. `closed`: when and with which code, unless the client ended it.

    Chat in no room is refused rightly where a join failed.
    """
    found = []
    nowhere = False
    joins = iter(asked)
    for at, message in zip(times, log, strict=True):
        payload = message.get("payload", {})
        room = next(joins).room if message["type"] == "JoinedRoom" or ends_join(message) else None
        if message["type"] == "JoinedRoom":
            nowhere = False
        elif message["type"] == "Error":
            nowhere = nowhere or ends_join(message)
            if not (payload["code"] == "not_in_room" and nowhere):
                detail = f"{payload['code']}: {payload['message']}"
                found.append(Refusal(user, gateway, at, payload["code"], room, detail, payload.get("id")))
    if closed is not None:
        at, code = closed
        found.append(Refusal(user, gateway, at, "closed", detail=f"closed with {code}"))
    return found


def wrong_refusals(found: Iterable[Refusal], damage: Damage, *, tolerated: int = 0) -> list[str]:
    """Refusals without a reason, or for too long after it.

    `tolerated`: how often a deadline may pass without a reason, on a machine that has other work.
    """
    violations: list[str] = []
    late: list[str] = []
    for refusal in found:
        why = _why_wrong(refusal, damage)
        if why:
            what = refusal.detail or refusal.what
            wrong = late if refusal.what in _OVERDUE else violations
            wrong.append(f"{refusal.user} on gateway {refusal.gateway} was refused, {what}: {why}")
    return violations + (late if len(late) > tolerated else [])


def _why_wrong(refusal: Refusal, damage: Damage) -> str:
    reasons = ALLOWED.get(refusal.what, set()) & damage.takes
    if GATEWAY in reasons and refusal.gateway not in damage.gateways:
        reasons = reasons - {GATEWAY}
    if PRESENCE in reasons and damage.rooms is not None and refusal.room not in damage.rooms:
        reasons = reasons - {PRESENCE}
    if not reasons:
        return "nothing that was broken is a reason"
    if refusal.at < damage.since:
        return "nothing was broken yet"
    late = refusal.at - damage.until - DEADLINE_SECONDS - _MARGIN_SECONDS
    if refusal.what != "closed" and late > 0:
        return f"all was well for {refusal.at - damage.until:.1f} s"
    return ""
