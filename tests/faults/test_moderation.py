"""Commands of a moderator hold through every loss: of a connection to NATS, of an event, of NATS itself."""

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from nats.aio.client import Client as Nats

from studyroom.shared.contract import subjects
from tests.faults.test_lost_connections import GUARD_SECONDS, System
from tests.support.backend import SETTINGS, ask, handshake_refusal, token
from tests.support.client import Client, clients
from tests.support.presence import connected, users_in
from tests.support.processes import NatsServer, all_running, service
from tests.support.proxy import Link, Network
from tests.support.waiting import eventually

COMPARED_SECONDS = 25
"""Gateways compare their rooms with the streams every five or ten seconds, and give messages under way some time."""
BANNED = (403, "banned")

MODERATION = {"src": subjects.MODERATION_KEYS, "dest": subjects.MODERATION_EVENTS}
CHAT = {"src": subjects.CHAT_SUBJECTS, "dest": subjects.CHAT_REPUBLISH_TARGET}


@pytest.fixture
def link(own_nats: NatsServer) -> Iterator[Link]:
    network = Network()
    try:
        yield network.link(int(own_nats.url.rsplit(":", 1)[1]))
    finally:
        network.close()


@pytest.fixture
def system(own_nats: NatsServer, link: Link, tmp_path: Path) -> Iterator[System]:
    """The second gateway has its way to NATS through the link."""
    settings = {
        "STUDYROOM_PRESENCE_GUARD_SECONDS": str(GUARD_SECONDS),
        "STUDYROOM_GATEWAY_REQUEST_DEADLINE_SECONDS": "2",
        **SETTINGS,
    }
    addresses = (own_nats.url, f"nats://127.0.0.1:{link.port}")
    system = System(
        own_nats,
        [service("presence", tmp_path, own_nats.url, **settings)],
        [service("gateway", tmp_path, address, **settings) for address in addresses],
        [service("provisioner", tmp_path, own_nats.url)],
    )
    with all_running(*system.others, *system.presence, *system.gateways):
        yield system


@contextmanager
def cut(link: Link) -> Iterator[None]:
    """Nothing passes; and at the end all that was under way is lost, and the connection too."""
    link.cut()
    try:
        yield
    finally:
        link.reset()
        link.heal()


async def test_a_gateway_that_was_cut_off_does_all_that_was_ordered_meanwhile(system: System, link: Link, room: str):
    near, far = (gateway.url for gateway in system.gateways)
    removed, disconnected, banned, barred = (str(uuid4()) for _ in range(4))
    there = [await Client.connect(far, token=token(user)) for user in (removed, disconnected, banned, barred)]
    async with clients(near) as (other,):
        for client in (*there, other):
            await client.join(room)
        with cut(link):
            for method, path, body in (
                ("DELETE", f"/rooms/{room}/members/{removed}", None),
                ("POST", f"/users/{disconnected}/disconnect", None),
                ("PUT", f"/bans/{banned}", {"seconds": 600}),
                ("PUT", f"/rooms/{room}/bans/{barred}", {"seconds": 600}),
            ):
                assert (await ask(near, method, path, body)).status in {200, 204}
        assert await there[0].error() == "removed"
        assert [await client.ended() for client in there[1:3]] == [4501, 4502]
        assert await there[3].error() == "removed"
        await there[3].send("JoinRoom", {"room_id": room})
        assert await there[3].error() == "banned_from_room"
        assert await handshake_refusal(far, banned) == BANNED
        await there[0].join(room)
        await there[0].settle()
        for client in (there[0], there[3]):
            await client.close()


@pytest.mark.parametrize("again", [False, True])
async def test_a_user_removed_while_a_join_is_under_way_is_out_when_it_is_done(system: System, room: str, again: bool):
    near = system.gateways[0].url
    user = str(uuid4())
    async with clients(near, token=token(user)) as (client,), clients(near) as (other,):
        await other.join(room)
        if again:
            await client.join(room)
        system.presence[0].signal(signal.SIGSTOP)
        try:
            await client.send("JoinRoom", {"room_id": room})
            await client.settle()
            assert (await ask(near, "DELETE", f"/rooms/{room}/members/{user}")).status == 204
            await client.chat("sent while joining")
        finally:
            system.presence[0].signal(signal.SIGCONT)
        await client.expect("JoinedRoom")
        assert [await client.error(), await client.error()] == ["removed", "not_in_room"]
        assert (await other.expect("UserLeft"))["user_id"] == user
        await client.join(room)


async def test_a_user_banned_while_a_join_is_under_way_is_not_let_in(system: System, room: str):
    near = system.gateways[0].url
    user = str(uuid4())
    async with clients(near, token=token(user)) as (client,):
        system.presence[0].signal(signal.SIGSTOP)
        try:
            await client.send("JoinRoom", {"room_id": room})
            await client.settle()
            assert (await ask(near, "PUT", f"/rooms/{room}/bans/{user}", {"seconds": 600})).status == 200
        finally:
            system.presence[0].signal(signal.SIGCONT)
        assert await client.error() == "banned_from_room"
        await client.settle()
        assert "JoinedRoom" not in client.types()
        async with connected(system.nats.url) as bus:

            async def nobody() -> bool:
                return not await users_in(bus, room)

            await eventually(nobody, "no place is kept")


