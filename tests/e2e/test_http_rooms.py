"""Rooms and rosters over plain HTTP, as presence knows them."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen
from uuid import UUID, uuid4

import jwt
import pytest

from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.subjects import shard_of
from tests.support.client import Client, clients
from tests.support.processes import EmbeddedStack, NatsServer, ServiceProcess, running, service
from tests.support.waiting import eventually

SECRET = "a secret for tests, long enough for HS256"
ROOMS = 260


def base(websocket_url: str) -> str:
    return websocket_url.replace("ws://", "http://").removesuffix("/ws")


def get(url: str, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, JSON body, and headers in lower case."""
    try:
        with urlopen(Request(url, headers=headers), timeout=20) as response:
            return response.status, json.load(response), {k.lower(): v for k, v in response.headers.items()}
    except HTTPError as error:
        return error.code, json.load(error), {k.lower(): v for k, v in error.headers.items()}


async def roster(gateway: str, room: str) -> dict[str, Any]:
    status, body, _ = await asyncio.to_thread(get, f"{base(gateway)}/api/v1/rooms/{room}/roster")
    assert status == 200
    return body


def test_a_room_without_members_has_an_empty_roster(stack: EmbeddedStack, room: str):
    status, body, headers = get(f"{base(stack.gateways[0])}/api/v1/rooms/{room.upper()}/roster")
    assert (status, body["room_id"], body["users"]) == (200, room, [])
    assert headers["cache-control"] == "no-store"


async def test_a_roster_has_the_members_of_all_gateways_with_their_cursors(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways) as (ann, bob):
        epoch = (await ann.join(room))["epoch"]
        await bob.join(room)
        await bob.send("CursorMove", {"x": 1.5, "y": 2, "element_id": "cell"})
        here = {"x": 1.5, "y": 2.0, "element_id": "cell"}

        async def known() -> bool:
            users = {user["user_id"]: user["cursor"] for user in (await roster(stack.gateways[0], room))["users"]}
            return users == {ann.user: None, bob.user: here}

        await eventually(known, "presence knows the cursor")
        body = await roster(stack.gateways[1], room)

    assert body["epoch"] == epoch
    assert body["revision"] > 0
    assert {user["username"] for user in body["users"]} == {"User"}


# --- the list of rooms -------------------------------------------------------------------------------------


def pages(gateway: str, limit: int) -> Iterator[list[dict[str, Any]]]:
    after = ""
    while True:
        status, body, _ = get(f"{base(gateway)}/api/v1/rooms?limit={limit}{after}")
        assert status == 200
        yield body["rooms"]
        if body["next"] is None:
            return
        after = f"&after={quote(body['next'])}"


async def test_every_room_is_on_exactly_one_page_while_others_come_and_go(stack: EmbeddedStack):
    rooms = [str(uuid4()) for _ in range(ROOMS)]
    members = await asyncio.gather(*(Client.connect(stack.gateways[index % 2]) for index in range(ROOMS)))
    await asyncio.gather(*(client.join(room) for client, room in zip(members, rooms, strict=True)))
    passing = await Client.connect(stack.gateways[0])

    async def come_and_go() -> None:
        while True:
            await passing.join(str(uuid4()))

    restless = asyncio.create_task(come_and_go())
    try:
        listed = await asyncio.to_thread(lambda: list(pages(stack.gateways[1], 100)))
    finally:
        restless.cancel()
        await asyncio.gather(restless, return_exceptions=True)
        await asyncio.gather(*(client.close() for client in (*members, passing)))
    found = [room["room_id"] for page in listed for room in page]
    assert len(found) == len(set(found))
    assert set(rooms) <= set(found)
    assert all(len(page) <= 100 for page in listed)


@pytest.mark.parametrize(
    ("path", "about"),
    [
        ("/api/v1/rooms/not-a-room/roster", "room_id"),
        ("/api/v1/rooms/*/roster", "room_id"),
        ("/api/v1/rooms?limit=0", "limit"),
        ("/api/v1/rooms?limit=1001", "limit"),
        ("/api/v1/rooms?limit=many", "limit"),
        ("/api/v1/rooms?after=somewhere", "after"),
        ("/api/v1/rooms?after=64-", "after"),
        (f"/api/v1/rooms?after=1-{UUID(int=1)}x", "after"),
    ],
)
def test_a_bad_request_is_refused_with_a_reason(stack: EmbeddedStack, path: str, about: str):
    status, body, _ = get(base(stack.gateways[0]) + path)
    assert (status, body["code"]) == (400, "invalid_request")
    assert about in body["message"]


def test_the_description_names_the_answers(stack: EmbeddedStack):
    _, api, _ = get(f"{base(stack.gateways[0])}/openapi.json")
    for path in ("/api/v1/rooms", "/api/v1/rooms/{room_id}/roster"):
        assert {"200", "400", "401", "503"} <= set(api["paths"][path]["get"]["responses"])


# --- access, and answers of presence ------------------------------------------------------------------------


