"""Sockets of the admin port that keep it waiting: each ends after a while, after any part of a request."""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from studyroom.shared.chassis.descriptors import below_admin, limit
from studyroom.shared.chassis.http import BoundedRequests, HttpServer
from studyroom.shared.chassis.listening import listen

DEADLINE_SECONDS = 0.5
ENDED_SECONDS = 10.0
LONG = "x" * 20_000_000
GET = b"GET /short HTTP/1.1\r\nHost: here\r\n\r\n"


async def short(_: Request) -> PlainTextResponse:
    return PlainTextResponse("here")


async def long(_: Request) -> PlainTextResponse:
    return PlainTextResponse(LONG)


async def body(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
async def port() -> AsyncIterator[int]:
    routes = [Route("/short", short), Route("/long", long), Route("/body", body, methods=["POST"])]
    server = HttpServer(
        Starlette(routes=routes),
        listen("127.0.0.1", 0),
        below=below_admin(limit()),
        http=partial(BoundedRequests, request_seconds=DEADLINE_SECONDS),
    )
    await server.start()
    yield server.port
    await server.stop(1.0)


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    """The data that came before the server ended the socket."""
    found = b""
    try:
        async with asyncio.timeout(ENDED_SECONDS):
            while part := await reader.read(65536):
                found += part
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /short HTTP/1.1\r\nHost: he",
        b"POST /body HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nhalf",
        GET + b"GET /short HTTP/1.1\r\nHo",
    ],
    ids=["nothing", "half a head", "half a body", "half a head after a request"],
)
async def test_a_socket_that_owes_a_request_ends(port: int, sent: bytes):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    found = await read_to_the_end(reader)
    assert found.count(b"200 OK") == sent.startswith(GET)
    writer.close()


async def test_a_head_that_trickles_in_gains_no_time(port: int):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    for byte in b"GET /" + b"a" * 1000:
        if writer.transport.is_closing() or reader.at_eof():
            break
        writer.write(bytes([byte]))
        await asyncio.sleep(DEADLINE_SECONDS / 10)
    assert DEADLINE_SECONDS / 2 < time.monotonic() - began < ENDED_SECONDS
    writer.close()


async def test_a_second_request_that_never_comes_to_its_end_ends_the_socket(port: int):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    await reader.readuntil(b"here")
    writer.write(b"GET /short")
    assert await read_to_the_end(reader) == b""
    writer.close()


async def test_a_socket_that_does_not_read_its_answer_ends(port: int):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(GET.replace(b"short", b"long"))
    writer.transport.pause_reading()  # type: ignore[attr-defined] # a read transport, too
    await asyncio.sleep(2 * DEADLINE_SECONDS)  # as a client does that reads nothing
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert len(await read_to_the_end(reader)) < len(LONG)
    writer.close()


async def test_a_socket_that_asks_again_and_again_stays(port: int):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    while time.monotonic() < began + 3 * DEADLINE_SECONDS:
        writer.write(GET)
        await reader.readuntil(b"here")
        await asyncio.sleep(DEADLINE_SECONDS / 5)
    writer.close()
