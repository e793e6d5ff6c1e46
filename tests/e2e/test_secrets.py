"""Secrets stay where they were put: in any fault no log, metric, process title or answer shows a secret."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import websockets

from studyroom.shared.chassis.api_keys import entry_of
from tests.support.client import clients
from tests.support.issuer import AUDIENCE, ISSUER, key_server, rsa_key, sealed, signed
from tests.support.processes import (
    EmbeddedStack,
    NatsServer,
    deployed_nats_server,
    embedded_stack,
    running,
    service,
)
from tests.support.secrets import Shown, mark, marked_settings, parts_of
from tests.support.waiting import eventually, http_get

pytestmark = pytest.mark.timeout(300)

KEY = rsa_key("known")
COOKIE = "session"
FAILING_GATEWAY = Path(__file__).parent / "failing_gateway.py"
WAYS = ["header", "subprotocol", "query", "cookie", "guest_token", "guest", "guest subprotocol", "room"]
MONITOR_PAGES = ["varz", "connz?auth=1&subs=1", "jsz?config=1&accounts=1", "subsz?subs=1", "routez"]


@dataclass
class Secrets:
    """`settings`: by variable. `shown`: the secrets that the gateway receives, by name."""

    settings: dict[str, str]
    shown: dict[str, str]

    @property
    def marks(self) -> dict[str, str]:
        whole = dict(self.settings)
        for name, shown in self.shown.items():
            whole |= parts_of(name, shown) if shown.count(".") == 2 else {name: shown}
        return whole

    @classmethod
    def new(cls) -> "Secrets":
        settings = marked_settings()
        ours = settings["STUDYROOM_GATEWAY_JWT_SECRET"]
        shown = {
            "a good token": sealed(ours),
            "a token of a key": signed(KEY, "RS256"),
            "a token that has expired": sealed(ours, exp=1),
            "a token of another secret": sealed(mark("another secret")),
            "a token of an unknown key": signed(rsa_key("unknown"), "RS256"),
            "a token for rooms by name": sealed(ours, rooms=[mark("a room")]),
            "nonsense": mark("nonsense"),
            "an API key": mark("API key"),
            "a wrong API key": mark("wrong API key"),
            "the address of keys": mark("key"),
            "a dotted nonsense": f"{mark('a')}.{mark('b')}.{mark('c')}",
        }
        return cls(settings, shown)


def nats_with(password: str, directory: Path) -> NatsServer:
    server = deployed_nats_server(directory)
    server.environment = {**server.environment, "NATS_OPERATOR_PASSWORD": password}
    return server


def environment(secrets: Secrets, keys_url: str) -> dict[str, str]:
    return {
        **secrets.settings,
        "STUDYROOM_HOOKS_URL": "http://127.0.0.1:9/",  # which is refused, and logged
        "STUDYROOM_GATEWAY_API_KEYS": entry_of("backend", secrets.shown["an API key"]),
        "STUDYROOM_GATEWAY_REQUESTS_PER_SECOND": "0",
        "STUDYROOM_LOG_LEVEL": "debug",
        "STUDYROOM_TRACES_ENDPOINT": "http://127.0.0.1:1",
        "STUDYROOM_TRACES_SAMPLE_RATIO": "1",
        "STUDYROOM_STOP_DEADLINE_SECONDS": "3",
        "STUDYROOM_NATS_USER": "operator",
        "STUDYROOM_GATEWAY_JWKS_URL": f"{keys_url}?key={secrets.shown['the address of keys']}",
        "STUDYROOM_GATEWAY_JWKS_RETRY_SECONDS": "0.2",
        "STUDYROOM_GATEWAY_JWKS_REFRESH_SECONDS": "0.2",
        "STUDYROOM_GATEWAY_JWT_ISSUER": ISSUER,
        "STUDYROOM_GATEWAY_JWT_AUDIENCE": AUDIENCE,
        "STUDYROOM_GATEWAY_JWT_COOKIE": COOKIE,
        "STUDYROOM_GATEWAY_JOIN_DEADLINE_SECONDS": "0.5",
        "STUDYROOM_GATEWAY_CHAT_DEADLINE_SECONDS": "0.5",
        "STUDYROOM_GATEWAY_REQUEST_DEADLINE_SECONDS": "0.5",
    }


# --- showing credentials, well and badly -------------------------------------------------------------------


def shown_by(way: str, token: str) -> tuple[str, dict[str, Any]]:
    """The query, and the options of `websockets.connect`."""
    match way:
        case "header" | "guest":
            scheme = "Bearer" if way == "header" else "Guest"
            return "", {"additional_headers": {"Authorization": f"{scheme} {token}"}}
        case "subprotocol" | "guest subprotocol":
            name = "access_token" if way == "subprotocol" else "guest_token"
            return "", {"subprotocols": ["studyroom", f"{name}.{token}"]}
        case "cookie":
            return "", {"additional_headers": {"Cookie": f"{COOKIE}={token}"}}
        case "guest_token" | "room":
            return f"?{way}={token}", {}
        case _:
            return f"?access_token={token}", {}


async def knock(url: str, shown: Shown, query: str = "", **options: Any) -> None:
    """Open a WebSocket and note all answers except the `Welcome`."""
    try:
        async with websockets.connect(url + query, **options) as socket:
            assert socket.response is not None
            shown.add(f"the 101 of {url}", list(socket.response.headers.raw_items()))
    except websockets.InvalidStatus as refused:
        response = refused.response
        shown.add("a refusal", f"{response.status_code} {list(response.headers.raw_items())} {response.body!r}")
    except (websockets.InvalidMessage, websockets.ConnectionClosed) as error:
        shown.add("a broken connection", repr(error))


def ask(url: str, shown: Shown, headers: dict[str, str] | None = None, body: bytes | None = None) -> None:
    request = Request(url, body, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urlopen(request, timeout=10) as answer:
            shown.add("an answer", f"{answer.status} {answer.headers} {answer.read()!r}")
    except HTTPError as refused:
        shown.add("a refusal over HTTP", f"{refused.code} {refused.headers} {refused.read()!r}")


async def send_raw(url: str, shown: Shown, request: str) -> None:
    host, port = url.removeprefix("ws://").removesuffix("/ws").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request.encode())
    shown.add("an answer to a raw request", await asyncio.wait_for(reader.read(65_536), 10))
    writer.close()


async def show_everything(url: str, room: str, secrets: Secrets, shown: Shown) -> None:
    http = http_of(url)
    for token in secrets.shown.values():
        for way in WAYS:
            query, options = shown_by(way, token)
            await knock(url, shown, query, **options)
        await knock(f"{url}/{token}", shown)
        for path in (f"/api/v1/rooms/{room}/roster?access_token={token}", f"/{token}", f"/api/v1/rooms?after={token}"):
            await asyncio.to_thread(ask, http + path, shown, {"Authorization": f"Basic {token}"})
        for head in (f"GET /ws?access_token={token} HTTP/9.9", f"GET /ws\r\nBearer {token}", f"{token} / HTTP/1.1"):
            await send_raw(url, shown, f"{head}\r\nHost: here\r\n\r\n")
        await send_raw(url, shown, f"GET /ws HTTP/1.1\r\nHost: here\r\nCookie: {COOKIE}={token * 400}\r\n\r\n")
    await asyncio.to_thread(post, url, room, secrets, shown)


def post(url: str, room: str, secrets: Secrets, shown: Shown) -> None:
    good = json.dumps({"user_id": room, "username": "Ann", "content": "hello"}).encode()
    for key in (secrets.shown["an API key"], secrets.shown["a wrong API key"]):
        for body in (good, b'{"user_id": 5}', b"{", b"\xff"):
            ask(f"{http_of(url)}/api/v1/rooms/{room}/messages", shown, {"Authorization": f"Bearer {key}"}, body)


def http_of(url: str) -> str:
    return url.replace("ws://", "http://").removesuffix("/ws")


def malformed(token: str) -> list[str | bytes]:
    """Messages for separate connections, since some end theirs."""
    proofs: list[Any] = [token, token * 200, [token], {"is": token}]
    whole = [json.dumps({"type": "Authenticate", "payload": {"token": proof}}) for proof in proofs]
    return [*whole, json.dumps({"type": token, "payload": token}), whole[0][:-4], token, token.encode()]


async def send(url: str, text: str | bytes, shown: Shown) -> None:
    """Note all answers except the `Welcome`."""
    async with websockets.connect(url) as socket:
        await socket.recv()
        await socket.send(text)
        await socket.send('{"type":"Ping"}')
        with contextlib.suppress(websockets.ConnectionClosed):
            while (answer := await asyncio.wait_for(socket.recv(), 10)) != '{"type":"Pong"}':
                shown.add("an answer on a connection", answer)
        shown.add("the end of a connection", socket.close_reason)


# --- visible places ----------------------------------------------------------------------------------------


def look(stack: EmbeddedStack, nats: NatsServer, shown: Shown) -> None:
    shown.add_processes()
    for row in stack.table():
        for admin in row["admin_urls"]:
            for page in ("metrics", "readyz", "healthz", "balancez"):
                shown.add(f"{page} of {row['name']}", http_get(f"{admin}/{page}"))
        if row["service"] == "gateway":
            shown.add("the description of the API", http_get(f"{row['url']}/openapi.json"))
    for page in MONITOR_PAGES:
        shown.add(f"{page} of NATS", http_get(f"{nats.monitor_url}/{page}"))


def doctor(shown: Shown, **variables: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "studyroom", "doctor", "--json"],
        check=False, capture_output=True, text=True, timeout=60,
        env={"STUDYROOM_NATS_USER": "operator", **variables},
    )  # fmt: skip
    shown.add("the doctor", run.stdout + run.stderr)


def environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text("utf-8")


# --- the tests ---------------------------------------------------------------------------------------------


async def test_no_secret_is_shown_to_anybody_in_any_fault(tmp_path: Path, room: str):
    secrets, shown = Secrets.new(), Shown()
    password = secrets.settings["STUDYROOM_NATS_PASSWORD"]
    nats = nats_with(password, tmp_path)
    with key_server(KEY) as keys, running(nats):
        stack = embedded_stack(
            tmp_path, "--nats", nats.url, "--workers", "2", gateways=1, presence=1, documents=0,
            **environment(secrets, keys.url),
        )  # fmt: skip
        with running(stack):
            (url,) = stack.gateways
            async with clients(url, username="Ann") as (ann,):
                secrets.shown["a guest token"] = ann.welcome["guest_token"]
                await ann.join(room)
                await show_everything(url, room, secrets, shown)
                for name in ("a good token", "a token of another secret", "nonsense", "a guest token"):
                    for text in malformed(secrets.shown[name]):
                        await send(url, text, shown)
                keys.fail()
                doctor(shown, STUDYROOM_NATS_URL=nats.url, STUDYROOM_NATS_PASSWORD=password)
                look(stack, nats, shown)

                nats.signal(signal.SIGKILL)
                nats.wait()
                await ann.chat("sent while NATS is away")
                shown.add("an answer while NATS is away", await ann.next())
                await asyncio.to_thread(post, url, room, secrets, shown)
                nats.environment["NATS_OPERATOR_PASSWORD"] = mark("another password")
                nats.start()
                nats.wait_ready()
                await eventually(lambda: "authentication error" in nats.output(), "services are refused")
                doctor(
                    shown, STUDYROOM_NATS_URL=nats.url.replace("//", f"//operator:{password}@"), STUDYROOM_NATS_USER=""
                )
                look(stack, nats, shown)
            for row in stack.table():
                assert password in environment_of(row["pid"]), "the process has its secrets"
    shown.add_files(tmp_path)
    for provoked in (
        "disconnected from NATS",
        "failed to read the keys for access tokens",
        "chat_unavailable",
        "bus error",
        "could not connect to NATS",
    ):
        assert shown.has(provoked), provoked
    assert shown.places_of(secrets.marks) == []


@pytest.mark.faulty
async def test_a_fault_where_credentials_are_checked_shows_none(tmp_path: Path, room: str):
    secrets, shown = Secrets.new(), Shown()
    password = secrets.settings["STUDYROOM_NATS_PASSWORD"]
    with key_server(KEY) as keys, running(nats_with(password, tmp_path)) as nats:
        variables = environment(secrets, keys.url)
        named = {"STUDYROOM_NATS_URL": nats.url.replace("//", f"//operator:{password}@")}
        del variables["STUDYROOM_NATS_USER"], variables["STUDYROOM_NATS_PASSWORD"]
        for level in ("json", "console"):
            variables["STUDYROOM_LOG_FORMAT"] = level
            provisioner, presence, gateway = (
                service(name, tmp_path, nats.url, **variables, **named)
                for name in ("provisioner", "presence", "gateway")
            )
            gateway.command[1:] = [str(FAILING_GATEWAY), "gateway"]
            gateway.environment["PYTHONPATH"] = str(FAILING_GATEWAY.parents[2])
            with running(provisioner), running(presence), running(gateway):
                await show_everything(gateway.url, room, secrets, shown)
    shown.add_files(tmp_path)
    assert shown.has("a fault where credentials are looked at")
    assert shown.has("bytes are compared")
    assert shown.places_of(secrets.marks) == []
