"""Admission of the sockets of editors, at `/documents/<room>` and `/documents/<room>/<name>`."""

from functools import partial

from fastapi import APIRouter

from studyroom.gateway.documents.connection import DocumentConnection, DocumentHub, DocumentPath, may_write
from studyroom.gateway.edge.admission import Admission
from studyroom.gateway.http.access import HttpRefusal
from studyroom.gateway.http.app import DOCUMENTS_PATH
from studyroom.gateway.wire.handshake import Handshake, Refused
from studyroom.shared.contract.document_names import document_name
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import RoomId, canonical_uuid

_UPGRADE_REQUIRED = 426


def parse_path(path: str) -> DocumentPath:
    """Read the path of a handshake. Raises ValueError."""
    room, separator, name = path.removeprefix(DOCUMENTS_PATH).partition("/")
    return DocumentPath(RoomId(canonical_uuid(room)), document_name(name) if separator else None)


def documents_router() -> APIRouter:
    """Answers plain HTTP requests."""
    router = APIRouter(prefix=DOCUMENTS_PATH.rstrip("/"), include_in_schema=False)

    @router.get("/{path:path}")
    async def document_without_upgrade(path: str) -> None:
        reason = f"{DOCUMENTS_PATH}{path} accepts WebSocket handshakes only"
        raise HttpRefusal(_UPGRADE_REQUIRED, ErrorCode.UPGRADE_REQUIRED, reason, Upgrade="websocket")

    return router


class DocumentAdmission:
    def __init__(self, admission: Admission, hub: DocumentHub) -> None:
        self._admission = admission
        self._hub = hub

    def admit(self, handshake: Handshake) -> DocumentConnection | Refused:
        try:
            path = parse_path(handshake.path)
        except ValueError as error:
            return Refused(404, ErrorCode.NOT_FOUND, f"no document can have this path: {error}")
        if path.name is None:
            address = self._admission.decide_unidentified(handshake)
            if isinstance(address, Refused):
                return address
            identify = partial(self._admission.identify, handshake)
            return DocumentConnection(self._hub, path, None, address, identify)
        decision = self._admission.decide(handshake)
        if isinstance(decision, Refused):
            return decision
        right = may_write(decision.identity, path.room, self._hub.bans)
        if isinstance(right, Refused):
            return right
        return DocumentConnection(self._hub, path, decision.identity, decision.address)
