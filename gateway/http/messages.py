"""Chat over HTTP: the history of a room for its readers, and messages that a trusted backend publishes."""

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, BaseModel, Field, JsonValue

from studyroom.gateway.auth.names import presentable
from studyroom.gateway.chat.stream import ChatStream
from studyroom.gateway.http.access import (
    BY_KEY,
    BY_TOKEN,
    HTTP_BAD_REQUEST,
    HTTP_INSUFFICIENT_STORAGE,
    HTTP_NOT_FOUND,
    HTTP_UNAVAILABLE,
    REFUSALS,
    Access,
    ErrorBody,
    HttpRefusal,
    RoomPath,
    parse_room,
)
from studyroom.gateway.http.audit import Audit
from studyroom.gateway.living_chat.stored_changes import StoredChanges
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import API_TIMEOUT_SECONDS, Acknowledgement, Bus, BusError, StorageFull, TooLong
from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import encode_stored, with_sequence
from studyroom.shared.contract.chat_messages import Chat, ChatPayload
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.headers import INGRESS, MESSAGE_ID
from studyroom.shared.contract.ids import MessageIdField, RoomId, UserIdField, new_message_id
from studyroom.shared.contract.messages import USERNAME_MAX_CHARS
from studyroom.shared.contract.text import VISIBLE, UnicodeText, is_blank

log = logs.get(__name__)

PAGE_MAX = 200
_CREATED, _REPEATED = 201, 200
_VISIBLE: dict[str, JsonValue] = {"minLength": 1, "pattern": VISIBLE}


class MessagesBody(BaseModel):
    room_id: RoomId
    messages: list[ChatPayload]
    """Oldest first, as they are now. Deleted messages are left out, so a page can have fewer than `limit`."""
    before: int | None = Field(description="Send it as `before` to get the page before this one. Null on the first.")


def _presentable(name: str) -> str:
    """The name in the form that members see, as for a name in an access token. Raises ValueError."""
    shown = presentable(name)
    if not shown:
        raise ValueError("a name needs a visible character")
    return shown


class NewMessage(BaseModel):
    user_id: UserIdField
    username: Annotated[UnicodeText, AfterValidator(_presentable)] = Field(
        max_length=USERNAME_MAX_CHARS, json_schema_extra=_VISIBLE
    )
    content: UnicodeText = Field(json_schema_extra=_VISIBLE)
    id: MessageIdField = Field(
        default_factory=new_message_id, description="You choose it. Retries with the same id are deduplicated."
    )


def messages_router(
    bus: Bus,
    streams: ByGroup[ChatStream],
    stored_changes: StoredChanges,
    access: Access,
    audit: Audit,
    metrics: GatewayMetrics,
    *,
    chat_max_chars: int,
    deadline_seconds: float,
) -> APIRouter:
    router = APIRouter(prefix="/api/v1/rooms", responses=REFUSALS, tags=["messages"])

    @router.get("/{room_id}/messages", dependencies=[BY_TOKEN, BY_KEY])
    async def history(
        room_id: RoomPath,
        request: Request,
        response: Response,
        before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="A `seq`. You get older messages.")] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
    ) -> MessagesBody:
        """List the newest messages of a room, or the newest of those before a given one."""
        room = access.reader(room_id, request, response)
        try:
            async with asyncio.timeout(deadline_seconds):
                page = await stored_changes.page(room, limit, before=before)
        except (BusError, TimeoutError) as error:
            raise _unavailable("chat cannot be read now") from error
        return MessagesBody.model_construct(
            room_id=room,
            messages=[_payload(stored.ready) for stored in page.messages],
            before=page.before,
        )

    @router.post(
        "/{room_id}/messages",
        status_code=_CREATED,
        responses={
            _REPEATED: {"model": ChatPayload},
            HTTP_NOT_FOUND: {"model": ErrorBody},
            HTTP_INSUFFICIENT_STORAGE: {"model": ErrorBody},
        },
        dependencies=[BY_KEY],
    )
    async def post(room_id: RoomPath, message: NewMessage, request: Request, response: Response) -> ChatPayload:
        """Publish a message in a room, in the name of a user. The response is the stored message, with status 200
        instead of 201 if it was stored before."""
        caller = access.backend(request, response)
        room = parse_room(room_id)
        _check_content(message.content, chat_max_chars)
        encoded = encode_stored(message.user_id, message.username, message.content, int(time.time()), message.id)
        began = time.monotonic()
        try:
            async with asyncio.timeout(deadline_seconds):
                with audit.action("publish", caller, room=room, user=message.user_id, message=message.id):
                    acknowledged = await _store(bus, room, message, encoded)
                metrics.commit_latency.observe(time.monotonic() - began)
                if not acknowledged.duplicate:
                    streams.of(room).stored(room, acknowledged.sequence)
                    return _payload(with_sequence(encoded, acknowledged.sequence))
                stored = await streams.of(room).message(acknowledged.sequence)
        except TooLong as error:
            raise HttpRefusal(HTTP_BAD_REQUEST, ErrorCode.CHAT_TOO_LONG, str(error)) from error
        except StorageFull as error:
            metrics.chat_storage_full.inc()
            reason = "the store of chat is full, and the message is not stored"
            raise HttpRefusal(HTTP_INSUFFICIENT_STORAGE, ErrorCode.CHAT_STORAGE_FULL, reason) from error
        except (BusError, TimeoutError) as error:
            log.warning("a backend's message was not acknowledged", error=str(error) or "no answer in time")
            raise _unavailable("the message may be stored or not: send it again with the same id") from error
        if stored is None:
            reason = "the message was stored before, and has been deleted or has expired: do not send it again"
            raise HttpRefusal(HTTP_NOT_FOUND, ErrorCode.NOT_FOUND, reason)
        response.status_code = _REPEATED
        return _payload(stored.ready)

    return router


async def _store(bus: Bus, room: RoomId, message: NewMessage, encoded: bytes) -> Acknowledgement:
    """Raises BusError."""
    headers = {
        MESSAGE_ID: subjects.chat_deduplication_id(room, message.user_id, message.id),
        INGRESS: str(time.time_ns() // 1000),
    }
    return await bus.store(subjects.chat(room), encoded, headers, timeout_seconds=API_TIMEOUT_SECONDS)


def _check_content(content: str, max_chars: int) -> None:
    """Raises HttpRefusal."""
    if len(content) > max_chars:
        reason = f"the message has {len(content)} characters, the maximum is {max_chars}"
        raise HttpRefusal(HTTP_BAD_REQUEST, ErrorCode.CHAT_TOO_LONG, reason)
    if is_blank(content):
        raise HttpRefusal(HTTP_BAD_REQUEST, ErrorCode.CHAT_EMPTY, "the content needs a visible character")


def _payload(ready: bytes) -> ChatPayload:
    return Chat.model_validate_json(ready).payload


def _unavailable(reason: str) -> HttpRefusal:
    return HttpRefusal(HTTP_UNAVAILABLE, ErrorCode.CHAT_UNAVAILABLE, reason, Retry_After="1")
