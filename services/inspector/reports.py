"""The reports about a room and a user, as text and as JSON."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from studyroom.services.inspector.differences import Difference
from studyroom.services.inspector.events import printable
from studyroom.services.inspector.looking import Committed, RoomLook, UserLook, Witnesses
from studyroom.services.inspector.verdict import Verdict
from studyroom.shared.contract.inspection import GatewayRoom, GatewayUser, LoggedProblem, OpenConnection, Process
from studyroom.shared.contract.moderation import Command
from studyroom.shared.contract.subjects import shard_of

_DIFFERENCES_SHOWN = 40
_NONE = "-"


# --- rooms -------------------------------------------------------------------------------------------------


def room_as_json(verdict: Verdict[RoomLook]) -> dict[str, Any]:
    """Return the report about a room for programs. It has all members, and no chat."""
    look = verdict.look
    return {
        **_verdict_as_json(verdict),
        "room": look.room,
        "shard": shard_of(look.room),
        "stream": {
            "epoch": look.epoch,
            "revision": look.revision,
            "digest": _digest(look.digest),
            "members": len(look.members),
            "chat": look.chat,
        },
        "members": {user: _member_as_json(member) for user, member in sorted(look.members.items())},
        "bans": {user: command.model_dump(exclude_none=True) for user, command in sorted(look.bans.items())},
        "retention": look.retention.model_dump() if look.retention is not None else None,
        "presence": [
            {**one.model_dump(exclude={"revisions", "digest"}), "digest": _digest(one.digest)} for one in look.replicas
        ],
        "gateways": [
            {
                **one.model_dump(
                    exclude={"revisions", "memberships", "joining", "digest", "connections_digest"}, exclude_none=True
                ),
                "digest": _digest(one.digest),
            }
            for one in look.gateways
        ],
        "leases": look.witnesses.expected.leases,
    }


def room_as_text(verdict: Verdict[RoomLook], members_shown: int) -> str:
    """Return the report about a room for people, with at most so many of its members."""
    look = verdict.look
    lines = [f"room {look.room}, shard {shard_of(look.room)}", "", *_table(_room_rows(look))]
    others = [one for one in look.gateways if not _has_part(look, one)]
    if others:
        lines.append(f"{_count(len(others), 'other gateway')} without members of the room")
    lines += ["", *_members(look, members_shown)]
    if look.bans:
        lines += ["", "banned from the room:", *(f"  {user}  {_ban(one)}" for user, one in sorted(look.bans.items()))]
    lines += ["", _retention(look)]
    own = [one for one in look.gateways if _has_part(look, one) or one.process.not_ready]
    lines += _problems([*((_name(one), one.process) for one in own), *_presence_of(look)])
    return _ended(lines, verdict, look.witnesses)


def _retention(look: RoomLook) -> str:
    if look.retention is None:
        return "no retention of its own" if "the retention" not in look.witnesses.failures else "retention: unknown"
    kept = (("messages", look.retention.messages_seconds), ("versions of documents", look.retention.versions_seconds))
    parts = [f"{what} for {seconds:,} s" for what, seconds in kept if seconds is not None]
    return f"keeps {' and '.join(parts)}: by {look.retention.by}"


def _room_rows(look: RoomLook) -> Iterator[tuple[str, ...]]:
    yield ("", "where", "members", "digest", "revision", "chat", "notes")
    chat = str(look.chat) if look.chat is not None else "unknown"
    yield ("stream", _NONE, str(len(look.members)), _digest(look.digest), str(look.revision), chat, "")
    for one in look.replicas:
        if one.serves:
            notes = "" if one.ready else "its mirror is not complete"
            yield (
                "presence", one.process.place, str(one.members), _digest(one.digest), str(one.revision), _NONE, notes,
            )  # fmt: skip
    for gateway in look.gateways:
        if _has_part(look, gateway):
            yield (
                _name(gateway), gateway.process.place, str(gateway.members), _digest(gateway.digest),
                str(gateway.revision), _position(gateway), _notes(gateway),
            )  # fmt: skip


def _has_part(look: RoomLook, gateway: GatewayRoom) -> bool:
    return gateway.hosted or bool(look.memberships_at(gateway.gateway))


def _position(gateway: GatewayRoom) -> str:
    chat = gateway.chat
    return str(chat.position) if chat is not None and chat.position is not None else _NONE


def _notes(gateway: GatewayRoom) -> str:
    notes = [_count(gateway.connections, "connection")]
    if gateway.slow:
        notes.append(f"{gateway.slow} slow")
    if gateway.stale:
        notes.append("its roster is being repaired")
    if gateway.chat is not None and gateway.chat.waits:
        notes.append("chat waits for older messages")
    return ", ".join(notes)


def _members(look: RoomLook, shown: int) -> Iterator[str]:
    if not look.members:
        yield "no members" if look.is_known else "members: unknown"
        return
    users = sorted(look.members)[:shown]
    rows = [("member", "name", "revision", "connections")]
    for user in users:
        member = look.members[user]
        rows.append((user, member.entry.profile.username, str(member.revision), _connections(member)))
    yield from _table(rows)
    if len(look.members) > len(users):
        yield f"and {len(look.members) - len(users)} more"


def _connections(member: Committed) -> str:
    gateways = list(member.entry.connections.values())
    if not gateways:
        return "none: in the grace period"
    return ", ".join(f"{gateways.count(one)} at {one}" for one in sorted(set(gateways)))


def _member_as_json(member: Committed) -> dict[str, Any]:
    profile, connections = member.entry.profile, member.entry.connections
    return {"username": profile.username, "revision": member.revision, "connections": connections}


# --- users -------------------------------------------------------------------------------------------------


def user_as_json(verdict: Verdict[UserLook]) -> dict[str, Any]:
    """Return the report about a user for programs."""
    look = verdict.look
    return {
        **_verdict_as_json(verdict),
        "user": look.user,
        "rooms": {room: _member_as_json(member) for room, member in sorted(look.rooms.items())},
        "bans": [
            {"room": room, **command.model_dump(exclude_none=True)}
            for room, command in sorted(look.bans.items(), key=lambda ban: ban[0] or "")
        ],
        "gateways": [one.model_dump(exclude_none=True) for one in look.gateways],
        "presence": [one.model_dump(exclude={"shards"}) for one in look.replicas],
        "leases": look.witnesses.expected.leases,
    }


def user_as_text(verdict: Verdict[UserLook]) -> str:
    """Return the report about a user for people."""
    look = verdict.look
    count = sum(one.connections_count for one in look.gateways)
    at = sum(one.connections_count > 0 for one in look.gateways)
    lines = [f"user {look.user}: {_count(count, 'connection')} at {_count(at, 'gateway')}", ""]
    lines += _table(_connection_rows(look)) if count else []
    for gateway in look.gateways:
        if (hidden := gateway.connections_count - len(gateway.connections)) > 0:
            lines.append(f"and {hidden} more at {_name(gateway)}")
    lines += ["", *_rooms(look), "", *_bans(look)]
    own = [one for one in look.gateways if one.connections_count or one.process.not_ready]
    lines += _problems([*((_name(one), one.process) for one in own), *_presence_of(look)])
    return _ended(lines, verdict, look.witnesses)


def _connection_rows(look: UserLook) -> Iterator[tuple[str, ...]]:
    yield ("gateway", "connection", "kind", "open for", "silent for", "unread bytes", "room", "notes")
    for gateway in look.gateways:
        for one in gateway.connections:
            yield (
                gateway.gateway, one.id, one.kind, f"{one.open_seconds} s" if one.kind != "documents" else _NONE,
                f"{one.silent_seconds} s", f"{one.unread_bytes:,}", one.room or _NONE, _connection_notes(one),
            )  # fmt: skip


def _connection_notes(one: OpenConnection) -> str:
    notes = [f"joins {one.joining}"] if one.joining is not None else []
    notes += [text for text, holds in (("slow", one.slow), ("held", one.held), ("closing", one.closing)) if holds]
    return ", ".join(notes)


def _rooms(look: UserLook) -> Iterator[str]:
    if not look.rooms:
        yield "member of no room" if look.is_known else "rooms: unknown"
        return
    rows = [("member of", "as", "revision", "connections")]
    for room, member in sorted(look.rooms.items()):
        rows.append((room, member.entry.profile.username, str(member.revision), _connections(member)))
    yield from _table(rows)


def _bans(look: UserLook) -> Iterator[str]:
    if not look.bans:
        yield "no bans" if "bans" not in look.witnesses.failures else "bans: unknown"
    for room, command in sorted(look.bans.items(), key=lambda ban: ban[0] or ""):
        where = f"room {room}" if room is not None else "the whole service"
        yield f"banned from {where}: {_ban(command)}"


def _ban(command: Command) -> str:
    until = f", until {command.until} (Unix seconds)" if command.until is not None else ""
    reason = f": {command.reason}" if command.reason else ""
    return f"by {command.by}{until}{reason}"


# --- both --------------------------------------------------------------------------------------------------


def _verdict_as_json(verdict: Verdict[Any]) -> dict[str, Any]:
    return {
        "ok": verdict.status == 0,
        "differences": [_difference_as_json(one) for one in verdict.differences],
        "failures": verdict.failures,
        "looks": verdict.looks,
    }


def _difference_as_json(one: Difference) -> dict[str, Any]:
    return {"kind": one.kind, "party": one.party.name, "about": one.about or None, "text": str(one)}


def _ended(lines: list[str], verdict: Verdict[Any], witnesses: Witnesses) -> str:
    """Return the report with its verdict at the end."""
    lines.append("")
    if verdict.failures:
        lines += ["Not compared:", *(f"  - {what}: {why}" for what, why in sorted(verdict.failures.items()))]
    if verdict.differences:
        shown = verdict.differences[:_DIFFERENCES_SHOWN]
        lines += [f"Differences, in each of {verdict.looks} looks:", *(f"  - {one}" for one in shown)]
        if len(verdict.differences) > len(shown):
            lines.append(f"  and {len(verdict.differences) - len(shown)} more")
    elif not verdict.failures:
        expected = witnesses.expected
        who = f"{_count(len(expected.gateways), 'gateway')} and {_count(len(expected.replicas), 'presence replica')}"
        lines.append(f"All agree: the stream, {who}.")
    return "\n".join(printable(line) for line in lines)


def _presence_of(look: RoomLook | UserLook) -> Iterator[tuple[str, Process]]:
    for one in look.replicas:
        yield f"presence {one.process.place}", one.process


def _problems(processes: Iterable[tuple[str, Process]]) -> list[str]:
    """Return what processes report of themselves: why they are not ready, and the newest problems in their logs."""
    lines = []
    for name, process in processes:
        own = [f"  not ready: {reason}" for reason in process.not_ready]
        own += [f"  {_problem(problem)}" for problem in process.problems]
        if own:
            lines += ["", f"{name} reports:", *own]
    return lines


def _problem(problem: LoggedProblem) -> str:
    fields = " ".join(f"{name}={value}" for name, value in problem.fields.items())
    return f"{problem.time} {problem.level}: {problem.event} {fields}".rstrip()


def _name(gateway: GatewayRoom | GatewayUser) -> str:
    return f"gateway {gateway.gateway}"


def _digest(digest: int) -> str:
    return f"{digest:016x}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    cells = list(rows)
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
