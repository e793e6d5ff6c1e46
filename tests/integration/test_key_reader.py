"""Public keys from an address that is slow, away, broken or changed."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from prometheus_client import CollectorRegistry

from studyroom.gateway.auth import key_reader
from studyroom.gateway.auth.key_reader import KeyReader
from studyroom.gateway.auth.key_ring import KeysUnavailable
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.settings import GatewaySettings
from studyroom.gateway.wire.credentials import Unauthorized
from tests.support.issuer import KeyServer, ec_key, key_server, rsa_key
from tests.support.waiting import eventually

RETRY_SECONDS = 0.1
OLD, NEW = rsa_key("old"), ec_key("new")


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server(OLD) as running:
        yield running


@asynccontextmanager
async def reading(url: str, *, refresh_seconds: float = 3600.0) -> AsyncIterator[KeyReader]:
    settings = GatewaySettings(jwks_url=url, jwks_refresh_seconds=refresh_seconds, jwks_retry_seconds=RETRY_SECONDS)
    reader = KeyReader(url, settings, GatewayMetrics(CollectorRegistry()))
    running = asyncio.create_task(reader.run())
    try:
        yield reader
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def names(reader: KeyReader) -> list[str | None]:
    return [key.kid for key in reader.ring.keys]


def failures(reader: KeyReader) -> float:
    (samples,) = reader._metrics.key_reads.collect()
    return sum(one.value for one in samples.samples if one.name.endswith("_total") and one.labels["result"] == "failed")


async def test_keys_are_read_at_the_start(server: KeyServer):
    async with reading(server.url) as reader:
        await eventually(lambda: names(reader) == ["old"], "the key is known")


async def test_keys_that_cannot_be_read_at_the_start_are_read_as_soon_as_they_can_be(server: KeyServer):
    server.fail()
    async with reading(server.url) as reader:
        await eventually(lambda: failures(reader) >= 2, "they are asked for again")
        with pytest.raises(KeysUnavailable):
            reader.ring.find("RS256", "old")
        server.publish(OLD)
        await eventually(lambda: names(reader) == ["old"], "the key is known")


async def test_a_token_with_a_new_key_has_the_keys_read_again(server: KeyServer):
    async with reading(server.url) as reader:
        await eventually(lambda: names(reader) == ["old"], "the key is known")
        server.publish(OLD, NEW)
        with pytest.raises(Unauthorized):
            reader.ring.find("ES256", "new")
        await eventually(lambda: names(reader) == ["old", "new"], "the new key is known")
        assert reader.ring.find("ES256", "new").kid == "new"


async def test_without_a_sign_keys_are_read_again_after_a_while(server: KeyServer):
    async with reading(server.url, refresh_seconds=0.2) as reader:
        await eventually(lambda: names(reader) == ["old"], "the key is known")
        server.publish(NEW)
        await eventually(lambda: names(reader) == ["new"], "the new key is known and the old one gone")


async def test_however_many_unknown_keys_are_shown_the_address_is_asked_seldom(server: KeyServer):
    async with reading(server.url) as reader:
        await eventually(lambda: names(reader) == ["old"], "the key is known")
        began = asyncio.get_running_loop().time()
        for index in range(200):
            with pytest.raises(Unauthorized):
                reader.ring.find("RS256", f"made up {index}")
            await asyncio.sleep(0.005)
        took = asyncio.get_running_loop().time() - began
    assert 2 <= server.asked <= 2 + took / (0.8 * RETRY_SECONDS)


@pytest.mark.parametrize(
    "body", [b"", b"<h1>away</h1>", b"{}", b'{"keys":[]}', b'{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}', b"[" * 100_000,
             b'{"keys":[' + b" " * 2_000_000 + b"]}"],
    ids=["nothing", "a page", "no keys", "an empty list", "only secrets", "a nesting bomb", "far too much"],
)  # fmt: skip
async def test_a_document_other_than_a_key_set_leaves_the_known_keys_as_they_are(server: KeyServer, body: bytes):
    async with reading(server.url, refresh_seconds=RETRY_SECONDS) as reader:
        await eventually(lambda: names(reader) == ["old"], "the key is known")
        server.body = body
        await eventually(lambda: failures(reader) >= 2, "the new answer has been read")
        assert names(reader) == ["old"]


@pytest.mark.parametrize("status", [301, 302, 307, 404, 500, 503])
async def test_any_other_answer_leaves_the_known_keys_as_they_are(server: KeyServer, status: int):
    with key_server(NEW) as elsewhere:
        async with reading(server.url, refresh_seconds=RETRY_SECONDS) as reader:
            await eventually(lambda: names(reader) == ["old"], "the key is known")
            server.status, server.headers = status, {"Location": elsewhere.url}
            await eventually(lambda: failures(reader) >= 2, "the new answer has been read")
            assert names(reader) == ["old"]
        assert elsewhere.asked == 0


async def test_while_nothing_answers_at_the_address_the_known_keys_stay(server: KeyServer):
    async with reading(server.url, refresh_seconds=RETRY_SECONDS) as reader:
        await eventually(lambda: names(reader) == ["old"], "the key is known")
        server.stop()
        await eventually(lambda: failures(reader) >= 2, "it was tried again")
        assert reader.ring.find("RS256", "old").kid == "old"
        server.publish(NEW)
        server.start()
        await eventually(lambda: names(reader) == ["new"], "the new key is known")


async def test_an_address_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(key_reader, "_FETCH_SECONDS", 0.2)

    async def stay_silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        writer.close()

    silent = await asyncio.start_server(stay_silent, "127.0.0.1", 0)
    async with silent, reading(f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/") as reader:
        await eventually(lambda: failures(reader) >= 1, "it is given up")
