"""Commands of a backend or a moderator hold on every gateway, for as long as they should."""

import asyncio
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from tests.hostile.stranger import Stranger, Target, message, request
from tests.support.backend import KEY, OLD_KEY, SETTINGS, Json, ask, handshake_refusal, token
from tests.support.client import clients
from tests.support.processes import EmbeddedStack, embedded_stack, running
from tests.support.waiting import eventually, http_get

HOUR = {"seconds": 3600, "reason": "spam & more"}


@pytest.fixture(scope="module")
def moderated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    with running(embedded_stack(tmp_path_factory.mktemp("moderated"), gateways=2, presence=1, **SETTINGS)) as stack:
        yield stack


async def members(gateway: str, room: str) -> set[str]:
    roster = await ask(gateway, "GET", f"/rooms/{room}/roster")
    return {user["user_id"] for user in roster.body["users"]}


async def restart_gateway(stack: EmbeddedStack, index: int) -> None:
    before = stack.of("gateway")[index]
    os.kill(before["pid"], signal.SIGKILL)

    def is_back() -> bool:
        now = stack.of("gateway")[index]
        return now["pid"] != before["pid"] and http_get(f"{now['admin_url']}/readyz")[0] == 200

    await eventually(is_back, "the gateway is there again", 30)


def audited(stack: EmbeddedStack, user: str) -> list[Json]:
    found: list[Json] = []
    for index in range(2):
        for line in (stack.data_dir / f"gateway-{index}.log").read_text().splitlines():
            with suppress(json.JSONDecodeError):
                entry = json.loads(line)
                if entry.get("event") == "moderation" and entry.get("user") == user:
                    found.append(entry)
    return sorted(found, key=lambda entry: str(entry["timestamp"]))


# --- out of a room -----------------------------------------------------------------------------------------


async def test_a_removed_user_leaves_with_every_connection_at_once_and_may_come_back(
    moderated: EmbeddedStack, room: str
):
    here, there = moderated.gateways
    bad = str(uuid4())
    async with clients(here, there, token=token(bad)) as bads, clients(here, there) as others:
        for client in (*bads, *others):
            await client.join(room)
        answers = [await ask(gateway, "DELETE", f"/rooms/{room}/members/{bad}") for gateway in (here, there)]
        assert [answer.status for answer in answers] == [204, 204]
        for other in others:
            assert (await other.expect("UserLeft"))["user_id"] == bad
        for client in bads:
            assert await client.error() == "removed"
            await client.chat("still here?")
            assert await client.error() == "not_in_room"
        assert bad not in await members(here, room)

        await bads[0].join(room)
        assert (await others[1].expect("UserJoined"))["user"]["user_id"] == bad
    assert [(line["action"], line["by"], line["result"]) for line in audited(moderated, bad)] == [
        ("remove_member", "key backend-2026", "done")
    ] * 2


async def test_a_removal_touches_no_other_user_and_no_other_room(moderated: EmbeddedStack, room: str):
    here, there = moderated.gateways
    user, other_room = str(uuid4()), str(uuid4())
    async with clients(here, there, token=token(user)) as (elsewhere, inside), clients(there) as (other,):
        await elsewhere.join(other_room)
        await inside.join(room)
        await other.join(room)
        assert (await ask(here, "DELETE", f"/rooms/{room}/members/{user}")).status == 204
        assert await inside.error() == "removed"
        await other.chat("still here")
        await elsewhere.chat("me too")
        for client in (other, elsewhere):
            await client.expect("Chat")


# --- away --------------------------------------------------------------------------------------------------


async def test_a_disconnected_user_is_asked_to_stay_away_and_leaves_at_once(moderated: EmbeddedStack, room: str):
    here, there = moderated.gateways
    user = str(uuid4())
    async with clients(here, there, token=token(user)) as bads, clients(there) as (other,):
        for client in (*bads, other):
            await client.join(room)
        assert (await ask(here, "POST", f"/users/{user}/disconnect")).status == 204
        assert [await client.ended() for client in bads] == [4501, 4501]
        assert (await other.expect("UserLeft"))["user_id"] == user
        assert (await ask(there, "POST", f"/users/{user}/disconnect")).status == 204
    assert await handshake_refusal(here, user) is None


