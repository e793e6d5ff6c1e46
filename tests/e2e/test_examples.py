"""The clients in `docs/examples`, as people run them, while their gateway goes away and comes back."""

import asyncio
import re
import shutil
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, expect

from studyroom.client import ChatReacted, ChatReceived, Client
from tests.support.browser import chromium, needs_chromium
from tests.support.client import Client as RawClient
from tests.support.client import clients
from tests.support.layout import needs_axe, violations
from tests.support.markdown import ROOT, Document
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service
from tests.support.python_client import within_deadline
from tests.support.waiting import eventually

PROTOCOL = Document(ROOT / "docs" / "protocol.md")
HOW_TO = Document(ROOT / "docs" / "how-to" / "python.md")
ROOM = "550e8400-e29b-41d4-a716-446655440000"
ADDRESS = "ws://127.0.0.1:8080/ws"
EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture
def gateway(stack: EmbeddedStack, tmp_path: Path) -> Iterator[ServiceProcess]:
    with running(service("gateway", tmp_path, stack.nats_url)) as ready:
        yield ready


async def interrupt(gateway: ServiceProcess, stack: EmbeddedStack, room: str) -> None:
    """The gateway dies silently, somebody chats elsewhere meanwhile, and it comes back."""
    gateway.signal(signal.SIGKILL)
    gateway.wait()
    async with clients(stack.gateways[0], username="Bob") as (bob,):
        await bob.join(room)
        await bob.chat("missed?")
        await bob.expect("Chat")
    gateway.start()


async def test_the_example_in_python_shows_every_line_once(
    stack: EmbeddedStack, gateway: ServiceProcess, room: str, tmp_path: Path
):
    shown = tmp_path / "shown.txt"
    with shown.open("wb") as output:
        example = await asyncio.create_subprocess_exec(
            sys.executable, EXAMPLES / "client.py", gateway.url, room, stdin=asyncio.subprocess.PIPE, stdout=output
        )
    assert example.stdin is not None
    try:
        example.stdin.write(b"one\n")
        await eventually(lambda: shown.read_text() == "Ann: one\n", "the first line is shown")
        await interrupt(gateway, stack, room)
        example.stdin.write(b"two\n")
        example.stdin.write_eof()
        assert await asyncio.wait_for(example.wait(), 60) == 0
    finally:
        if example.returncode is None:
            example.kill()
            await example.wait()
    assert shown.read_text() == "Ann: one\nBob: missed?\nAnn: two\n"


@pytest.mark.browser
@needs_chromium
async def test_the_example_for_browsers_shows_every_line_once(stack: EmbeddedStack, gateway: ServiceProcess, room: str):
    with served(EXAMPLES) as site:
        async with chromium() as browser:
            page = await browser.new_page()
            await page.goto(f"{site}/client.html?url={gateway.url}&room={room}")
            shown, textbox = page.get_by_role("listitem"), page.get_by_role("textbox")
            await textbox.fill("one")
            await textbox.press("Enter")
            await expect(shown).to_have_text(["User: one"])
            await interrupt(gateway, stack, room)
            await textbox.fill("two")
            await textbox.press("Enter")
            await expect(shown).to_have_text(
                ["User: one", "(not connected, trying again)", "Bob: missed?", "User: two"], timeout=60_000
            )


def from_protocol(language: str, stack: EmbeddedStack, room: str) -> str:
    """The example in docs/protocol.md, for another address and room."""
    shown = "\n".join(PROTOCOL.code(language))
    assert ADDRESS in shown
    return shown.replace(ADDRESS, stack.gateways[0]).replace(ROOM, room)


async def test_the_python_example_of_the_protocol_works(stack: EmbeddedStack, room: str):
    example = await asyncio.create_subprocess_exec(
        sys.executable, "-c", from_protocol("python", stack, room), stdout=asyncio.subprocess.PIPE
    )
    shown, _ = await asyncio.wait_for(example.communicate(), 30)
    assert (example.returncode, shown.decode().split()) == (0, ["Welcome", "JoinedRoom", "Chat"])


