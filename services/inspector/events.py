"""The events of a room, made of the committed changes that NATS announces. Pure.

An event has neither the content of a message nor the values of custom presence, unless it is asked for.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from studyroom.services.inspector.looking import Committed
from studyroom.shared.contract.chat import with_sequence
from studyroom.shared.contract.custom_presence import difference
from studyroom.shared.contract.ids import GatewayId, MembershipId, RoomId, UserId
from studyroom.shared.contract.moderation import Command, Kind, Target
from studyroom.shared.contract.presence import Entry

_KINDS_OF_CHAT = {
    "Chat": "message", "ChatEdited": "edited", "ChatReaction": "reaction", "ChatDeleted": "deleted",
}  # fmt: skip
_NUMBERS = ("target_seq", "deleted_seq")
_REMOVALS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    time: str
    """When it was committed, RFC 3339; empty if that is unknown."""
    kind: str
    user: UserId | None = None
    username: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        found = {"time": self.time, "event": self.kind, "user_id": self.user, "username": self.username, **self.fields}
        return {name: value for name, value in found.items() if value is not None}

    def __str__(self) -> str:
        who = f"{self.username} ({self.user})" if self.username else self.user or ""
        fields = " ".join(f"{name}={_value(value)}" for name, value in self.fields.items())
        line = "  ".join(part for part in (f"{self.time or '-':<30}", f"{self.kind:<12}", who, fields) if part)
        return printable(line.rstrip())


class RoomLog:
    """The members of a room, and its events."""

    def __init__(self, room: RoomId, *, with_content: bool) -> None:
        self._room = room
        self._with_content = with_content
        self._members: dict[UserId, Committed] = {}
        self._removed: dict[UserId, int] = {}
        self._chat = 0
        """The sequence of the newest entry of the chat."""
        self.newest = 0
        """The newest revision of any member, or of a removal."""

    # --- members ------------------------------------------------------------------------------------------

    def begin(self, members: Mapping[UserId, Committed], chat: int) -> None:
        """Start with these members, and after this entry of the chat."""
        self._members = dict(members)
        self.newest = max((member.revision for member in members.values()), default=0)
        self._chat = chat

    def compare(
        self, members: Mapping[UserId, Committed], removed: Mapping[UserId, int], known: int
    ) -> Iterator[Event]:
        """Yield events for what the stream has and was not announced. `known`: `newest` before it was read."""
        for user, gone in removed.items():
            yield from self.change(user, None, gone, "")
        for user, member in sorted(members.items(), key=lambda item: item[1].revision):
            yield from self.change(user, member.entry, member.revision, "")
        for user in self._members.keys() - members.keys():
            if (revision := self._members[user].revision) <= known:
                yield from self.change(user, None, revision + 1, "")

    def change(self, user: UserId, entry: Entry | None, revision: int, time: str) -> Iterator[Event]:
        """Yield the events of a committed change. `entry`: None for a removal."""
        before = self._members.get(user)
        if revision <= max(before.revision if before is not None else 0, self._removed.get(user, 0)):
            return
        self.newest = max(self.newest, revision)
        if entry is None:
            self._members.pop(user, None)
            self._removed[user] = revision
            if len(self._removed) > _REMOVALS_KEPT:
                del self._removed[next(iter(self._removed))]
            if before is not None:
                yield Event(time, "left", user, before.entry.profile.username, {"revision": revision})
            return
        self._removed.pop(user, None)
        self._members[user] = Committed(entry, revision)
        yield from self._changes(user, before.entry if before is not None else None, entry, revision, time)

    def _changes(self, user: UserId, before: Entry | None, now: Entry, revision: int, time: str) -> Iterator[Event]:
        name = now.profile.username

        def event(kind: str, **fields: Any) -> Event:
            shown = {key: value for key, value in fields.items() if value is not None}
            return Event(time, kind, user, name, {"revision": revision, **shown})

        if before is None:
            yield event("joined", gateway=_gateways(now))
            return
        for kind, fields in _connections(before.connections, now.connections):
            yield event(kind, **fields)
        if before.profile != now.profile:
            was = before.profile.username
            yield event("renamed", **({"was": was} if was != name else {}))
        if changed := difference(before.fields, now.fields):
            values = {"values": changed} if self._with_content else {}
            yield event("changed", fields=",".join(sorted(changed)), **values)

    # --- chat ---------------------------------------------------------------------------------------------

    def chat(self, data: bytes, sequence: int, previous: int, time: str) -> Iterator[Event]:
        """Yield the events of a stored entry of the chat. `previous`: the sequence of the one before it."""
        if sequence <= self._chat:
            return
        if previous > self._chat:
            yield Event(time, "gap", fields={"after": self._chat, "up_to": previous})
        self._chat = sequence
        message = json.loads(with_sequence(data, sequence))
        payload = message["payload"]
        user = payload.get("user_id")
        fields: dict[str, Any] = {"seq": sequence}
        fields |= {name: payload[name] for name in _NUMBERS if name in payload}
        if "is_on" in payload:
            fields["is_on"] = payload["is_on"]
        if isinstance(content := payload.get("content"), str):
            fields["chars"] = len(content)
        if self._with_content:
            fields |= {name: payload[name] for name in ("content", "reaction") if name in payload}
        kind = _KINDS_OF_CHAT.get(message["type"], message["type"])
        yield Event(time, kind, user, payload.get("username") or self._name(user), fields)

    # --- moderation ---------------------------------------------------------------------------------------

    def moderation(self, target: Target, command: Command | None, time: str) -> Iterator[Event]:
        """Yield the event of a moderator's command, if it is about the room or a member. `command`: None if lifted."""
        if target.room != self._room and (target.room is not None or target.user not in self._members):
            return
        if command is None and target.kind is not Kind.BAN:
            return  # a command that was carried out once has expired
        fields: dict[str, Any] = {"scope": "room" if target.room is not None else "service"}
        if command is not None:
            fields |= {"by": command.by, "seconds": command.seconds, "reason": command.reason}
        kind = target.kind.value if command is not None else "ban lifted"
        shown = {name: value for name, value in fields.items() if value is not None}
        yield Event(time, kind, target.user, self._name(target.user), shown)

    def _name(self, user: UserId | None) -> str | None:
        member = self._members.get(user) if user is not None else None
        return member.entry.profile.username if member is not None else None


def _connections(
    before: Mapping[MembershipId, GatewayId], now: Mapping[MembershipId, GatewayId]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the kind and the fields of an event for each connection that a member has won or lost."""
    for membership in now.keys() - before.keys():
        yield "connected" if before else "returned", {"gateway": now[membership], "connection": membership}
    for membership in before.keys() - now.keys():
        gateway, elsewhere = before[membership], sorted(set(now.values()))
        if not now:
            yield "lost", {"gateway": gateway, "connection": membership}
        elif gateway in elsewhere:
            yield "disconnected", {"gateway": gateway, "connection": membership}
        else:
            yield "moved", {"from": gateway, "to": ",".join(elsewhere), "connection": membership}


def printable(line: str) -> str:
    """Escape what users could write to change the screen of the reader, such as control characters."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)


def _value(value: Any) -> str:
    """Return a value for people: quoted if it could be taken for several."""
    return value if isinstance(value, str) and value and " " not in value else json.dumps(value, ensure_ascii=False)


def _gateways(entry: Entry) -> str | None:
    gateways: dict[MembershipId, GatewayId] = entry.connections
    return ",".join(sorted(set(gateways.values()))) or None