async def test_a_user_disconnected_while_a_join_is_under_way_does_not_stay_and_sends_nothing(
    moderated: EmbeddedStack, room: str
):
    gateway, user = moderated.gateways[0], str(uuid4())
    replica = moderated.of("presence")[0]["pid"]

    def joins() -> float:
        metrics = http_get(f"{moderated.of('gateway')[0]['admin_url']}/metrics")[1]
        counts = re.findall(r"^studyroom_gateway_join_duration_seconds_count\S* (\S+)$", metrics, re.MULTILINE)
        return sum(map(float, counts))

    async with clients(gateway) as (other,):
        await other.join(room)
        before = joins()
        # One that does not answer the close either.
        async with Stranger.upgraded(Target.of(gateway), path=f"/ws?access_token={token(user)}") as stranger:
            os.kill(replica, signal.SIGSTOP)
            try:
                await stranger.send(message("JoinRoom", {"room_id": room}))
                await stranger.send(message("Chat", {"content": "too late"}) + message("Ping"))
                await stranger.expect("Pong")
                assert (await ask(gateway, "POST", f"/users/{user}/disconnect")).status == 204
            finally:
                os.kill(replica, signal.SIGCONT)
            await eventually(lambda: joins() > before, "the join has ended")
            assert (await other.expect("UserLeft"))["user_id"] == user
            await other.chat("still here")
            await other.expect("Chat")
            assert [line["payload"]["content"] for line in other.log if line["type"] == "Chat"] == ["still here"]
            assert await members(gateway, room) == {other.user}


async def test_a_ban_closes_and_refuses_on_every_gateway_and_after_a_restart_until_it_is_lifted(
    moderated: EmbeddedStack, room: str
):
    here, there = moderated.gateways
    user = str(uuid4())
    async with clients(here, there, token=token(user)) as bads, clients(there) as (other,):
        for client in (*bads, other):
            await client.join(room)
        banned = await ask(here, "PUT", f"/bans/{user}", HOUR, bearer=OLD_KEY)
        assert [await client.ended() for client in bads] == [4502, 4502]
        assert (await other.expect("UserLeft"))["user_id"] == user
    expected = {"user_id": user, "room_id": None, **HOUR, "by": "key backend-2025", "until": banned.body["until"]}
    assert (banned.status, banned.body) == (200, expected)

    await restart_gateway(moderated, 1)
    for gateway in (here, there):
        await eventually(partial(refused, gateway, user), "every gateway knows")
        assert (await ask(gateway, "GET", f"/bans/{user}")).body == expected
        assert (await ask(gateway, "GET", f"/rooms/{room}/messages", bearer=token(user))).refusal == (403, "banned")
        listed = (await ask(gateway, "GET", "/bans?limit=1000")).body
        assert expected in listed["bans"]

    for _ in range(2):
        assert (await ask(there, "DELETE", f"/bans/{user}")).status == 204
    assert (await ask(here, "GET", f"/bans/{user}")).refusal == (404, "not_found")
    for gateway in (here, there):
        assert await handshake_refusal(gateway, user) is None


async def refused(gateway: str, user: str) -> bool:
    return await handshake_refusal(gateway, user) == (403, "banned")


async def test_a_ban_ends_when_its_time_is_over(moderated: EmbeddedStack):
    user = str(uuid4())
    assert (await ask(moderated.gateways[0], "PUT", f"/bans/{user}", {"seconds": 1})).status == 200
    for gateway in moderated.gateways:

        async def is_in(gateway: str = gateway) -> bool:
            return await handshake_refusal(gateway, user) is None

        await eventually(is_in, "the ban has ended")