@pytest.fixture
def parts(own_nats: NatsServer, tmp_path: Path) -> Iterator[tuple[ServiceProcess, list[ServiceProcess]]]:
    """A gateway without guests, and two replicas with half of the shards each."""
    gateway = service(
        "gateway",
        tmp_path,
        own_nats.url,
        STUDYROOM_GATEWAY_JWT_SECRET=SECRET,
        STUDYROOM_GATEWAY_GUESTS="false",
        STUDYROOM_GATEWAY_REQUEST_DEADLINE_SECONDS="1.5",
        STUDYROOM_GATEWAY_JOIN_DEADLINE_SECONDS="1.5",
    )
    replicas = [
        service("presence", tmp_path, own_nats.url, STUDYROOM_PRESENCE_SHARDS=shards) for shards in ("0-31", "32-63")
    ]
    provisioner = service("provisioner", tmp_path, own_nats.url)
    with running(provisioner), running(replicas[0]), running(replicas[1]), running(gateway):
        yield gateway, replicas


def token() -> str:
    return jwt.encode({"sub": str(uuid4()), "exp": int(time.time()) + 600}, SECRET, algorithm="HS256")


def room_in(shards: range) -> str:
    return next(room for room in iter(lambda: str(uuid4()), "") if shard_of(RoomId(room)) in shards)


def test_nobody_gets_an_answer_without_a_token(parts: tuple[ServiceProcess, list[ServiceProcess]], room: str):
    gateway, _ = parts
    for path in ("/api/v1/rooms", f"/api/v1/rooms/{room}/roster"):
        status, body, headers = get(base(gateway.url) + path)
        assert (status, body["code"], headers["www-authenticate"]) == (401, "unauthorized", "Bearer")
        assert get(base(gateway.url) + path, Authorization=f"Bearer {token()}")[0] == 200


async def test_replicas_of_other_shards_share_the_work_and_a_shard_nobody_serves_is_named(
    parts: tuple[ServiceProcess, list[ServiceProcess]],
):
    gateway, replicas = parts
    low, high = room_in(range(32)), room_in(range(32, 64))
    async with clients(*[gateway.url] * 3, token=token()) as (ann, bob, cem):
        for client, room in ((ann, low), (bob, high)):
            await client.join(room)
        counts = [replica.metric("studyroom_presence_rooms") for replica in replicas]
        listed = {room["room_id"] for page in [get_rooms(gateway)] for room in page["rooms"]}
        replicas[1].signal(signal.SIGKILL)
        replicas[1].wait()
        await cem.send("JoinRoom", {"room_id": high})
        refused = (await cem.next())["payload"]
        status, body, headers = await asyncio.to_thread(
            get, f"{base(gateway.url)}/api/v1/rooms/{high}/roster", Authorization=f"Bearer {token()}"
        )
        await cem.join(low)
        partial = await asyncio.to_thread(get_rooms, gateway)
        silent = gateway.metric('studyroom_gateway_presence_shards_silent{shards="32-39"}')
        replicas[0].signal(signal.SIGSTOP)
        nothing, reason, _ = await asyncio.to_thread(
            get, f"{base(gateway.url)}/api/v1/rooms", Authorization=f"Bearer {token()}"
        )
        last, rest, _ = await asyncio.to_thread(
            get, f"{base(gateway.url)}/api/v1/rooms?after=40-", Authorization=f"Bearer {token()}"
        )
        replicas[0].signal(signal.SIGCONT)
        replicas[1].start()
        replicas[1].wait_ready()
        await cem.join(high)

    assert counts == [1, 1]
    assert listed == {low, high}
    unserved = f"no presence replica serves shard {shard_of(RoomId(high))} now"
    assert refused["code"] == "presence_unavailable"
    assert unserved in refused["message"]
    assert (status, body["code"], headers["retry-after"]) == (503, "presence_unavailable", "1")
    assert body["message"] == unserved
    assert [room["room_id"] for room in partial["rooms"]] == [low]
    assert (partial["missing_shards"], partial["next"]) == (list(range(32, 64)), None)
    assert silent == 8
    assert (nothing, reason["code"]) == (503, "presence_unavailable")
    assert (last, rest["rooms"], rest["missing_shards"]) == (200, [], list(range(40, 64)))


async def test_shards_after_those_that_nobody_serves_are_listed(
    parts: tuple[ServiceProcess, list[ServiceProcess]],
):
    gateway, replicas = parts
    high = room_in(range(32, 64))
    async with clients(gateway.url, token=token()) as (ann,):
        await ann.join(high)
        replicas[0].signal(signal.SIGKILL)
        replicas[0].wait()
        listed = await asyncio.to_thread(get_rooms, gateway)
    assert listed == {
        "rooms": [{"room_id": high, "members": 1}], "next": None, "missing_shards": list(range(32))
    }  # fmt: skip


def get_rooms(gateway: ServiceProcess) -> dict[str, Any]:
    status, body, _ = get(f"{base(gateway.url)}/api/v1/rooms", Authorization=f"Bearer {token()}")
    assert status == 200
    return body
