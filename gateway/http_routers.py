"""What may be asked over plain HTTP, put together."""

from collections.abc import Callable

from fastapi import APIRouter

from gateway.audit import Audit
from gateway.chat_stream import ChatStream
from gateway.deletions import Deletions
from gateway.http_access import Access
from gateway.http_bans import bans_router, room_bans_router
from gateway.http_messages import messages_router
from gateway.http_moderation import moderation_router
from gateway.http_rooms import rooms_router
from gateway.moderation import Moderation
from gateway.presence_client import PresenceClient
from gateway.settings import GatewaySettings
from services.bus import Bus


def routers(
    settings: GatewaySettings,
    access: Access,
    audit: Audit,
    bus: Bus,
    presence: PresenceClient,
    stream: ChatStream,
    deletions: Deletions,
    moderation: Moderation,
    *,
    epoch: Callable[[str], str],
    commits: Callable[[float], None],
    storage_full: Callable[[], None],
) -> list[APIRouter]:
    deadline_seconds = settings.request_deadline_seconds
    return [
        rooms_router(presence, access, epoch=epoch, deadline_seconds=deadline_seconds),
        messages_router(
            bus,
            stream,
            access,
            audit,
            chat_max_chars=settings.chat_max_chars,
            deadline_seconds=deadline_seconds,
            commits=commits,
            storage_full=storage_full,
        ),
        moderation_router(access, audit, deletions, moderation, deadline_seconds=deadline_seconds),
        bans_router(access, audit, moderation, deadline_seconds=deadline_seconds),
        room_bans_router(access, audit, moderation, deadline_seconds=deadline_seconds),
    ]
