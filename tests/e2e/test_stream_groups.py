"""The shards in four groups of streams, with the users and permissions of production."""

import asyncio
import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import nats
import pytest
from nats.aio.client import Client as Nats

from studyroom.shared.contract import subjects
from studyroom.shared.contract.groups import Group
from studyroom.shared.contract.ids import RoomId
from tests.support.accounts import options_of, user_of
from tests.support.backend import SETTINGS as BACKEND
from tests.support.client import Client, clients
from tests.support.processes import NatsServer, ServiceProcess, all_running, deployed_nats_server, running, service
from tests.support.tokens import SECRET, token_of
from tests.support.waiting import eventually, wait_until

GROUPS = 4
SETTINGS = {
    "STUDYROOM_STORAGE_GROUPS": str(GROUPS),
    "STUDYROOM_STORAGE_CREATE": "missing",
    "STUDYROOM_PRESENCE_GRACE_SECONDS": "2",
    "STUDYROOM_GATEWAY_JWT_SECRET": SECRET,
    **BACKEND,
}
SOON_SECONDS = 5.0


@dataclass
class System:
    nats: NatsServer
    presence: list[ServiceProcess]
    gateways: list[ServiceProcess]

    @property
    def urls(self) -> tuple[str, str]:
        return self.gateways[0].url, self.gateways[1].url


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """With a replica for some shards of each group, and one for the others."""
    directory = tmp_path_factory.mktemp("groups")
    with running(deployed_nats_server(directory)) as server:
        presence = [
            service(
                "presence",
                directory,
                server.url,
                **SETTINGS,
                **user_of("presence"),
                STUDYROOM_PRESENCE_SHARDS=shards,
            )
            for shards in ("0-30", "31-63")
        ]
        gateways = [service("gateway", directory, server.url, **SETTINGS, **user_of("gateway")) for _ in range(2)]
        provisioner = service("provisioner", directory, server.url, **SETTINGS, **user_of("provisioner"))
        with all_running(provisioner, *presence, *gateways):
            yield System(server, presence, gateways)


def room_of(group: int) -> str:
    while subjects.shard_of(RoomId(room := str(uuid4()))) % GROUPS != group:
        continue
    return room


async def operator(system: System) -> Nats:
    return await nats.connect(system.nats.url, **options_of("operator"))


