"""Erases users and rooms: their chat, commands of moderators about them, and what other services have of them.

Every step may be repeated, and finds by itself what is left. So an erasure that was interrupted at any place is
completed by another one. Members, awareness and all else that belongs to connections go when these are closed.
"""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime

from studyroom.gateway.chat.deletions import Deletions
from studyroom.gateway.chat.stream import ChatStream
from studyroom.gateway.erasure.documents import DocumentErasure
from studyroom.gateway.erasure.hooks import HookErasure
from studyroom.gateway.erasure.targets import Targets, Until
from studyroom.gateway.erasure.together import Together
from studyroom.gateway.membership.presence_client import PresenceClient, PresenceRefused
from studyroom.gateway.moderation.moderation import Moderation
from studyroom.gateway.rooms.history import Stored
from studyroom.shared.chassis.nats.bus import BusUnavailable
from studyroom.shared.contract import subjects
from studyroom.shared.contract.audit import fingerprint, is_until
from studyroom.shared.contract.chat import user_of
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.moderation import Command, Kind, Target

SETTLED_SECONDS = 8.0
"""After this time nothing of a user is under way any more that a gateway accepted before the user was banned."""
_READ_AGAIN_SECONDS = 2.0
"""Within this time after a tombstone that resets, gateways have read the chat of the room again."""
PAUSE_SECONDS = 0.01
"""Between two batches, so that a walk takes about a sixth of the event loop."""
_BAN_SECONDS = 86_400
"""More than an erasure takes. The ban ends with the erasure."""
_REMOVED_SECONDS = 60
_PRESENCE_SECONDS, _BANS_SECONDS, _ROOM_SECONDS = 5.0, 5.0, 60.0
_AT_ONCE = 8
_ANY_USER, _ANY_ROOM = UserId("*"), RoomId("*")
_NOBODY = "a user who was erased"


@dataclass(slots=True)
class Counts:
    messages: int = 0
    """Messages, edits and reactions."""
    documents: int = 0
    commands: int = 0
    """Bans and other commands of moderators."""


@dataclass(slots=True)
class _Users:
    """Users that one erasure wants to be erased."""

    until: dict[str, Until]
    """The keys are fingerprints."""
    counts: Counts
    reached: dict[tuple[str, str], int] = field(default_factory=dict)
    """For each stream of chat and its epoch, the sequence up to which nothing of these users is left."""

    def wants(self, author: str, stored_at: str) -> bool:
        """Whether what a user has stored at a time (RFC 3339) is erased. `author`: the fingerprint."""
        return author in self.until and is_until(stored_at, self.until[author])


