"""Assembles the erasure, and its router of the HTTP API."""

from functools import partial

from fastapi import APIRouter

from studyroom.gateway.chat.deletions import Deletions
from studyroom.gateway.chat.stream import ChatStream
from studyroom.gateway.document_http.requests import DocumentRequests
from studyroom.gateway.erasure.documents import DocumentErasure
from studyroom.gateway.erasure.erasing import Erasing
from studyroom.gateway.erasure.erasures import Erasures
from studyroom.gateway.erasure.export import StoredOfUser, user_export_router
from studyroom.gateway.erasure.hooks import HookErasure
from studyroom.gateway.erasure.retention import Expiry, Policies
from studyroom.gateway.erasure.retention_router import retention_router
from studyroom.gateway.erasure.router import erasure_router, repetition_router
from studyroom.gateway.http.access import Access
from studyroom.gateway.http.audit import Audit, Trail
from studyroom.gateway.membership.presence_client import PresenceClient
from studyroom.gateway.moderation.moderation import Moderation
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract.groups import ByGroup


def erasure_routers(
    access: Access,
    audit: Audit,
    bus: Bus,
    tasks: Tasks,
    streams: ByGroup[ChatStream],
    deletions: Deletions,
    moderation: Moderation,
    presence: PresenceClient,
    documents: DocumentRequests | None,
    trail: Trail,
    *,
    has_hooks: bool,
    retention_seconds: int,
    deadline_seconds: float,
) -> list[APIRouter]:
    """`documents`: None where there are no shared documents. `retention_seconds`: 0 not to apply the retention."""
    of_documents = DocumentErasure(bus, documents) if documents is not None else None
    of_hooks = HookErasure(bus, len(streams)) if has_hooks else None
    erasing = Erasing(streams, deletions, moderation, presence, of_documents, of_hooks)
    erasures = Erasures(trail, erasing, tasks, audit.erasures)
    stored = StoredOfUser(streams, moderation, of_documents)
    policies = Policies(bus)
    expiry = Expiry(policies, streams, erasures, of_documents, trail)
    if retention_seconds:
        tasks.supervise("retention", partial(expiry.run, retention_seconds))
    return [
        erasure_router(access, audit, erasures, deadline_seconds=deadline_seconds),
        repetition_router(access, audit, erasures, deadline_seconds=deadline_seconds),
        retention_router(access, audit, trail, policies, expiry, tasks, deadline_seconds=deadline_seconds),
        user_export_router(access, audit, trail, stored, deadline_seconds=deadline_seconds),
    ]