async def test_the_program_of_the_how_to_greets_everyone(stack: EmbeddedStack, room: str):
    program, *_ = programs_of_how_to(stack, room)
    example = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    try:
        async with clients(stack.gateways[1], username="Bob") as (bob,):
            await bob.join(room)
            await eventually(lambda: len(bob.payloads("Chat")) >= 1, "the program is there")
            async with clients(stack.gateways[0], username="Cleo") as (cleo,):
                await cleo.join(room)
                await eventually(lambda: "Hello, Cleo!" in contents(cleo), "Cleo is greeted")
                await cleo.chat("bye")
                assert await asyncio.wait_for(example.wait(), 30) == 0
                assert contents(bob)[0] in {"Good morning, all 0 of you!", "Good morning, all 1 of you!"}
    finally:
        if example.returncode is None:
            example.kill()
            await example.wait()


async def test_the_coroutine_of_the_how_to_thanks_everyone_who_mentions_it(stack: EmbeddedStack, room: str):
    found = {"ChatReceived": ChatReceived, "ChatReacted": ChatReacted}
    exec(compile(programs_of_how_to(stack, room)[1], "how-to", "exec"), found)
    async with Client(stack.gateways[0], username="Bot") as bot, Client(stack.gateways[1], username="Ann") as ann:
        answering = asyncio.create_task(found["answer"](bot))
        await bot.join(room)
        await ann.join(room)
        await ann.chat("@Bot, well done", mentions=[bot.user_id or ""])
        await within_deadline(ann, lambda: [one.content for one in ann.messages[1:]] == ["Thank you, Ann."])
        await within_deadline(ann, lambda: ann.messages[0].reactions)
        assert ann.messages[1].reply_to == ann.messages[0].id
        await ann.react(ann.messages[1], "🗑️")
        await within_deadline(ann, lambda: len(ann.messages) == 1)
        answering.cancel()


async def test_the_calls_of_the_how_to_reach_the_others(stack: EmbeddedStack, room: str):
    _, _, calls, signed_in = programs_of_how_to(stack, room)
    async with Client(stack.gateways[0]) as ann, clients(stack.gateways[1]) as (bob,):
        await ann.join(room)
        await bob.join(room)
        exec(compile(calls, "how-to", "exec"), {"client": ann})
        for kind in ("PresenceChanged", "CursorUpdate", "TypingStatus", "Broadcast"):
            await eventually(partial(bob.payloads, kind), f"{kind} has come")
        assert bob.payloads("PresenceChanged")[0]["fields"] == {"status": "reading", "seat": 4}
    found = {"Client": Client, "fetch_token": lambda: "token"}
    exec(compile(signed_in, "how-to", "exec"), found)
    assert isinstance(found["client"], Client)


def programs_of_how_to(stack: EmbeddedStack, room: str) -> list[str]:
    """The examples in docs/how-to/python.md, for another address and room."""
    shown = [block.text for block in HOW_TO.blocks if block.info == "python"]
    assert ADDRESS in shown[0]
    return [one.replace(ADDRESS, stack.gateways[0]).replace(ROOM, room) for one in shown]


def contents(client: RawClient) -> list[str]:
    return [chat["content"] for chat in client.payloads("Chat")]


@pytest.mark.browser
@needs_chromium
async def test_the_page_example_of_the_protocol_works(stack: EmbeddedStack, room: str):
    shown: list[str] = []
    async with chromium() as browser:
        page = await browser.new_page()
        page.on("console", lambda message: shown.append(message.text) if message.type == "log" else None)
        with served(EXAMPLES) as site:
            await page.goto(site)  # some page of this machine, since a blank one has no origin
            await page.add_script_tag(content=from_protocol("js", stack, room))
            await eventually(lambda: "Chat" in shown, "the chat message has come back")
    assert shown == ["Welcome", "JoinedRoom", "Chat"]


@pytest.fixture
def with_client(tmp_path: Path) -> Path:
    """A folder with the example for a study room and the built client, as the tutorial makes it."""
    client = tmp_path / "node_modules" / "@studyroom" / "client"
    client.mkdir(parents=True)
    (client / "dist").symlink_to(ROOT / "web" / "client" / "dist")
    shutil.copy(EXAMPLES / "study-room.html", tmp_path)
    return tmp_path


def test_the_study_room_has_less_than_120_lines():
    assert len((EXAMPLES / "study-room.html").read_text("utf-8").splitlines()) < 120