async def info(person: Nats, stream: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((await person.request(f"$JS.API.STREAM.INFO.{stream}", timeout=5)).data)
    return answer


async def test_rooms_of_every_group_work_across_gateways_and_resume(system: System):
    for group in range(GROUPS):
        room = room_of(group)
        async with clients(*system.urls) as (ann, bob):
            joined = await ann.join(room)
            await bob.join(room)
            assert (await ann.expect("UserJoined"))["user"]["user_id"] == bob.user
            await ann.chat("hello")
            received = await bob.expect("Chat")
            await bob.drop()
            await ann.chat("are you there?")
            missed = await ann.expect("Chat")
            while missed["content"] == "hello":
                missed = await ann.expect("Chat")
            async with clients(system.urls[0]) as (back,):
                await back.send("JoinRoom", {"room_id": room, "since": received["seq"], "epoch": joined["epoch"]})
                assert (await back.expect("JoinedRoom"))["recovered"] is True
                assert await back.expect("Chat") == missed
    person = await operator(system)
    for stream in subjects.chat_streams(GROUPS):
        assert (await info(person, stream))["state"]["messages"] >= 2
    await person.close()


async def test_a_lost_connection_is_a_leave_after_the_grace_period_in_every_group(system: System):
    for group in range(GROUPS):
        room = room_of(group)
        async with clients(*system.urls) as (ann, bob):
            await ann.join(room)
            await bob.join(room)
            await ann.expect("UserJoined")
            await bob.drop()
            assert (await ann.expect("UserLeft"))["user_id"] == bob.user


async def test_the_list_of_rooms_goes_through_all_groups(system: System):
    rooms = [room_of(group) for group in range(GROUPS) for _ in range(3)]
    members = [await Client.connect(system.urls[0]) for _ in rooms]
    for member, room in zip(members, rooms, strict=True):
        await member.join(room)
    base = system.urls[0].replace("ws://", "http://").removesuffix("/ws")
    found, after = [], ""
    while True:
        page = await asyncio.to_thread(got, f"{base}/api/v1/rooms?limit=5{after}")
        assert page["missing_shards"] == []
        found += [room["room_id"] for room in page["rooms"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert len(found) == len(set(found))
    assert set(rooms) <= set(found)
    for member in members:
        await member.close()


def got(url: str) -> Any:
    request = Request(url, headers={"Authorization": f"Bearer {token_of(str(uuid4()))}"})
    with urlopen(request, timeout=SOON_SECONDS) as response:
        return json.load(response)


async def test_a_group_that_loses_its_chat_resets_its_own_rooms_and_no_others(system: System):
    person = await operator(system)
    rooms = [room_of(group) for group in range(GROUPS)]
    members = [await Client.connect(system.urls[group % 2]) for group in range(GROUPS)]
    epochs = []
    for member, room in zip(members, rooms, strict=True):
        epochs.append((await member.join(room))["epoch"])
        await member.chat("before")
        await member.expect("Chat")
    lost = 2
    await person.request(f"$JS.API.STREAM.DELETE.{Group(lost, GROUPS).chat_stream}", timeout=5)
    reset = await members[lost].expect("ChatReset", 30)
    assert reset["epoch"] != epochs[lost]
    for member in members:
        await member.chat("after")
        assert (await member.expect("Chat"))["content"] == "after"
    for group, member in enumerate(members):
        assert bool(member.payloads("ChatReset")) is (group == lost)
        assert not member.payloads("UserLeft")
        await member.close()
    await person.close()


async def test_a_group_that_loses_its_members_gets_them_back_and_no_other_room_notices(system: System):
    person = await operator(system)
    rooms = [room_of(group) for group in range(GROUPS)]
    pairs = [(await Client.connect(system.urls[0]), await Client.connect(system.urls[1])) for _ in rooms]
    for (ann, bob), room in zip(pairs, rooms, strict=True):
        await ann.join(room)
        await bob.join(room)
        await ann.expect("UserJoined")
    lost = 1
    stream = Group(lost, GROUPS).presence_stream
    await person.request(f"$JS.API.STREAM.DELETE.{stream}", timeout=5)
    await pairs[lost][0].expect("ChatReset", 40)

    async def restored() -> bool:
        state = (await info(person, stream)).get("state", {})
        return bool(state.get("messages", 0) >= 2)

    await eventually(restored, "the members are restored", 40)
    for group, (ann, bob) in enumerate(pairs):
        await bob.leave()
        assert (await ann.expect("UserLeft", 30))["user_id"] == bob.user
        assert bool(ann.payloads("ChatReset")) is (group == lost)
        assert len(ann.payloads("UserLeft")) == 1
        await ann.close()
        await bob.close()
    await person.close()


async def test_a_dead_gateway_leaves_no_member_behind_in_any_group(system: System, tmp_path: Path):
    doomed = service("gateway", tmp_path, system.nats.url, **SETTINGS, **user_of("gateway"))
    doomed.start()
    doomed.wait_ready()
    rooms = [room_of(group) for group in range(GROUPS)]
    watchers = [await Client.connect(system.urls[0]) for _ in rooms]
    ghosts = [await Client.connect(doomed.url) for _ in rooms]
    for watcher, ghost, room in zip(watchers, ghosts, rooms, strict=True):
        await watcher.join(room)
        await ghost.join(room)
        await watcher.expect("UserJoined")
    doomed.signal(signal.SIGKILL)
    doomed.wait()
    for watcher, ghost in zip(watchers, ghosts, strict=True):
        assert (await watcher.expect("UserLeft", 20))["user_id"] == ghost.user
        await watcher.close()


@pytest.mark.parametrize("name", ["gateway", "presence"])
def test_a_service_with_another_number_of_groups_does_not_start(system: System, tmp_path: Path, name: str):
    other = service(name, tmp_path, system.nats.url, **{**SETTINGS, "STUDYROOM_STORAGE_GROUPS": "2"}, **user_of(name))
    other.start()
    assert other.wait() == 2
    assert "STUDYROOM_STORAGE_GROUPS is 2 here, and the streams were made with 4" in other.output()


def test_a_provisioner_with_another_number_of_groups_waits_for_an_operator(system: System, tmp_path: Path):
    settings = {**SETTINGS, "STUDYROOM_STORAGE_GROUPS": "1"}
    other = service("provisioner", tmp_path, system.nats.url, **settings, **user_of("provisioner"))
    other.start()
    try:
        wait_until(lambda: "Stop all gateways and presence first" in other.output(), "it says what to do")
    finally:
        other.stop()
