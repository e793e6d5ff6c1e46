"""Chat over plain HTTP: history in pages, and messages of a trusted backend."""

import asyncio
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest

from studyroom.shared.chassis.api_keys import entry_of
from tests.e2e.test_http_rooms import base, get
from tests.support.backend import KEY, OLD_KEY, SETTINGS
from tests.support.client import clients
from tests.support.presence import chat_history, connected
from tests.support.processes import EmbeddedStack, NatsServer, embedded_stack, running, service
from tests.support.waiting import eventually, http_get

KEYS = SETTINGS["STUDYROOM_GATEWAY_API_KEYS"]

Json = dict[str, Any]


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    stack = embedded_stack(tmp_path_factory.mktemp("keyed"), presence=1, STUDYROOM_GATEWAY_API_KEYS=KEYS)
    with running(stack):
        yield stack


def messages_of(gateway: str, room: str) -> str:
    return f"{base(gateway)}/api/v1/rooms/{room}/messages"


def post(url: str, message: Json, key: str = KEY) -> tuple[int, Json, dict[str, str]]:
    """Status, JSON body, and headers in lower case."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    try:
        with urlopen(Request(url, json.dumps(message).encode(), headers), timeout=20) as response:
            return response.status, json.load(response), {k.lower(): v for k, v in response.headers.items()}
    except HTTPError as error:
        return error.code, json.load(error), {k.lower(): v for k, v in error.headers.items()}


def new_message(content: str = "from the backend", **fields: str) -> Json:
    return {"user_id": str(uuid4()), "username": "Tutor", "content": content, "id": str(uuid4()), **fields}


async def test_history_is_read_in_pages_from_the_newest_to_the_oldest(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        for number in range(25):
            await ann.chat(str(number))
        sent = [await bob.expect("Chat") for _ in range(25)]
    pages, before = [], ""
    while True:
        status, body, headers = await asyncio.to_thread(get, f"{messages_of(stack.gateways[1], room)}?limit=10{before}")
        assert (status, body["room_id"], headers["cache-control"]) == (200, room, "no-store")
        pages.append(body["messages"])
        if body["before"] is None:
            break
        before = f"&before={body['before']}"
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [line for page in reversed(pages) for line in page] == sent


def test_a_room_without_chat_has_an_empty_page(stack: EmbeddedStack, room: str):
    status, body, _ = get(messages_of(stack.gateways[0], room))
    assert (status, body) == (200, {"room_id": room, "messages": [], "before": None})


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "before=0", "before=x", "before=-1"])
def test_a_bad_page_is_refused_with_a_reason(stack: EmbeddedStack, room: str, query: str):
    status, body, _ = get(f"{messages_of(stack.gateways[0], room)}?{query}")
    assert (status, body["code"]) == (400, "invalid_request")
    assert query.split("=", maxsplit=1)[0] in body["message"]


def test_without_keys_in_the_settings_nobody_may_post(stack: EmbeddedStack, room: str):
    for key in (KEY, ""):
        assert post(messages_of(stack.gateways[0], room), new_message(), key)[0] == 401


@pytest.mark.parametrize("key", ["", "wrong", KEY[:-1], KEY + "x", "schlüssel"])
def test_without_the_right_key_nothing_is_stored(keyed: EmbeddedStack, room: str, key: str):
    url = messages_of(keyed.gateways[0], room)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}".encode().decode("latin-1")}
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(url, json.dumps(new_message()).encode(), headers), timeout=20)
    assert refused.value.code == 401
    assert refused.value.headers["www-authenticate"] == "Bearer"
    assert json.load(refused.value)["code"] == "unauthorized"
    assert get(url)[1]["messages"] == []


async def test_while_a_key_is_rotated_both_post_and_read_and_the_log_names_which(keyed: EmbeddedStack, room: str):
    url, messages = messages_of(keyed.gateways[0], room), [new_message(), new_message()]
    for key, message in zip((OLD_KEY, KEY), messages, strict=True):
        assert post(url, message, key)[0] == 201
        for path in ("/api/v1/rooms", f"/api/v1/rooms/{room}/roster", f"/api/v1/rooms/{room}/messages"):
            assert get(base(keyed.gateways[0]) + path, Authorization=f"Bearer {key}")[0] == 200

    log = (keyed.data_dir / "gateway-0.log").read_text()
    lines = [json.loads(line) for line in log.splitlines() if room in line]
    about = [{key: line[key] for key in ("event", "action", "by", "room", "user", "result")} for line in lines]
    assert about == [
        {"event": "moderation", "action": "publish", "by": f"key {name}", "room": room, "user": message["user_id"],
         "result": "done"}
        for name, message in zip(("backend-2025", "backend-2026"), messages, strict=True)
    ]  # fmt: skip
    assert not any(secret in log for key in (OLD_KEY, KEY) for secret in (key, entry_of("x", key)[2:]))


async def test_a_message_of_the_backend_reaches_members_and_is_stored_once_however_often_it_is_sent(
    keyed: EmbeddedStack, room: str
):
    message = new_message("Time is up & <b>bold</b> 😀")
    async with clients(*keyed.gateways) as (ann, bob):
        for client in (ann, bob):
            await client.join(room)
        answers = [
            await asyncio.to_thread(post, messages_of(keyed.gateways[turn % 2], room), message) for turn in range(3)
        ]
        received = [await ann.expect("Chat"), await bob.expect("Chat")]
        async with connected(keyed.nats_url) as bus:
            assert len(await chat_history(bus, room)) == 1

    assert [status for status, _, _ in answers] == [201, 200, 200]
    for body in [body for _, body, _ in answers] + received:
        assert body == answers[0][1]
    assert {key: answers[0][1][key] for key in message} == message


@pytest.mark.parametrize(
    ("fields", "code", "about"),
    [
        ({"content": "  "}, "chat_empty", "content"),
        ({"content": "x" * 4001}, "chat_too_long", "4001"),
        ({"user_id": "me"}, "invalid_request", "user_id"),
        ({"id": "1"}, "invalid_request", "id"),
        ({"username": ""}, "invalid_request", "username"),
        ({"username": "x" * 101}, "invalid_request", "username"),
        ({"content": "\u200b\u2800\ufe0f"}, "chat_empty", "content"),
        ({"username": "\u3164\u2060"}, "invalid_request", "username"),
        ({"content": "\ud83d"}, "invalid_request", "content: Value error, half of a surrogate pair"),
        ({"username": "Ann \ude00"}, "invalid_request", "username: half of a surrogate pair"),
        ({"id": "\ud800"}, "invalid_request", "id"),
        ({"user_id": "\ud800"}, "invalid_request", "user_id"),
    ],
)
def test_a_bad_message_is_refused_with_a_reason(
    keyed: EmbeddedStack, room: str, fields: dict[str, str], code: str, about: str
):
    status, body, _ = post(messages_of(keyed.gateways[0], room), new_message(**fields))
    assert (status, body["code"]) == (400, code)
    assert about in body["message"]


@pytest.mark.parametrize("key", [KEY, "another key", ""])
def test_a_body_larger_than_any_message_is_refused_from_any_client(keyed: EmbeddedStack, room: str, key: str):
    status, body, _ = post(messages_of(keyed.gateways[0], room), new_message("x" * 65_450), key)
    assert (status, body["code"]) == (413, "body_too_large")
    assert "65536" in body["message"]


def test_a_name_is_shown_as_a_name_in_a_token_would_be(keyed: EmbeddedStack, room: str):
    status, body, _ = post(messages_of(keyed.gateways[0], room), new_message(username=" Ann\u202e\n\U0001fa77 "))
    assert (status, body["username"]) == (201, "Ann \U0001fa77")


def test_a_message_without_an_id_gets_an_id(keyed: EmbeddedStack, room: str):
    message = new_message()
    del message["id"]
    status, body, _ = post(messages_of(keyed.gateways[0], room), message)
    assert status == 201
    assert len(body["id"]) == 36


async def test_while_nats_does_not_answer_the_outcome_is_unknown_and_sending_again_settles_it(
    own_nats: NatsServer, tmp_path: Path, room: str
):
    gateway = service(
        "gateway", tmp_path, own_nats.url, STUDYROOM_GATEWAY_API_KEYS=KEYS,
        STUDYROOM_GATEWAY_REQUEST_DEADLINE_SECONDS="1",
    )  # fmt: skip
    with running(service("provisioner", tmp_path, own_nats.url)), running(gateway):
        url, message = messages_of(gateway.url, room), new_message()
        own_nats.signal(signal.SIGSTOP)
        try:
            refusals = [await asyncio.to_thread(post, url, message), await asyncio.to_thread(get, url)]
        finally:
            own_nats.signal(signal.SIGCONT)
        for status, body, headers in refusals:
            assert (status, body["code"], headers["retry-after"]) == (503, "chat_unavailable", "1")

        async def settled() -> bool:
            return (await asyncio.to_thread(post, url, message))[0] in {200, 201}

        await eventually(settled, "the message is stored")
        _, body, _ = await asyncio.to_thread(get, url)
        assert [line["id"] for line in body["messages"]] == [message["id"]]


async def test_a_client_that_does_not_read_its_answers_is_ended_before_they_fill_the_memory(
    keyed: EmbeddedStack, room: str, tmp_path: Path
):
    gateway = service(
        "gateway", tmp_path, keyed.nats_url, STUDYROOM_GATEWAY_API_KEYS=KEYS,
        STUDYROOM_GATEWAY_REQUESTS_PER_SECOND="0", STUDYROOM_GATEWAY_WRITE_BUFFERS_MAX_BYTES=str(1024 * 1024),
        STUDYROOM_GATEWAY_CHAT_MAX_CHARS="12000", STUDYROOM_GATEWAY_BODY_MAX_BYTES="200000",
    )  # fmt: skip
    with running(gateway):
        address = messages_of(gateway.url, room)
        for _ in range(200):
            assert (await asyncio.to_thread(post, address, new_message("\N{GRINNING FACE}" * 12_000)))[0] == 201
        host, port = gateway.url.removeprefix("ws://").removesuffix("/ws").split(":")
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((host, int(port)))
            page = f"GET /api/v1/rooms/{room}/messages?limit=200 HTTP/1.1\r\nHost: {host}\r\n\r\n"
            deaf.sendall(page.encode() * 20)
            await eventually(lambda: gateway.metric("studyroom_gateway_unread_answers_total") == 1, "it is ended", 30)
        status, body = await asyncio.to_thread(http_get, f"{address}?limit=5")
        assert status == 200
        assert len(json.loads(body)["messages"]) == 5
