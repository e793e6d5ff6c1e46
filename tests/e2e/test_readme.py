"""The examples of README.md, the how-tos and the client's README, as a reader runs them.

One system, started by a command of the README, is there for all tests. `tests/project/test_commands.py` lists every
command and example of the documents, with the test that runs it.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from studyroom.services.stack.stack import free_ports
from tests.support.backend import ask
from tests.support.client import clients
from tests.support.commands import NODE_MODULES, MakeUp, copy_web, needs, needs_web
from tests.support.markdown import ROOT, Document
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service
from tests.support.settings import without_settings
from tests.support.waiting import eventually, http_get

README = Document(ROOT / "README.md")
CLIENT = Document(ROOT / "web" / "client" / "README.md")
AUTHENTICATE = Document(ROOT / "docs" / "how-to" / "authenticate.md")
MODERATION = Document(ROOT / "docs" / "moderation.md")
ROOM = "550e8400-e29b-41d4-a716-446655440000"
ADDRESS = "ws://127.0.0.1:8080/ws"


@dataclass(frozen=True)
class Terminal:
    """In a folder with the `.venv` of a clone, which is also on the path."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        # pip installs nothing here: the tests need the packages of the documents too
        path = f"{self.folder}/.venv/bin:{os.environ['PATH']}"
        return {**without_settings(), "PATH": path, "PIP_NO_INDEX": "1"}

    def run(self, command: str, *, folder: Path | None = None, **environment: str) -> str:
        """Returns its output."""
        ended = subprocess.run(
            command, shell=True, cwd=folder or self.folder, env={**self.environment, **environment},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    @asynccontextmanager
    async def runs(self, command: str, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
        """Killed at the end, unless it has ended; its output is in `log`."""
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                "sh", "-c", f"exec {command}", cwd=self.folder, env=self.environment,
                stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    clone = tmp_path_factory.mktemp("clone")
    (clone / ".venv").symlink_to(sys.prefix)
    return Terminal(clone)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """The arguments that the README passes to `make up`, all at once, on free ports."""
    directory = tmp_path_factory.mktemp("system")
    options = [one for one in README.quoted if one.startswith("--")]
    options += [f"--port {free_ports(2)}", f"--data-dir {directory / 'data'}"]
    command = README.command("make up ARGS=").removesuffix('"') + f' {" ".join(options)}"'
    line = f"cd {ROOT} && {command}"
    with running(MakeUp("make up", ["sh", "-c", line], directory / "up.log", data_dir=directory / "data")) as ready:
        yield ready


# --- README.md ---------------------------------------------------------------------------------------------


def test_the_system_is_two_of_each_with_two_workers_for_this_machine_and_others(system: EmbeddedStack):
    gateways = system.of("gateway")
    ports = [int(row["url"].rpartition(":")[2]) for row in gateways]
    assert ports == [ports[0], ports[0] + 1]
    assert [len(row["admin_urls"]) for row in gateways] == [2, 2]
    assert len(system.of("presence")) == 2
    assert [http_get(f"{row['url']}/health")[0] for row in gateways] == [200, 200]
    assert f"open {gateways[0]['url']}" in system.output()
    assert "On other devices: " in system.output()


async def test_any_websocket_client_speaks_with_a_gateway(
    system: EmbeddedStack, terminal: Terminal, room: str, tmp_path: Path
):
    terminal.run(README.command(".venv/bin/pip install"))
    command = README.command(".venv/bin/python -m websockets")
    assert ADDRESS in command
    log = tmp_path / "shown.txt"
    async with terminal.runs(command.replace(ADDRESS, system.gateways[0]), log) as client:
        assert client.stdin is not None
        client.stdin.write("\n".join([*README.code("json"), ""]).replace(ROOM, room).encode())
        await eventually(lambda: '"content":"Hello, room!"' in log.read_text(), "the message has come back")
        client.stdin.write_eof()
        assert await asyncio.wait_for(client.wait(), 20) == 0
    shown = [one for one in ("Welcome", "JoinedRoom", "Chat") if f'"type":"{one}"' in log.read_text()]
    assert shown == ["Welcome", "JoinedRoom", "Chat"]


# --- docs/how-to/authenticate.md, docs/moderation.md -------------------------------------------------------


@dataclass(frozen=True)
class Backend:
    """A gateway with a secret and a key, and the tokens that a backend makes of them."""

    gateway: ServiceProcess
    token: str
    key: str


@pytest.fixture(scope="module")
def backend(system: EmbeddedStack, terminal: Terminal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    needs("openssl")
    secret = terminal.run(AUTHENTICATE.command("openssl rand")).strip()
    terminal.run(AUTHENTICATE.command("pip install"))
    (terminal.folder / "sign.py").write_text("\n".join(AUTHENTICATE.code("python")))
    token = terminal.run("python sign.py", STUDYROOM_GATEWAY_JWT_SECRET=secret).strip()
    made = dict(line.split() for line in terminal.run(MODERATION.command("studyroom api-key")).splitlines())
    gateway = service(
        "gateway", tmp_path_factory.mktemp("gateway"), system.nats_url,
        STUDYROOM_GATEWAY_GUESTS="false", STUDYROOM_GATEWAY_JWT_SECRET=secret,
        STUDYROOM_GATEWAY_API_KEYS=made["entry:"],
    )  # fmt: skip
    with running(gateway):
        yield Backend(gateway, token, made["key:"])


async def test_a_token_that_is_signed_as_shown_opens_only_its_room(backend: Backend, room: str):
    async with clients(backend.gateway.url, token=backend.token) as (ann,):
        await ann.join(ROOM)
        await ann.send("JoinRoom", {"room_id": room})
        assert await ann.error() == "room_not_allowed"


async def test_a_key_that_is_made_as_shown_is_known_to_the_gateway(backend: Backend):
    answers = [await ask(backend.gateway.url, "GET", "/rooms", bearer=key) for key in (backend.key, "another")]
    assert [answer.status for answer in answers] == [200, 401]


# --- web/client/README.md ----------------------------------------------------------------------------------

AROUND_THE_EXAMPLE = """
import { WebSocket } from "%s/ws/wrapper.mjs"
globalThis.WebSocket ??= WebSocket
const fetchToken = async () => "%s"
const draw = (messages) => console.log(JSON.stringify(messages))
"""
"""The functions that it leaves to the reader, and a WebSocket for Node before 22."""


@needs_web
async def test_the_packed_client_runs_the_example_without_react(
    system: EmbeddedStack, backend: Backend, terminal: Terminal, tmp_path: Path
):
    terminal.run(CLIENT.command("npm pack"), folder=copy_web(terminal.folder))
    (packed,) = (terminal.folder / "web").glob("*.tgz")
    terminal.run(f"npm install --offline --no-audit --no-fund {packed}")
    (terminal.folder / "example.ts").write_text(example_for(backend))
    terminal.run(f"{NODE_MODULES}/.bin/esbuild example.ts --outfile=example.mjs")
    log = tmp_path / "shown.txt"
    async with clients(system.gateways[0], username="Bob") as (bob,):
        await bob.join(ROOM)
        async with terminal.runs("node example.mjs", log):
            assert (await bob.expect("UserJoined"))["user"]["username"] == "Ann"
            assert (await bob.expect("Chat"))["content"] == "Hello"
            async with clients(system.gateways[1], username="Cleo") as (cleo,):
                await cleo.join(ROOM)
                await eventually(lambda: "Cleo is here" in log.read_text(), "the example has seen the join")
    assert '"content":"Hello"' in log.read_text()


def example_for(backend: Backend) -> str:
    (shown,) = [block.text for block in CLIENT.blocks if block.info == "ts"]
    assert "wss://study.example/ws" in shown
    return AROUND_THE_EXAMPLE % (NODE_MODULES, backend.token) + shown.replace(
        "wss://study.example/ws", backend.gateway.url
    )