async def test_a_ban_from_a_room_holds_in_that_room_only(moderated: EmbeddedStack, room: str):
    here, there = moderated.gateways
    user, other_room = str(uuid4()), str(uuid4())
    async with clients(here, there, token=token(user)) as (bad, late), clients(there) as (other,):
        await bad.join(room)
        await other.join(room)
        path = f"/rooms/{room}/bans/{user}"
        for gateway in (there, here):
            assert (await ask(gateway, "PUT", path, HOUR)).body["room_id"] == room
        assert await bad.error() == "removed"
        assert (await other.expect("UserLeft"))["user_id"] == user
        for client in (bad, late):
            await client.send("JoinRoom", {"room_id": room})
            assert await client.error() == "banned_from_room"
            await client.join(other_room)
        assert (await ask(there, "GET", f"/rooms/{room}/roster", bearer=token(user))).refusal == (
            403,
            "banned_from_room",
        )
        assert (await ask(here, "GET", f"/rooms/{other_room}/roster", bearer=token(user))).status == 200
        assert [ban["user_id"] for ban in (await ask(there, "GET", f"/rooms/{room}/bans")).body["bans"]] == [user]

        assert (await ask(there, "DELETE", path)).status == 204
        assert (await ask(here, "GET", path)).refusal == (404, "not_found")
        for client in (bad, late):
            await client.join(room)