async def test_a_ban_that_ended_while_a_gateway_was_cut_off_holds_no_longer(system: System, link: Link):
    near, far = (gateway.url for gateway in system.gateways)
    user = str(uuid4())
    assert (await ask(near, "PUT", f"/bans/{user}", {"seconds": 2})).status == 200
    await eventually(partial(_is, BANNED, far, user), "the other gateway knows")
    with cut(link):
        await eventually(partial(_is, None, near, user), "the ban is over")
        assert await handshake_refusal(far, user) != BANNED, "a gateway that is cut off knows the time as well"
    await eventually(partial(_is, None, far, user), "the other gateway knows that too")


async def _is(expected: tuple[int, str] | None, gateway: str, user: str) -> bool:
    return await handshake_refusal(gateway, user) == expected


async def test_bans_outlive_a_restart_of_nats_and_commands_are_carried_out_once(system: System, room: str):
    near, far = (gateway.url for gateway in system.gateways)
    user, removed = str(uuid4()), str(uuid4())
    async with clients(far, token=token(removed)) as (client,):
        await client.join(room)
        assert (await ask(near, "PUT", f"/bans/{user}", {"seconds": 600})).status == 200
        assert (await ask(near, "DELETE", f"/rooms/{room}/members/{removed}")).status == 204
        assert await client.error() == "removed"
        await client.join(room)
        system.nats.signal(signal.SIGKILL)
        system.nats.wait()
        unknown = await ask(near, "DELETE", f"/bans/{user}")
        system.nats.start()
        system.nats.wait_ready()
        for gateway in system.gateways:
            gateway.wait_ready()
        # The command is still stored, and the buckets are read again.
        await eventually(partial(_answers, near, f"/bans/{user}"), "bans are read")
        await eventually(partial(_answers, far, f"/bans/{user}"), "bans are read")
        await client.settle()
        assert "Error" not in client.types()[client.types().index("Error") + 1 :]

    assert unknown.refusal == (503, "moderation_unavailable")
    assert [await handshake_refusal(gateway, user) for gateway in (near, far)] == [BANNED] * 2


async def _answers(gateway: str, path: str) -> bool:
    return (await ask(gateway, "GET", path)).status == 200


async def test_after_nats_has_lost_its_storage_commands_hold_again(system: System, room: str):
    near, far = (gateway.url for gateway in system.gateways)
    for _ in range(3):
        assert (await ask(near, "PUT", f"/bans/{uuid4()}", {"seconds": 600})).status == 200
    user = str(uuid4())
    client = await Client.connect(far, token=token(user))
    system.nats.signal(signal.SIGKILL)
    system.nats.wait()
    shutil.rmtree(system.nats.log.parent / "store")
    system.nats.start()
    system.nats.wait_ready()

    async def ordered() -> bool:
        return (await ask(near, "PUT", f"/bans/{user}", {"seconds": 600})).status == 200

    await eventually(ordered, "the bucket is there again", 30)
    assert await client.ended(COMPARED_SECONDS) == 4502
    assert [ban["user_id"] for ban in (await ask(far, "GET", "/bans")).body["bans"]] == [user]


# --- events that are lost ----------------------------------------------------------------------------------


async def republish(bus: Nats, stream: str, what: dict[str, str] | None) -> None:
    config = json.loads((await bus.request(f"$JS.API.STREAM.INFO.{stream}", timeout=5)).data)["config"]
    config.pop("republish", None)
    if what is not None:
        config["republish"] = what
    answer = await bus.request(f"$JS.API.STREAM.UPDATE.{stream}", json.dumps(config).encode(), timeout=5)
    assert "error" not in json.loads(answer.data), answer.data


async def test_a_command_whose_event_was_lost_is_carried_out_all_the_same(system: System, room: str):
    near, far = (gateway.url for gateway in system.gateways)
    user = str(uuid4())
    for process in system.others:
        process.signal(signal.SIGSTOP)
    async with clients(near, far, token=token(user)) as both, connected(system.nats.url) as bus:
        for client in both:
            await client.join(room)
        await republish(bus, subjects.MODERATION_STREAM, None)
        assert (await ask(near, "DELETE", f"/rooms/{room}/members/{user}")).status == 204
        await republish(bus, subjects.MODERATION_STREAM, MODERATION)
        assert [await client.error() for client in both] == ["removed"] * 2


async def test_members_receive_a_deletion_whose_event_was_lost_and_newcomers_do_not_get_the_message(
    system: System, room: str
):
    near, far = (gateway.url for gateway in system.gateways)
    for process in system.others:
        process.signal(signal.SIGSTOP)
    async with clients(near, far, far) as (ann, bob, cem), connected(system.nats.url) as bus:
        for client in (ann, bob):
            await client.join(room)
        await ann.chat("bad")
        received = [await client.expect("Chat") for client in (ann, bob)]
        await republish(bus, subjects.CHAT_STREAM, None)
        assert (await ask(near, "DELETE", f"/rooms/{room}/messages/{received[0]['seq']}")).status == 204
        await republish(bus, subjects.CHAT_STREAM, CHAT)
        for client in (ann, bob):
            assert (await client.expect("ChatDeleted", COMPARED_SECONDS))["deleted_seq"] == received[0]["seq"]
        assert (await cem.join(room))["history"] == 0
