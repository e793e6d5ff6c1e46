"""All routers of shared documents."""

from fastapi import APIRouter

from studyroom.gateway.auth.bans import Bans
from studyroom.gateway.document_http.access import DocumentAccess
from studyroom.gateway.document_http.documents import documents_router
from studyroom.gateway.document_http.export import export_router
from studyroom.gateway.document_http.places import Places
from studyroom.gateway.document_http.requests import DocumentRequests
from studyroom.gateway.document_http.versions import versions_router
from studyroom.gateway.http.access import Access
from studyroom.gateway.http.app import Gate
from studyroom.gateway.http.audit import Audit, Trail
from studyroom.gateway.http.settings import HttpSettings
from studyroom.gateway.living_chat.stored_changes import StoredChanges

_LONG_BODIES_MAX = 8
"""Bodies that are too long for a message of NATS, which a gateway has in memory at a time."""


def document_routers(
    settings: HttpSettings,
    access: Access,
    bans: Bans,
    gate: Gate,
    audit: Audit,
    requests: DocumentRequests,
    chat: StoredChanges,
    trail: Trail,
) -> list[APIRouter]:
    long_bodies = Places(_LONG_BODIES_MAX, "long documents")
    documents = DocumentAccess(access, bans, gate, requests, settings.request_deadline_seconds, long_bodies)
    return [
        documents_router(documents, audit),
        versions_router(documents, audit),
        export_router(documents, audit, chat, trail),
    ]
