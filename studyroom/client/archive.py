"""Requests over plain HTTP, for earlier messages of a room and for its members."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, Request, build_opener

from studyroom.client.address import http_address
from studyroom.client.errors import StudyroomError
from studyroom.client.identity import Identity
from studyroom.client.values import Failure
from studyroom.shared.contract.chat_messages import ChatPayload
from studyroom.shared.contract.messages import UserPresence

_DEADLINE_SECONDS = 10.0
"""The server answers within 5 s."""


class Archive:
    def __init__(self, url: str, identity: Identity, tls: ssl.SSLContext | None) -> None:
        self._url = url
        self._identity = identity
        self._opener = build_opener(HTTPSHandler(context=tls))

    async def messages(self, room_id: str, limit: int, before: int | None) -> tuple[list[ChatPayload], int | None]:
        """Return a page of messages, and the position that the page of older ones ends before; None if there is none.

        Raises StudyroomError.
        """
        query = {"limit": str(limit), "before": None if before is None else str(before)}
        body = await self._get(f"api/v1/rooms/{room_id}/messages", query)
        return [ChatPayload.model_validate(message) for message in body["messages"]], body["before"]

    async def roster(self, room_id: str) -> list[UserPresence]:
        """Raises StudyroomError."""
        body = await self._get(f"api/v1/rooms/{room_id}/roster", {})
        return [UserPresence.model_validate(user) for user in body["users"]]

    async def _get(self, path: str, query: Mapping[str, str | None]) -> dict[str, Any]:
        headers, parameters = await self._identity.credentials()
        address = http_address(self._url, path, {**parameters, **query})
        # A cancelled caller does not wait for the thread, which ends at its deadline.
        return await asyncio.to_thread(self._answer, Request(address, headers=headers))  # noqa: S310 - http or https

    def _answer(self, request: Request) -> dict[str, Any]:
        try:
            with self._opener.open(request, timeout=_DEADLINE_SECONDS) as answer:
                status, text = answer.status, answer.read()
        except HTTPError as refused:
            with refused:
                status, text = refused.code, refused.read()
        except OSError as error:
            raise StudyroomError(Failure("connection_lost", f"the server does not answer: {error}")) from error
        body = read_object(text)
        if status == HTTPStatus.OK and body is not None:
            return body
        raise StudyroomError(refusal_of(status, body))


def read_object(text: bytes | bytearray | None) -> dict[str, Any] | None:
    """Return the JSON object, or None for anything else, such as the page of a proxy."""
    try:
        body = json.loads(text or b"")
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def refusal_of(status: int, body: Mapping[str, Any] | None) -> Failure:
    """Return the refusal of the server. A body without a code is not from Studyroom."""
    if body is None or not isinstance(body.get("code"), str):
        return Failure("connection_lost", f"the answer has the status {status} and is not of Studyroom")
    return Failure(body["code"], str(body.get("message", "")))
