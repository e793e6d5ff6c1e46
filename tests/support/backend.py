"""A trusted backend and moderators: their requests to a gateway over HTTP."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import jwt
from websockets.exceptions import InvalidStatus

from studyroom.shared.chassis.api_keys import entry_of
from tests.support.client import Client

SECRET = "a secret for tests, long enough for HS256"
OLD_KEY, KEY = "studyroom_the_key_of_2025_for_tests", "studyroom_the_key_of_2026_for_tests"
SETTINGS: dict[str, Any] = {
    "STUDYROOM_GATEWAY_API_KEYS": ",".join([entry_of("backend-2025", OLD_KEY), entry_of("backend-2026", KEY)]),
    "STUDYROOM_GATEWAY_JWT_SECRET": SECRET,
    "STUDYROOM_GATEWAY_REQUESTS_PER_SECOND": "0",  # tests ask faster than people
}

Json = dict[str, Any]


def token(user: str = "", **claims: Any) -> str:
    named = {"sub": user or str(uuid4()), "exp": int(time.time()) + 600, **claims}
    return jwt.encode(named, SECRET, algorithm="HS256")


@dataclass(frozen=True)
class Answer:
    status: int
    body: Json

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.body["code"]


async def ask(gateway: str, method: str, path: str, body: Json | None = None, *, bearer: str = KEY) -> Answer:
    """`gateway`: its WebSocket address. `path`: the path below `/api/v1`."""
    url = gateway.replace("ws://", "http://").removesuffix("/ws") + "/api/v1" + path
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    if body is not None:
        headers["Content-Type"] = "application/json"

    def answered() -> Answer:
        request = Request(url, json.dumps(body).encode() if body is not None else None, headers, method=method)
        try:
            with urlopen(request, timeout=20) as response:
                return Answer(response.status, json.loads(response.read() or b"{}"))
        except HTTPError as error:
            return Answer(error.code, json.load(error))

    return await asyncio.to_thread(answered)


async def handshake_refusal(gateway: str, user: str) -> tuple[int, str] | None:
    """How the handshake of a user is refused; None when it is not."""
    try:
        client = await Client.connect(gateway, token=token(user))
    except InvalidStatus as refused:
        return refused.response.status_code, json.loads(refused.response.body or b"{}")["code"]
    await client.close()
    return None
