"""A gateway of several workers gives handshakes to the worker at which their room lives, and loses none."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import websockets

from tests.support.client import Client, clients
from tests.support.frames import frame_bytes
from tests.support.processes import EmbeddedStack, ServiceProcess, gateway_workers, running
from tests.support.waiting import eventually, http_get, wait_until
from tests.support.workers import Start, home, logged, of_each, pids, starting

WORKERS = 4
CONNECTIONS = "studyroom_gateway_connections"
ROOMS = "studyroom_gateway_rooms"
PING = frame_bytes(1, b'{"type":"Ping"}')


@pytest.fixture(scope="module")
def gateway(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """For tests that leave all workers as they were."""
    with running(gateway_workers(WORKERS, tmp_path_factory.mktemp("workers"), stack.nats_url)) as ready:
        yield ready


@pytest.fixture
def start(stack: EmbeddedStack, tmp_path: Path) -> Iterator[Start]:
    """Start a gateway of four workers; settings as keyword arguments."""
    with starting(tmp_path, stack.nats_url) as start:
        yield partial(start, WORKERS)


def handovers(gateway: ServiceProcess, outcome: str) -> int:
    """Handovers of all workers."""
    return sum(of_each(gateway, f'studyroom_gateway_handovers_total{{outcome="{outcome}"}}'))


def room_of(worker: int) -> str:
    """A new room that lives at this worker."""
    return next(room for room in iter(lambda: str(uuid4()), "") if home(room, WORKERS) == worker)


def address(gateway: ServiceProcess, room: str) -> str:
    return f"{gateway.url}?room={room}"


async def members(gateway: ServiceProcess, room: str, count: int) -> list[Client]:
    """Connected at the same time."""
    return list(await asyncio.gather(*(Client.connect(address(gateway, room)) for _ in range(count))))


async def end(*gone: Client) -> None:
    for client in gone:
        with suppress(Exception):
            await client.close()


def is_empty(gateway: ServiceProcess) -> bool:
    return not any(of_each(gateway, CONNECTIONS))


async def until_handed_over(gateway: ServiceProcess, attempt: Callable[[], None], outcome: str = "taken") -> None:
    """Try until a worker other than the home of the room has accepted, because the kernel chooses the worker."""
    before = handovers(gateway, outcome)

    async def again() -> bool:
        await asyncio.to_thread(attempt)
        return handovers(gateway, outcome) > before

    await eventually(again, "a handshake was handed over", 60)


def connect(gateway: ServiceProcess) -> socket.socket:
    at = urlsplit(gateway.url)
    connected = socket.create_connection((at.hostname, at.port), 10)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def head(gateway: ServiceProcess, path: str) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1", f"Host: {urlsplit(gateway.url).netloc}", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


def read_until(connected: socket.socket, wanted: bytes) -> bytes:
    data = b""
    while wanted not in data:
        more = connected.recv(4096)
        assert more, data
        data += more
    return data


# --- where clients get -------------------------------------------------------------------------------------


async def test_members_who_name_their_room_are_on_one_worker(gateway: ServiceProcess):
    rooms = [room_of(worker) for worker in range(WORKERS) for _ in range(2)]
    given = handovers(gateway, "given")
    everyone = [await members(gateway, room, 6) for room in rooms]
    for room, together in zip(rooms, everyone, strict=True):
        for client in together:
            await client.join(room)
    at = of_each(gateway, CONNECTIONS), of_each(gateway, ROOMS)
    first, *others = everyone[0]
    await first.chat("hello")
    received = [(await client.expect("Chat"))["content"] for client in others]
    await end(*(client for together in everyone for client in together))

    assert at == ([12] * WORKERS, [2] * WORKERS)
    assert received == ["hello"] * 5
    assert handovers(gateway, "given") > given


async def test_a_room_in_capitals_is_the_same_room(gateway: ServiceProcess):
    async with clients(*(address(gateway, name) for name in [room_of(2), room_of(2).upper()] * 5)):
        at = of_each(gateway, CONNECTIONS)

    assert at == [0, 0, 10, 0]


@pytest.mark.parametrize("query", ["", "?room=", "?room=lobby", "?room=550e8400-e29b-41d4-a716-44665544000%00"])
async def test_without_a_valid_room_the_worker_that_accepts_serves(gateway: ServiceProcess, query: str):
    before = handovers(gateway, "given")
    async with clients(*[gateway.url + query] * 12):
        at = of_each(gateway, CONNECTIONS)

    assert sum(at) == 12
    assert handovers(gateway, "given") == before


def test_plain_requests_are_served_where_they_come(gateway: ServiceProcess):
    before = handovers(gateway, "given")
    url = gateway.url.replace("ws://", "http://").removesuffix("/ws")
    answers = [http_get(f"{url}/health?room={room_of(worker)}")[0] for worker in range(WORKERS) for _ in range(3)]

    assert set(answers) == {200}
    assert handovers(gateway, "given") == before


# --- forms of a handshake ----------------------------------------------------------------------------------


async def test_a_head_in_pieces_and_frames_right_after_it_arrive_whole_and_in_order(gateway: ServiceProcess):
    frames = PING + frame_bytes(1, json.dumps({"type": "Chat", "payload": {"content": "too soon"}}).encode()) + PING

    def attempt() -> None:
        whole = head(gateway, f"/ws?room={room_of(1)}") + frames
        with connect(gateway) as connected:
            for at in range(0, len(whole), 60):
                connected.sendall(whole[at : at + 60])
            answers = read_until(connected, b"not_in_room")
            answers += read_until(connected, b'"Pong"') if answers.count(b'"Pong"') < 2 else b""
            assert answers.index(b"Welcome") < answers.index(b'"Pong"') < answers.index(b"not_in_room")
            assert answers.count(b'"Pong"') == 2

    await until_handed_over(gateway, attempt)


async def test_a_socket_that_served_a_plain_request_before_can_be_handed_over(gateway: ServiceProcess):
    def attempt() -> None:
        with connect(gateway) as connected:
            connected.sendall(f"GET /health HTTP/1.1\r\nHost: {urlsplit(gateway.url).netloc}\r\n\r\n".encode())
            read_until(connected, b"200 OK")
            connected.sendall(head(gateway, f"/ws?room={room_of(3)}"))
            read_until(connected, b"Welcome")

    await until_handed_over(gateway, attempt)


async def test_a_head_that_is_too_long_to_hand_over_is_served_where_it_comes(gateway: ServiceProcess):
    def attempt() -> None:
        # Each of these characters takes six bytes on the way to the home.
        long = b"X-Long: " + b"\xe9" * 20_000 + b"\r\n\r\n"
        with connect(gateway) as connected:
            connected.sendall(head(gateway, f"/ws?room={room_of(0)}").removesuffix(b"\r\n") + long)
            read_until(connected, b"Welcome")

    await until_handed_over(gateway, attempt, "kept")


async def test_the_home_answers_a_handshake_that_it_refuses(gateway: ServiceProcess):
    def attempt() -> None:
        with connect(gateway) as connected:
            connected.sendall(head(gateway, f"/ws?room={room_of(2)}&access_token=a.b.c"))
            answer = b""
            while more := connected.recv(4096):
                answer += more
            assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "unauthorized"

    await until_handed_over(gateway, attempt)


async def test_a_client_that_leaves_during_its_handshake_leaves_nothing_behind(gateway: ServiceProcess):
    def attempt() -> None:
        with connect(gateway) as connected:
            connected.sendall(head(gateway, f"/ws?room={room_of(1)}"))

    await until_handed_over(gateway, attempt)
    await eventually(lambda: is_empty(gateway), "all connections are gone")


# --- limits, and traces ------------------------------------------------------------------------------------


async def test_limits_count_at_the_home(start: Start):
    gateway = start(STUDYROOM_GATEWAY_ADDRESS_CONNECTIONS_MAX="3")
    room = room_of(1)
    async with clients(*[address(gateway, room)] * 3):
        for _ in range(6):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(address(gateway, room))
            assert refused.value.response.status_code == 429
        async with clients(*[address(gateway, room_of(2))] * 3):
            at = of_each(gateway, CONNECTIONS)

    assert at == [0, 3, 3, 0]


async def test_clients_of_a_full_worker_meet_on_the_next_worker(start: Start):
    gateway = start(STUDYROOM_GATEWAY_CONNECTIONS_MAX="4")
    room = room_of(1)
    async with clients(*[address(gateway, room)] * 8):
        at = of_each(gateway, CONNECTIONS)

    assert (at[1], at[home(room, WORKERS, without=1)]) == (4, 4)


async def test_descriptors_are_the_same_after_all_clients_have_gone(gateway: ServiceProcess):
    def open_files() -> list[int]:
        return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids(gateway)]

    await end(*await members(gateway, str(uuid4()), 8))
    await eventually(lambda: is_empty(gateway), "all connections are gone")
    before = open_files()
    for _ in range(10):
        await end(*await members(gateway, str(uuid4()), 10))
    with suppress(websockets.InvalidStatus):
        await websockets.connect(f"{address(gateway, str(uuid4()))}&access_token=a.b.c")
    # A file may have been open for a moment only when they were counted first.
    await eventually(
        lambda: all(now <= then for now, then in zip(open_files(), before, strict=True)), "no file is left open"
    )

    assert handovers(gateway, "given") == handovers(gateway, "taken")
    assert handovers(gateway, "taken_back") == 0


# --- workers that go ---------------------------------------------------------------------------------------


async def test_clients_that_come_before_the_workers_are_ready_all_get_in(stack: EmbeddedStack, tmp_path: Path):
    gateway = gateway_workers(WORKERS, tmp_path, stack.nats_url)
    gateway.start()
    try:
        await eventually(lambda: logged(gateway, "worker started"), "the port is open")
        together = [await members(gateway, room_of(worker), 5) for worker in range(WORKERS)]
        await asyncio.to_thread(gateway.wait_ready)
        at = of_each(gateway, CONNECTIONS)
        await end(*(client for room in together for client in room))
        given, taken = handovers(gateway, "given"), handovers(gateway, "taken")
        taken_back = handovers(gateway, "taken_back")
    finally:
        gateway.stop()

    assert sum(at) == 5 * WORKERS
    assert given == taken + taken_back


async def test_a_killed_worker_costs_only_its_own_rooms_their_connections(start: Start):
    gateway = start()
    lost, kept = room_of(0), room_of(1)
    gone, stay = await members(gateway, lost, 4), await members(gateway, kept, 4)
    for client in stay:
        await client.join(kept)
    os.kill(pids(gateway)[0], signal.SIGKILL)
    assert [await client.ended() for client in gone] == [1006] * 4
    await eventually(lambda: len(logged(gateway, "worker ended, starting it again")) == 1, "the supervisor knows")
    back = await members(gateway, lost, 6)
    for client in back:
        await client.join(lost)
    await asyncio.to_thread(gateway.wait_ready)
    at = of_each(gateway, CONNECTIONS)
    later = await members(gateway, lost, 5)
    at_last = of_each(gateway, CONNECTIONS)
    for client in stay:
        await client.settle()
    await end(*back, *stay, *later)

    meanwhile = home(lost, WORKERS, without=0)
    assert (at[0], at[meanwhile]) == (0, 6 + 4 * (meanwhile == 1))
    assert at_last[0] == 5, "the room is at home again for new connections"


async def test_a_worker_that_stands_still_loses_no_handshake(start: Start):
    gateway = start()
    room = room_of(2)
    frozen = pids(gateway)[2]
    os.kill(frozen, signal.SIGSTOP)
    together = await members(gateway, room, 8)
    at_once = await members(gateway, room, 4)
    at = [round(gateway.metric(CONNECTIONS, worker)) if worker != 2 else 0 for worker in range(WORKERS)]
    os.kill(frozen, signal.SIGCONT)
    joined = [await client.join(room) for client in (*together, *at_once)]

    async def is_home_again() -> bool:
        before = gateway.metric(CONNECTIONS, 2)
        client = await Client.connect(address(gateway, room))
        is_home = gateway.metric(CONNECTIONS, 2) > before
        await client.close()
        return is_home

    await eventually(is_home_again, "the room is at home again")
    await end(*together, *at_once)

    assert at[home(room, WORKERS, without=2)] == 12
    assert len(joined[-1]["users"]) == 12
    assert len(logged(gateway, "a worker did not take its sockets, so others serve them")) >= 1
    assert handovers(gateway, "taken_back") >= 1
    assert handovers(gateway, "given") == handovers(gateway, "taken") + handovers(gateway, "taken_back")


async def test_a_worker_that_drains_refuses_nobody_whose_room_lives_there(start: Start):
    gateway = start(STUDYROOM_GATEWAY_CLOSE_TIMEOUT_SECONDS="5")
    room = room_of(3)
    connected = await asyncio.to_thread(connect, gateway)
    connected.sendall(head(gateway, f"/ws?room={room}"))
    read_until(connected, b"Welcome")  # and answers no close frame, so that the drain takes its time
    os.kill(pids(gateway)[3], signal.SIGTERM)
    together = await members(gateway, room, 20)
    await eventually(lambda: len(logged(gateway, "draining")) == 1, "it drains")
    together += await members(gateway, room, 20)
    at = of_each(gateway, CONNECTIONS)
    connected.close()
    await end(*together)

    assert at[home(room, WORKERS, without=3)] >= 20


async def test_workers_that_stop_while_clients_come_leave_no_client_without_an_answer(start: Start):
    gateway = start()
    ends: list[str] = []
    stopped = asyncio.Event()

    async def come_again() -> None:
        while not stopped.is_set():
            try:
                client = await Client.connect(address(gateway, str(uuid4())))
            except websockets.InvalidStatus as refused:
                ends.append(str(refused.response.status_code))
            except (OSError, websockets.InvalidHandshake):
                ends.append("not listening")
                return
            else:
                ends.append(str(await client.ended()))

    coming = [asyncio.create_task(come_again()) for _ in range(20)]
    await eventually(lambda: sum(of_each(gateway, CONNECTIONS)) == 20, "everyone is connected")
    gateway.signal(signal.SIGTERM)
    status = await asyncio.to_thread(gateway.wait)
    stopped.set()
    await asyncio.wait_for(asyncio.gather(*coming), 20)

    assert status == 0
    assert set(ends) <= {"1012", "503", "not listening"}


def test_a_gateway_with_one_worker_hands_nothing_over(stack: EmbeddedStack, tmp_path: Path):
    with running(gateway_workers(1, tmp_path, stack.nats_url)) as gateway:
        for _ in range(3):
            with connect(gateway) as connected:
                connected.sendall(head(gateway, f"/ws?room={uuid4()}"))
                read_until(connected, b"Welcome")
        wait_until(lambda: is_empty(gateway), "all connections are gone")

        assert handovers(gateway, "given") == 0
