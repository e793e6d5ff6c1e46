"""The export of a user: what is stored in the user's name, as one ZIP file (`/api/v1/users/{user_id}/export`)."""

import json
import time
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO, cast

from fastapi import APIRouter, Request, Response

from studyroom.gateway.chat.stream import ChatStream
from studyroom.gateway.document_http.archives import ZIP_BODY, Exports, Pieces, Unreadable
from studyroom.gateway.document_http.places import HTTP_TOO_MANY
from studyroom.gateway.erasure.documents import DocumentErasure
from studyroom.gateway.erasure.erasing import PAUSE_SECONDS
from studyroom.gateway.http.access import BY_KEY, REFUSALS, Access, ErrorBody, UserPath, parse_user, within_deadline
from studyroom.gateway.http.audit import Audit, Trail
from studyroom.gateway.moderation.moderation import Moderation
from studyroom.shared.chassis.nats.bus import BusError
from studyroom.shared.contract.audit import Action, AuditRecord, Outcome, fingerprint
from studyroom.shared.contract.chat import user_of
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.ids import UserId


@dataclass(frozen=True, slots=True)
class StoredOfUser:
    """Reads what is stored in the name of a user. Methods raise BusError or TimeoutError."""

    streams: ByGroup[ChatStream]
    moderation: Moderation
    documents: DocumentErasure | None

    async def chat_of(self, user: UserId) -> AsyncIterator[bytes]:
        """Messages, edits and reactions as JSON, one a line, by group of shards and then the oldest first."""
        for stream in self.streams:
            last = (await stream.learn()).last
            async for room, stored in stream.walk(0, last, PAUSE_SECONDS):
                if user_of(stored.ready) == user:
                    line = {"room_id": room, "stored_at": stored.time, **json.loads(stored.ready)}
                    yield json.dumps(line, ensure_ascii=False).encode() + b"\n"

    async def bans_of(self, user: UserId) -> list[dict[str, object]]:
        own = {room: ban for (banned, room), ban in (await self.moderation.bans()).items() if banned == user}
        return [{"room_id": room, **ban.model_dump(exclude={"by"})} for room, ban in own.items()]

    async def documents_of(self, user: UserId) -> list[dict[str, str]]:
        """The documents whose log or versions name the user."""
        if self.documents is None:
            return []
        users = [fingerprint(user)]
        return [{"room_id": one.room, "name": one.name} async for one in self.documents.authored(users)]


async def _zip(stored: StoredOfUser, user: UserId) -> AsyncIterator[bytes]:
    """Raises Unreadable."""
    written = Pieces()
    try:
        with zipfile.ZipFile(cast("IO[bytes]", written), "w", zipfile.ZIP_DEFLATED) as file:
            with file.open("chat.jsonl", "w", force_zip64=True) as member:
                async for line in stored.chat_of(user):
                    member.write(line)
                    yield written.take()
            file.writestr("bans.json", json.dumps(await stored.bans_of(user)))
            file.writestr("documents.json", json.dumps(await stored.documents_of(user)))
            file.writestr("user.json", json.dumps({"user_id": user, "exported_at": int(time.time())}))
    except (BusError, TimeoutError) as error:
        raise Unreadable(str(error) or "no answer in time") from error
    yield written.take()


def user_export_router(
    access: Access, audit: Audit, trail: Trail, stored: StoredOfUser, *, deadline_seconds: float
) -> APIRouter:
    router = APIRouter(prefix="/api/v1/users", tags=["erasure"], dependencies=[BY_KEY])
    exports = Exports()

    @router.get(
        "/{user_id}/export",
        response_class=Response,
        responses={**REFUSALS, HTTP_TOO_MANY: {"model": ErrorBody}, 200: ZIP_BODY},
    )
    async def export_user(user_id: UserPath, request: Request, response: Response) -> Response:
        """Get what is stored in the name of a user as a ZIP file."""
        caller = access.backend(request, response)
        user = parse_user(user_id)
        print_of_user = fingerprint(user)
        record = AuditRecord(action=Action.EXPORT_USER, target=print_of_user, by=str(caller), outcome=Outcome.REQUESTED)
        with audit.action("export_user", caller, fingerprint=print_of_user), exports.begin() as place:
            async with within_deadline(deadline_seconds, ErrorCode.AUDIT_UNAVAILABLE):
                await trail.write(record)
            return exports.response(request, _zip(stored, user), f"user-{user}.zip", place, trail, record)

    return router