class Erasing:
    """Methods raise BusError or TimeoutError."""

    def __init__(
        self,
        streams: ByGroup[ChatStream],
        deletions: Deletions,
        moderation: Moderation,
        presence: PresenceClient,
        documents: DocumentErasure | None,
        hooks: HookErasure | None,
    ) -> None:
        """`documents`: None where there are no shared documents. `hooks`: None where there are no hooks."""
        self._streams = streams
        self._deletions = deletions
        self._moderation = moderation
        self._presence = presence
        self._documents = documents
        self._hooks = hooks
        # Reading everything takes long, so all users who wait share it.
        self._chat = Together(self._walk)
        self._authorship = Together(self._forget_authors)
        self._events = Together(self._erase_events)
        self._one_room = asyncio.Lock()

    async def user(self, user: UserId, by: str, counts: Counts) -> None:
        """Erase a user, who is banned meanwhile. `by`: the caller."""
        command = Command(by=by, reason="erasure", seconds=_BAN_SECONDS, until=int(time.time()) + _BAN_SECONDS)
        await self._moderation.command(Target(Kind.BAN, user), command, ttl_seconds=_BAN_SECONDS)
        settled_at = time.monotonic() + SETTLED_SECONDS
        users = _Users({fingerprint(user): None}, counts)
        await self._chat.do(users)
        await asyncio.sleep(settled_at - time.monotonic())
        await self._chat.do(users)
        await asyncio.sleep(_READ_AGAIN_SECONDS)
        await self._authorship.do(users)
        await self._events.do(users)
        about = [subjects.moderation_key("*", user, None), subjects.moderation_key("*", user, _ANY_ROOM)]
        await self._commands(about, users)

    async def room(self, room: RoomId, by: str, counts: Counts) -> None:
        """Erase a room. Its members are removed, and may join the empty room."""
        async with asyncio.timeout(_PRESENCE_SECONDS):
            members = await self._members(room)
        for user in members:
            remove = Target(Kind.REMOVE, user, room)
            await self._moderation.command(remove, Command(by=by), ttl_seconds=_REMOVED_SECONDS)
        async with self._one_room:
            await self._room(room, None, counts)
        await asyncio.sleep(_READ_AGAIN_SECONDS)
        if self._hooks is not None:
            await self._hooks.erase_room(room, None)

    async def old_messages(self, room: RoomId, before: datetime, counts: Counts) -> None:
        """Erase the chat of a room that was stored up to a time, with later edits of it and reactions to it."""
        async with self._one_room:
            await self._chat_of(room, before, counts)
        await asyncio.sleep(_READ_AGAIN_SECONDS)
        if self._hooks is not None:
            await self._hooks.report_messages(room, before)

    async def again(self, targets: Targets, counts: Counts) -> None:
        """Erase what has come back of users and rooms that were erased before."""
        async with self._one_room:
            for room, until in targets.rooms.items():
                await self._room(room, until, counts)
                if self._hooks is not None:
                    await self._hooks.erase_room(room, until)
            for room, before in targets.chats.items():
                await self._chat_of(room, before, counts)
        await asyncio.sleep(_READ_AGAIN_SECONDS)
        if targets.users:
            users = _Users(targets.users, counts)
            await self._chat.do(users)
            await asyncio.sleep(_READ_AGAIN_SECONDS)
            await self._authorship.do(users)
            await self._events.do(users)
            everyone = [subjects.moderation_key("*", _ANY_USER, room) for room in (None, _ANY_ROOM)]
            await self._commands(everyone, users)

    # --- chat ---------------------------------------------------------------------------------------------

    async def _walk(self, batch: list[_Users]) -> None:
        """Erase all entries of some users that are stored now."""
        everyone = {author for users in batch for author in users.until}
        for stream in self._streams:
            terms = await stream.learn()
            place = stream.group.chat_stream, terms.epoch
            after = min(users.reached.get(place, 0) for users in batch)
            async for room, stored in stream.walk(after, terms.last, PAUSE_SECONDS):
                user = user_of(stored.ready)
                if user is None or (author := fingerprint(user)) not in everyone:
                    continue
                wanted = [users for users in batch if users.wants(author, stored.time)]
                if not wanted:
                    continue
                if not stream.sure or stream.terms.epoch != terms.epoch:
                    raise BusUnavailable("the stream of chat may be another one")
                await self._deletions.erase_entry(room, stored)
                for users in wanted:
                    users.counts.messages += 1
            for users in batch:
                users.reached[place] = terms.last

    async def _room(self, room: RoomId, until: Until, counts: Counts) -> None:
        await self._chat_of(room, until, counts)
        if self._documents is not None:
            counts.documents += await self._documents.erase_room(room, until)
        for target in await self._moderation.targets(subjects.moderation_key("*", _ANY_USER, room)):
            counts.commands += await self._moderation.forget(target, until=until)

    async def _chat_of(self, room: RoomId, until: Until, counts: Counts) -> None:
        """Erase the chat of a room, or what was stored up to a time, with its later edits and reactions.

        A tombstone after it lets everybody read again what there is. If the last entry is erased, another tombstone
        comes before, so that the position of the room does not go back.
        """
        stream = self._streams.of(room)
        last = await stream.last(room)
        if last is None:
            return
        async with asyncio.timeout(_ROOM_SECONDS):
            stored_lines = await stream.between(room, 0, last)
        old = {stored.sequence for stored in stored_lines if is_until(stored.time, until)}
        lines = [stored for stored in stored_lines if stored.sequence in old or stored.changes in old]
        if not lines or (until is not None and all(stored.deletes for stored in lines)):
            return
        newest = lines[-1].sequence
        if newest == last:
            newest = await self._deletions.begin_again(room, last)
        await self._erase(stream, lines)
        await self._deletions.begin_again(room, newest)
        await stream.erase(newest)
        counts.messages += sum(not stored.deletes for stored in lines)

    async def _erase(self, stream: ChatStream, lines: list[Stored]) -> None:
        for start in range(0, len(lines), _AT_ONCE):
            await asyncio.gather(*(stream.erase(stored.sequence) for stored in lines[start : start + _AT_ONCE]))

    # --- moderation and presence --------------------------------------------------------------------------

    async def _commands(self, keys: list[str], users: _Users) -> None:
        """Forget commands about erased users, and the names of erased users in bans that they have given."""
        async with asyncio.timeout(_BANS_SECONDS):
            bans = await self._moderation.bans()
        for (user, room), ban in bans.items():
            kind, _, giver = ban.by.partition(" ")
            seconds = (ban.until or 0) - int(time.time())
            if kind == "user" and seconds > 0 and fingerprint(UserId(giver)) in users.until:
                nobodys = ban.model_copy(update={"by": _NOBODY})
                await self._moderation.command(Target(Kind.BAN, user, room), nobodys, ttl_seconds=seconds)
        for key in keys:
            for target in await self._moderation.targets(key):
                if (print_of_user := fingerprint(target.user)) in users.until:
                    until = users.until[print_of_user]
                    users.counts.commands += await self._moderation.forget(target, until=until)

    async def _forget_authors(self, batch: list[_Users]) -> None:
        if self._documents is None:
            return
        authors = {author for users in batch for author in users.until}
        async for found in self._documents.forget_authors(authors):
            for users in batch:
                users.counts.documents += any(author in users.until for author in found.authors)

    async def _erase_events(self, batch: list[_Users]) -> None:
        if self._hooks is not None:
            await self._hooks.erase_users({author: until for users in batch for author, until in users.until.items()})

    async def _members(self, room: RoomId) -> list[UserId]:
        try:
            reply = await self._presence.roster(room)
        except PresenceRefused as error:
            raise BusUnavailable(f"presence: {error}") from error
        return [member.user for member in reply.members or []]