@pytest.mark.browser
@needs_chromium
@needs_axe
async def test_the_study_room_shares_its_timer_hands_and_code_and_the_timer_survives_its_author(
    stack: EmbeddedStack, room: str, with_client: Path
):
    runs, none = re.compile(r"focus 2[45]:\d\d"), "No timer"
    async with chromium() as browser:
        with served(with_client) as site:

            async def enter(name: str, gateway: str) -> Page:
                page = await (await browser.new_context()).new_page()
                await page.goto(f"{site}/study-room.html?name={name}&url={gateway}&room={room}")
                await expect(page.get_by_role("list", name="People").get_by_text(name)).to_be_visible()
                return page

            ann, bob = await enter("Ann", stack.gateways[0]), await enter("Bob", stack.gateways[1])
            await expect(bob.get_by_role("status")).to_have_text(none)
            await ann.get_by_role("button", name="Start 25 minutes").click()
            await ann.get_by_role("button", name="Raise hand").click()
            await ann.get_by_label("Message").fill("Try\n```\nif x < 1:\n    stop()\n```\nnow")
            await ann.get_by_role("button", name="Say").click()
            for page in (ann, bob):
                await expect(page.get_by_role("status")).to_have_text(runs)
                await expect(page.get_by_role("list", name="People").get_by_text("✋ Ann")).to_be_visible()
                await expect(page.locator("pre")).to_have_text("if x < 1:\n    stop()")
                assert await violations(page) == []
            await ann.get_by_role("button", name="Raise hand").click()
            await expect(bob.get_by_text("✋")).to_have_count(0)

            await ann.context.close()
            await expect(bob.get_by_role("list", name="People").get_by_role("listitem")).to_have_text(["Bob"])
            cleo = await enter("Cleo", stack.gateways[0])
            await expect(cleo.get_by_role("status")).to_have_text(runs)
            await cleo.get_by_role("button", name="Stop").click()
            for page in (bob, cleo):
                await expect(page.get_by_role("status")).to_have_text(none)


@contextmanager
def served(directory: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


async def run_example(url: str, room: str, typed: bytes) -> tuple[int | None, str, str]:
    """Exit status, output and errors of the example in Python with this input."""
    example = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLES / "client.py", url, room,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    shown, errors = await asyncio.wait_for(example.communicate(typed), 60)
    return example.returncode, shown.decode(), errors.decode()


async def test_the_example_in_python_reports_why_it_is_refused(stack: EmbeddedStack, room: str):
    status, _, errors = await run_example(f"{stack.gateways[0]}?access_token=no-token&", room, b"hello\n")
    assert status == 1
    assert "refused: unauthorized" in errors


async def test_the_example_in_python_ends_when_its_message_is_refused(stack: EmbeddedStack, room: str):
    status, shown, errors = await run_example(stack.gateways[0], room, b"x" * 5000 + b"\n")
    assert (status, shown) == (1, "")
    assert "chat_too_long" in errors


async def test_the_example_in_python_survives_a_cut_in_the_middle_of_the_history(stack: EmbeddedStack, room: str):
    async with clients(stack.gateways[0], username="Bob") as (bob,):
        await bob.join(room)
        for number in range(5):
            await bob.chat(f"line {number}")
            await bob.expect("Chat")
    async with cut_after(stack.gateways[0], b'"line 1"') as url:
        status, shown, _ = await run_example(url, room, b"mine\n")
    assert (status, shown) == (0, "".join(f"Bob: line {number}\n" for number in range(5)) + "Ann: mine\n")


@asynccontextmanager
async def cut_after(url: str, mark: bytes) -> AsyncIterator[str]:
    """An address that leads to the gateway, and whose first connection ends right after `mark`."""
    target = urlsplit(url)
    first = True

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal first
        cuts, first = first, False
        there, back = await asyncio.open_connection(target.hostname, target.port)

        async def up() -> None:
            while data := await reader.read(65_536):
                back.write(data)
            back.close()

        sending = asyncio.create_task(up())
        seen = b""
        while data := await there.read(65_536):
            seen += data
            if cuts and mark in seen:
                end = seen.index(mark) - (len(seen) - len(data)) + len(mark) + seen[seen.index(mark) :].index(b"}}") + 2
                writer.write(data[: min(end, len(data))])
                await writer.drain()
                break
            writer.write(data)
        sending.cancel()
        back.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
    finally:
        server.close()