async def test_bans_are_listed_in_pages(moderated: EmbeddedStack, room: str):
    users = sorted(str(uuid4()) for _ in range(5))
    for user in users:
        assert (await ask(moderated.gateways[0], "PUT", f"/rooms/{room}/bans/{user}", HOUR)).status == 200
    found, after = [], ""
    while True:
        page = (await ask(moderated.gateways[1], "GET", f"/rooms/{room}/bans?limit=2{after}")).body
        found += [ban["user_id"] for ban in page["bans"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == users


# --- rights ------------------------------------------------------------------------------------------------


def requests(room: str, user: str) -> list[tuple[str, str, Json | None]]:
    """Those that a moderator of the room may make, and those that only a backend may."""
    return [
        ("DELETE", f"/rooms/{room}/members/{user}", None),
        ("PUT", f"/rooms/{room}/bans/{user}", HOUR),
        ("GET", f"/rooms/{room}/bans/{user}", None),
        ("GET", f"/rooms/{room}/bans", None),
        ("DELETE", f"/rooms/{room}/bans/{user}", None),
        ("POST", f"/users/{user}/disconnect", None),
        ("PUT", f"/bans/{user}", HOUR),
        ("GET", f"/bans/{user}", None),
        ("GET", "/bans", None),
        ("DELETE", f"/bans/{user}", None),
    ]


async def statuses(gateway: str, room: str, user: str, bearer: str) -> list[int]:
    return [
        (await ask(gateway, method, path, body, bearer=bearer)).status for method, path, body in requests(room, user)
    ]


@pytest.mark.parametrize(
    ("bearer", "in_the_room", "everywhere"),
    [
        (KEY, [204, 200, 200, 200, 204], [204, 200, 200, 200, 204]),
        (OLD_KEY, [204, 200, 200, 200, 204], [204, 200, 200, 200, 204]),
        ("wrong", [401] * 5, [401] * 5),
        ("", [403] * 5, [401] * 5),
        ({}, [403] * 5, [401] * 5),
        ({"role": "admin"}, [403] * 5, [401] * 5),
        ({"role": ["moderator"]}, [403] * 5, [401] * 5),
        ({"role": "moderator", "rooms": [str(uuid4())]}, [403] * 5, [401] * 5),
        ({"role": "moderator", "rooms": "this one"}, [204, 200, 200, 200, 204], [401] * 5),
        ({"role": "moderator"}, [204, 200, 200, 200, 204], [401] * 5),
    ],
)
async def test_a_backend_may_everywhere_and_a_moderator_in_the_rooms_of_the_token(
    moderated: EmbeddedStack, room: str, bearer: Any, in_the_room: list[int], everywhere: list[int]
):
    if isinstance(bearer, dict):
        claims = {**bearer, "rooms": [room]} if bearer.get("rooms") == "this one" else bearer
        bearer = token(**claims)
    user = str(uuid4())
    assert await statuses(moderated.gateways[0], room, user, bearer) == in_the_room + everywhere


async def test_a_moderator_who_is_banned_no_longer_moderates(moderated: EmbeddedStack, room: str):
    here, there = moderated.gateways
    moderator = str(uuid4())
    bearer = token(moderator, role="moderator")
    path = f"/rooms/{room}/bans/{moderator}"
    assert (await ask(here, "PUT", path, HOUR)).status == 200

    async def is_refused() -> bool:
        return (await ask(there, "DELETE", path, bearer=bearer)).status == 403

    await eventually(is_refused, "the other gateway knows")
    assert (await ask(there, "DELETE", path, bearer=bearer)).refusal == (403, "banned_from_room")
    assert (await ask(here, "GET", path)).status == 200


async def test_the_log_names_each_command_with_its_moderator_user_and_outcome(moderated: EmbeddedStack, room: str):
    here = moderated.gateways[0]
    user, moderator = str(uuid4()), str(uuid4())
    path = f"/rooms/{room}/bans/{user}"
    await ask(here, "PUT", path, HOUR, bearer=token(moderator, role="moderator", rooms=[room]))
    await ask(here, "DELETE", path, bearer=token(moderator))
    await ask(here, "DELETE", path, bearer="")  # guests are anybody: not in the log
    await ask(here, "DELETE", f"/bans/{user}")

    lines = [
        {key: line.get(key) for key in ("action", "by", "room", "seconds", "reason", "result")}
        for line in audited(moderated, user)
    ]
    nothing = {"seconds": None, "reason": None}
    assert lines == [
        {"action": "ban", "by": f"user {moderator}", "room": room, **HOUR, "result": "done"},
        {"action": "unban", "by": f"user {moderator}", "room": room, **nothing, "result": "refused"},
        {"action": "unban", "by": "key backend-2026", "room": None, **nothing, "result": "done"},
    ]


@pytest.mark.parametrize(
    ("body", "about"),
    [
        ({}, "seconds"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": 10**9}, "seconds"),
        ({"seconds": 1, "reason": "x" * 201}, "reason"),
        ({"seconds": 1, "reason": "two\nlines"}, "reason"),
        ({"seconds": 1, "reason": "two\u2028lines"}, "reason"),
        ({"seconds": 1, "reason": "half \ud800"}, "reason: half of a surrogate pair"),
    ],
)
async def test_a_ban_that_makes_no_sense_is_refused_with_a_reason(moderated: EmbeddedStack, body: Json, about: str):
    answer = await ask(moderated.gateways[0], "PUT", f"/bans/{uuid4()}", body)
    assert answer.refusal == (400, "invalid_request")
    assert about in answer.body["message"]
    assert (await ask(moderated.gateways[0], "PUT", "/bans/me", HOUR)).refusal == (400, "invalid_request")


@pytest.mark.parametrize("body", [b'{"seconds": 5, "reason": "\xff"}', b"[" * 20_000, b"{", b""])
async def test_a_body_other_than_json_is_refused_with_a_reason(moderated: EmbeddedStack, body: bytes):
    host, port = moderated.gateways[0].removeprefix("ws://").removesuffix("/ws").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = request(
        f"/api/v1/bans/{uuid4()}", f"Authorization: Bearer {KEY}", "Content-Type: application/json",
        f"Content-Length: {len(body)}", "Connection: close", method="PUT",
    )  # fmt: skip
    writer.write(head + body)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "invalid_request"


def test_the_description_has_every_request_and_its_requirements(moderated: EmbeddedStack):
    address = moderated.gateways[0].replace("ws://", "http://").removesuffix("/ws")
    api = json.loads(http_get(f"{address}/openapi.json")[1])
    for method, path, _ in requests("{room_id}", "{user_id}"):
        described = api["paths"][f"/api/v1{path}"][method.lower()]
        assert {"API key": []} in described["security"]
        assert ({"access token": []} in described["security"]) == path.startswith("/rooms/")
        assert {"400", "401", "403", "503"} <= set(described["responses"])
        assert described["summary"]
