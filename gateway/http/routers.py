"""All routers of the HTTP API."""

from fastapi import APIRouter

from studyroom.gateway.chat.deletions import Deletions
from studyroom.gateway.chat.stream import ChatStream
from studyroom.gateway.http.access import Access
from studyroom.gateway.http.audit import Audit
from studyroom.gateway.http.bans import bans_router, room_bans_router
from studyroom.gateway.http.messages import messages_router
from studyroom.gateway.http.moderation import moderation_router
from studyroom.gateway.http.rooms import rooms_router
from studyroom.gateway.http.settings import HttpSettings
from studyroom.gateway.living_chat.stored_changes import StoredChanges
from studyroom.gateway.membership.presence_client import PresenceClient
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.moderation.moderation import Moderation
from studyroom.gateway.rooms.history import ChatView
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.contract.groups import ByGroup


def routers(
    settings: HttpSettings,
    access: Access,
    audit: Audit,
    bus: Bus,
    presence: PresenceClient,
    streams: ByGroup[ChatStream],
    stored_changes: StoredChanges,
    deletions: Deletions,
    moderation: Moderation,
    chat: ByGroup[ChatView],
    metrics: GatewayMetrics,
) -> list[APIRouter]:
    deadline_seconds = settings.request_deadline_seconds
    return [
        rooms_router(presence, access, chat, deadline_seconds=deadline_seconds),
        messages_router(
            bus,
            streams,
            stored_changes,
            access,
            audit,
            metrics,
            chat_max_chars=settings.chat_max_chars,
            deadline_seconds=deadline_seconds,
        ),
        moderation_router(access, audit, deletions, moderation, deadline_seconds=deadline_seconds),
        bans_router(access, audit, moderation, deadline_seconds=deadline_seconds),
        room_bans_router(access, audit, moderation, deadline_seconds=deadline_seconds),
    ]
