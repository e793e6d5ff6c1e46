"""A request of the hooks service: to which addresses it goes, and what comes of it."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from studyroom.services.hooks.sending import Outcome, Result, Sender
from studyroom.services.hooks.settings import HooksSettings
from studyroom.services.stack.stack import free_port
from tests.support.hooks import OLD_SECRET, SECRET, Answer, Receiver, hook_receiver
from tests.support.markdown import ROOT, Document
from tests.support.processes import Process
from tests.support.waiting import eventually

BODY = b'{"type":"room.empty","data":{"room_id":"r"},"sequence":1}'


@pytest.fixture
def backend() -> Iterator[Receiver]:
    with hook_receiver() as receiver:
        yield receiver


@asynccontextmanager
async def sender(url: str, **settings: Any) -> AsyncIterator[Sender]:
    given = {"allow_networks": ("127.0.0.0/8",), "timeout_seconds": 1.0, **settings}
    made = Sender(HooksSettings(url=url, secrets=SecretStr(SECRET), **given))
    try:
        yield made
    finally:
        await made.close()


async def sent(url: str, **settings: Any) -> Result:
    async with sender(url, **settings) as one:
        return await one.send("msg_1", BODY)


async def test_a_delivered_event_has_a_body_in_json_and_a_good_signature(backend: Receiver):
    assert (await sent(backend.url)).outcome is Outcome.DELIVERED
    (received,) = backend.received
    assert received.event["type"] == "room.empty"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["webhook-id"] == "msg_1"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(200, body=b"ok"), Outcome.DELIVERED),
        (Answer(200, body=b"x" * 1_000_000), Outcome.DELIVERED),
        (Answer(302, {"location": "http://127.0.0.1:1/"}), Outcome.REDIRECTED),
        (Answer(307, {"location": "/elsewhere"}), Outcome.REDIRECTED),
        (Answer(400), Outcome.REJECTED),
        (Answer(410), Outcome.REJECTED),
        (Answer(429, {"retry-after": "7"}), Outcome.THROTTLED),
        (Answer(500), Outcome.FAILED),
        (Answer(503, {"retry-after": "9"}), Outcome.FAILED),
        (Answer(200, after_seconds=3.0), Outcome.TIMEOUT),
    ],
    ids=lambda one: str(one.status) if isinstance(one, Answer) else "",
)
async def test_only_a_success_in_time_is_a_delivery_and_no_redirect_is_followed(
    backend: Receiver, answer: Answer, outcome: Outcome
):
    backend.decide = lambda _event, _before: answer
    result = await sent(backend.url)
    assert result.outcome is outcome
    assert result.retry_after_seconds == float(answer.headers.get("retry-after", 0))
    assert len(backend.received) == 1


async def test_a_backend_that_is_away_or_breaks_the_connection_is_unreachable():
    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.transport.abort()

    server = await asyncio.start_server(slam, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert (await sent(f"http://127.0.0.1:{port}/")).outcome is Outcome.UNREACHABLE
    server.close()
    await server.wait_closed()
    assert (await sent(f"http://127.0.0.1:{port}/")).outcome is Outcome.UNREACHABLE


async def test_connections_are_used_again(backend: Receiver):
    async with sender(backend.url) as one:
        for number in range(20):
            assert (await one.send(f"msg_{number}", BODY)).is_delivered
    assert len({received.headers.get("host") for received in backend.received}) == 1
    assert len(backend.received) == 20


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0",
        "2130706433", "0x7f.1", "10.0.0.1", "[fd00::1]", "[fe80::1]", "[64:ff9b::7f00:1]",
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_address_that_is_not_allowed_gets_no_connection(backend: Receiver, scheme: str, host: str):
    result = await sent(f"{scheme}://{host}:{backend.port}/", allow_networks=())
    assert result.outcome is Outcome.ADDRESS_REFUSED, result
    assert not backend.received


Resolve = Callable[[list[str]], list[str]]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Let each look-up have the next of these addresses. Returns the names that are looked up."""

    def install(answers: list[str]) -> list[str]:
        asked: list[str] = []

        async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
            asked.append(host)
            address = answers[min(len(asked), len(answers)) - 1]
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
        return asked

    return install


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.169.254", "10.0.0.7", "::ffff:127.0.0.1"])
async def test_a_name_that_resolves_to_a_private_address_gets_no_connection(
    backend: Receiver, resolve: Resolve, address: str
):
    asked = resolve([address])
    result = await sent(f"https://backend.example:{backend.port}/", allow_networks=())
    assert result.outcome is Outcome.ADDRESS_REFUSED
    assert "STUDYROOM_HOOKS_ALLOW_NETWORKS" in result.reason
    assert asked == ["backend.example"]
    assert not backend.received


async def test_the_connection_goes_to_the_address_that_was_checked_although_the_name_changes(
    backend: Receiver, resolve: Resolve
):
    """The second answer of the resolver would not be allowed. Nobody asks for it."""
    asked = resolve(["127.0.0.1", "127.0.0.2"])
    result = await sent(f"http://backend.example:{backend.port}/", allow_networks=("127.0.0.1/32",))
    assert result.is_delivered
    assert asked == ["backend.example"]
    assert backend.received[0].headers["host"] == f"backend.example:{backend.port}"


async def test_without_tls_only_the_networks_of_the_settings_are_reached(resolve: Resolve):
    resolve(["93.184.216.34"])
    result = await sent("http://backend.example/", allow_networks=("10.0.0.0/8",))
    assert (result.outcome, "without TLS" in result.reason) == (Outcome.ADDRESS_REFUSED, True)


async def test_the_receiver_of_the_how_to_takes_each_event_once(tmp_path: Path):
    how_to, port = Document(ROOT / "docs" / "how-to" / "hooks.md"), free_port()
    program = tmp_path / how_to.command("python3 receiver.py").split()[1]
    program.write_text("\n".join(how_to.code("python")).replace("9000", str(port)))
    receiver = Process("receiver", [sys.executable, str(program)], tmp_path / "log", {"HOOKS_SECRET": SECRET})
    receiver.start()
    try:
        async with sender(f"http://127.0.0.1:{port}/") as one:

            async def delivered() -> bool:
                return (await one.send("msg_1", BODY)).is_delivered

            await eventually(delivered, "the receiver takes the event")
            assert await delivered()
        forged = HooksSettings(
            url=f"http://127.0.0.1:{port}/", secrets=SecretStr(OLD_SECRET), allow_networks=("127.0.0.0/8",)
        )
        forger = Sender(forged)
        assert (await forger.send("msg_2", BODY)).outcome is Outcome.REJECTED
        await forger.close()
    finally:
        receiver.stop()
    assert receiver.output().count("room.empty {'room_id': 'r'}") == 1
