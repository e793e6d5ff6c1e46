"""Access, rights and their end: the matrix of credentials against real gateways."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import jwt
import pytest
import websockets
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.client import Client, clients
from tests.support.issuer import (
    AUDIENCE,
    DAY,
    ISSUER,
    SECRET,
    USER,
    KeyServer,
    claims,
    ec_key,
    ed_key,
    key_server,
    rsa_key,
    sealed,
    signed,
)
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service
from tests.support.waiting import eventually, http_get

OLD, NEW, ELLIPTIC, EDWARDS = rsa_key("old"), rsa_key("new"), ec_key(), ed_key()
COOKIE = "session"


def gateway(directory: Path, nats_url: str, keys: KeyServer, **environment: str) -> ServiceProcess:
    return service(
        "gateway",
        directory,
        nats_url,
        STUDYROOM_LOG_LEVEL="debug",
        STUDYROOM_GATEWAY_JWKS_URL=keys.url,
        STUDYROOM_GATEWAY_JWKS_RETRY_SECONDS="0.3",
        STUDYROOM_GATEWAY_JWT_SECRET=SECRET,
        STUDYROOM_GATEWAY_JWT_ISSUER=ISSUER,
        STUDYROOM_GATEWAY_JWT_AUDIENCE=AUDIENCE,
        STUDYROOM_GATEWAY_JWT_LEEWAY_SECONDS="1",
        STUDYROOM_GATEWAY_JWT_COOKIE=COOKIE,
        STUDYROOM_GATEWAY_GUEST_SECRET=SECRET,
        **environment,
    )


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyServer]:
    with key_server(OLD, ELLIPTIC, EDWARDS) as server:
        yield server


@pytest.fixture(scope="module")
def shared(stack: EmbeddedStack, keys: KeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with running(gateway(tmp_path_factory.mktemp("gateway"), stack.nats_url, keys)) as ready:
        yield ready


@contextlib.asynccontextmanager
async def connected(url: str, token: str) -> AsyncIterator[Client]:
    async with clients(url, token=token) as (client,):
        yield client


async def answer(url: str, **options: Any) -> str:
    """ "welcome", or the code of the refusal."""
    try:
        async with websockets.connect(url, **options) as socket:
            assert json.loads(await socket.recv())["type"] == "Welcome"
            return "welcome"
    except websockets.InvalidStatus as refused:
        code: str = json.loads(refused.response.body)["code"]
        return code


def http(process: ServiceProcess, path: str, token: str) -> tuple[int, Any]:
    base = process.url.replace("ws://", "http://").removesuffix("/ws")
    try:
        with urlopen(Request(f"{base}{path}", headers={"Authorization": f"Bearer {token}"}), timeout=10) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        return error.code, json.load(error)


def confused() -> str:
    """Signed with the public key as if it were a shared secret."""
    pem = OLD.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    content = jwt.encode(claims(), SECRET, "HS256", headers={"kid": "old"}).rpartition(".")[0]
    return f"{content}.{jwt.utils.base64url_encode(hmac.digest(pem, content.encode(), hashlib.sha256)).decode()}"


def in_seconds(seconds: int) -> int:
    return int(time.time()) + seconds


# --- credentials and actions -------------------------------------------------------------------------------

TAKEN = {
    "the secret": sealed(),
    "an RSA key": signed(OLD, "RS256"),
    "an RSA key, with PSS": signed(OLD, "PS384"),
    "an elliptic key": signed(ELLIPTIC, "ES256"),
    "an Edwards key": signed(EDWARDS, "EdDSA"),
}
REFUSED = {
    "expired": signed(OLD, "RS256", exp=in_seconds(-60)),
    "not valid yet": signed(OLD, "RS256", nbf=in_seconds(DAY)),
    "for another audience": signed(OLD, "RS256", aud="another"),
    "of another issuer": signed(OLD, "RS256", iss="https://evil.example"),
    "unsigned": jwt.encode(claims(), "", "none"),
    "signed with a public key as a secret": confused(),
    "signed by somebody else under the name of a key": signed(rsa_key("old"), "RS256"),
    "signed with an unknown key": signed(rsa_key("made up"), "RS256"),
    "of a guest": jwt.encode({"sub": USER, "aud": "studyroom guest", "exp": in_seconds(60)}, SECRET, "HS256"),
    "for rooms by name": sealed(rooms=["algebra"]),
    "nonsense": "nonsense",
}
WAYS = ["header", "subprotocol", "query", "cookie"]


async def knock(url: str, way: str, token: str) -> str:
    match way:
        case "header":
            return await answer(url, additional_headers={"Authorization": f"Bearer {token}"})
        case "subprotocol":
            return await answer(url, subprotocols=["studyroom", f"access_token.{token}"])
        case "query":
            return await answer(f"{url}?access_token={token}")
        case _:
            return await answer(url, additional_headers={"Cookie": f"theme=dark; {COOKIE}={token}"})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("by", TAKEN)
async def test_a_token_opens_a_websocket_if_it_is_signed_with(shared: ServiceProcess, by: str, way: str):
    assert await knock(shared.url, way, TAKEN[by]) == "welcome"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("token", REFUSED)
async def test_a_token_opens_nothing_if_it_is(shared: ServiceProcess, token: str, way: str):
    assert await knock(shared.url, way, REFUSED[token]) == "unauthorized"


@pytest.mark.parametrize("by", TAKEN)
def test_members_of_a_room_are_shown_over_http_by_a_token_of(shared: ServiceProcess, room: str, by: str):
    assert http(shared, f"/api/v1/rooms/{room}/roster", TAKEN[by])[0] == 200


@pytest.mark.parametrize("token", REFUSED)
def test_nothing_is_shown_over_http_by_a_token_that_is(shared: ServiceProcess, room: str, token: str):
    for path in ("", f"/{room}/roster", f"/{room}/messages"):
        status, body = http(shared, f"/api/v1/rooms{path}", REFUSED[token])
        assert (status, body["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("by", TAKEN)
async def test_an_open_connection_goes_on_by_a_newer_token_of(shared: ServiceProcess, by: str):
    async with connected(shared.url, sealed(exp=in_seconds(600))) as ann:
        await ann.send("Authenticate", {"token": TAKEN[by]})
        answer = await ann.expect("Authenticated")
    assert answer == {"expires_at": jwt.decode(TAKEN[by], options={"verify_signature": False})["exp"] * 1000}


@pytest.mark.parametrize("token", [*REFUSED, "belongs to another user"])
async def test_an_open_connection_keeps_its_identity_when_the_newer_token_is(
    shared: ServiceProcess, room: str, token: str
):
    newer = REFUSED.get(token) or sealed(sub="somebody else")
    async with connected(shared.url, sealed()) as ann:
        await ann.send("Authenticate", {"token": newer})
        refusal = await ann.next()
        assert (refusal["type"], refusal["payload"]["code"]) == ("Error", "unauthorized")
        assert newer not in refusal["payload"]["message"]
        await ann.join(room)


# --- where the token is ------------------------------------------------------------------------------------


async def test_a_token_among_the_subprotocols_is_never_answered(shared: ServiceProcess):
    token = sealed()
    async with websockets.connect(shared.url, subprotocols=["studyroom", f"access_token.{token}"]) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == "studyroom"
        assert socket.response is not None
        assert token not in str(socket.response.headers)


async def test_a_subprotocol_that_is_not_spoken_is_not_answered(shared: ServiceProcess):
    headers = {"Authorization": f"Bearer {sealed()}"}
    async with websockets.connect(shared.url, subprotocols=["chat"], additional_headers=headers) as socket:  # type: ignore[list-item]
        assert socket.subprotocol is None


async def test_a_cookie_does_not_help_a_page_of_another_origin(shared: ServiceProcess):
    cookie = {"Cookie": f"{COOKIE}={sealed()}"}
    assert await answer(shared.url, additional_headers=cookie, origin="https://evil.example") == "origin_not_allowed"


async def test_a_second_authorization_does_not_replace_the_first(shared: ServiceProcess):
    headers = [("Authorization", "Bearer nonsense"), ("Authorization", f"Bearer {sealed()}")]
    assert await answer(shared.url, additional_headers=headers) == "unauthorized"


# --- rooms -------------------------------------------------------------------------------------------------


async def test_a_token_for_some_rooms_opens_only_those(shared: ServiceProcess, room: str):
    other = f"{room[:-4]}0000"
    token = sealed(rooms=[room])
    async with connected(shared.url, token) as ann, connected(shared.url, sealed(sub="bob")) as bob:
        await bob.join(other)
        await ann.join(room)
        await ann.send("JoinRoom", {"room_id": other})
        refusal = await ann.next()
        assert (refusal["type"], refusal["payload"]["code"]) == ("Error", "room_not_allowed")
        await ann.chat("still here")
        await ann.expect("Chat")

        for path in ("roster", "messages"):
            assert http(shared, f"/api/v1/rooms/{room}/{path}", token)[0] == 200
            status, body = http(shared, f"/api/v1/rooms/{other}/{path}", token)
            assert (status, body["code"]) == (403, "room_not_allowed")
        assert http(shared, "/api/v1/rooms", token)[0] == 403
        assert other not in str(http(shared, "/api/v1/rooms?after=0-", token))


async def test_a_newer_token_opens_more_rooms(shared: ServiceProcess, room: str):
    async with connected(shared.url, sealed(rooms=[])) as ann:
        await ann.send("JoinRoom", {"room_id": room})
        assert (await ann.next())["payload"]["code"] == "room_not_allowed"
        await ann.send("Authenticate", {"token": sealed(rooms=[room])})
        await ann.expect("Authenticated")
        await ann.join(room)


async def test_a_newer_token_with_another_name_renames_a_member_without_a_leave(shared: ServiceProcess, room: str):
    async with connected(shared.url, sealed(name="Ann")) as ann, connected(shared.url, sealed(sub="bob")) as bob:
        await bob.join(room)
        await ann.join(room)
        await ann.send("Authenticate", {"token": sealed(name="Ann Lee", avatar_url="https://example.org/lee.png")})
        for client in (ann, bob):
            updated = (await client.expect("UserUpdated"))["user"]
            assert (updated["username"], updated["avatar_url"]) == ("Ann Lee", "https://example.org/lee.png")
        await ann.send("Authenticate", {"token": sealed(name=None)})
        await ann.expect("Authenticated")
        await ann.chat("renamed")
        assert (await bob.expect("Chat"))["username"] == "Ann Lee"
        assert "UserLeft" not in bob.types()
        assert bob.types().count("UserJoined") == 1


async def test_a_member_of_a_room_that_a_newer_token_does_not_name_leaves_it_and_is_closed(
    shared: ServiceProcess, room: str
):
    async with connected(shared.url, sealed()) as ann, connected(shared.url, sealed(sub="bob")) as bob:
        await bob.join(room)
        await ann.send("JoinRoom", {"room_id": room})
        await ann.send("Authenticate", {"token": sealed(rooms=[])})
        await ann.chat("this comes too late")
        assert await ann.ended() == 4002
        assert (await bob.expect("UserLeft"))["user_id"] == USER
        assert "Chat" not in bob.types()


# --- time --------------------------------------------------------------------------------------------------


async def test_a_connection_ends_soon_after_its_token(shared: ServiceProcess, room: str):
    until = in_seconds(2)
    async with connected(shared.url, sealed(exp=until)) as ann:
        assert ann.welcome["expires_at"] == until * 1000
        await ann.join(room)
        assert await ann.ended() == 4002
        assert until < time.time() < until + 5
    assert shared.metric('studyroom_gateway_disconnects_total{code="4002"}') >= 1


async def test_a_connection_outlives_its_token_by_a_newer_token(shared: ServiceProcess):
    until = in_seconds(2)
    async with connected(shared.url, sealed(exp=until)) as ann, connected(shared.url, sealed(exp=until)) as other:
        await ann.send("Authenticate", {"token": signed(ELLIPTIC, "ES256")})
        await ann.expect("Authenticated")
        assert await other.ended() == 4002
        await ann.settle()


async def test_a_guest_may_stay_and_receives_no_end(shared: ServiceProcess):
    async with clients(shared.url, username="Ann") as (guest,):
        assert "expires_at" not in guest.welcome


async def test_checking_tokens_for_one_client_costs_no_more_than_its_other_messages_may(shared: ServiceProcess):
    async with connected(shared.url, sealed()) as ann:
        for _ in range(100):
            await ann.send("Authenticate", {"token": "nonsense"})
        codes = [(await ann.next())["payload"]["code"] for _ in range(100)]
    assert codes.count("rate_limited") > 50
    assert codes.count("unauthorized") + codes.count("rate_limited") == 100


# --- guests ------------------------------------------------------------------------------------------------


async def test_no_user_becomes_a_guest_and_no_guest_becomes_somebody_else(shared: ServiceProcess):
    async with clients(shared.url, username="Ann") as (ann,):
        forged = jwt.encode({"sub": ann.user, "aud": "studyroom guest", "exp": in_seconds(60)}, "k" * 64, "HS256")
        unsigned = jwt.encode({"sub": ann.user, "aud": "studyroom guest", "exp": in_seconds(60)}, "", "none")
        for shown in (forged, unsigned, ann.user, sealed(sub=ann.user)):
            async with clients(f"{shared.url}?username=Ann&guest_token={shown}") as (other,):
                assert other.user != ann.user
        assert await answer(f"{shared.url}?access_token={ann.welcome['guest_token']}") == "unauthorized"
        await ann.send("Authenticate", {"token": sealed()})
        assert (await ann.next())["payload"]["code"] == "unauthorized"


# --- keys that come and go ---------------------------------------------------------------------------------


async def test_a_key_is_rotated_and_an_outage_keeps_those_that_are_known(stack: EmbeddedStack, tmp_path: Path):
    with key_server(OLD) as keys, running(gateway(tmp_path, stack.nats_url, keys)) as own:
        old, new = signed(OLD, "RS256"), signed(NEW, "RS256")
        keys.publish(OLD, NEW)

        async def is_known() -> bool:
            return await knock(own.url, "query", new) == "welcome"

        assert await knock(own.url, "query", new) == "unauthorized"
        await eventually(is_known, "the new key is known")
        keys.fail()
        assert await knock(own.url, "query", signed(rsa_key("made up"), "RS256")) == "unauthorized"
        await eventually(
            lambda: own.metric('studyroom_gateway_public_key_reads_total{result="failed"}') >= 2, "they cannot be read"
        )
        assert await knock(own.url, "query", old) == await knock(own.url, "query", new) == "welcome"
        async with connected(own.url, old) as ann:
            keys.publish(NEW)
            await eventually(lambda: _refused(own.url, old), "the old key is gone")
            await ann.settle()


async def _refused(url: str, token: str) -> bool:
    return await knock(url, "query", token) == "unauthorized"


async def test_a_gateway_that_cannot_read_the_keys_is_not_ready_and_answers_when_to_come_again(
    stack: EmbeddedStack, tmp_path: Path
):
    with key_server(OLD) as keys:
        keys.fail()
        own = gateway(tmp_path, stack.nats_url, keys)
        own.start()
        try:
            await eventually(
                lambda: http_get(own.url.replace("ws:", "http:").replace("/ws", "/health"))[0] == 200, "up"
            )
            with pytest.raises(websockets.InvalidStatus) as caught:
                await websockets.connect(f"{own.url}?access_token={signed(OLD, 'RS256')}")
            response = caught.value.response
            assert (response.status_code, json.loads(response.body)["code"]) == (503, "keys_unavailable")
            assert 1 <= int(response.headers["Retry-After"]) <= 10
            assert await asyncio.to_thread(http, own, "/api/v1/rooms", signed(OLD, "RS256")) == (
                503,
                {"code": "keys_unavailable", "message": json.loads(response.body)["message"]},
            )
            assert await knock(own.url, "query", sealed()) == "welcome"
            assert "keys" in http_get(f"{own.admin_url}/readyz")[1]
            keys.publish(OLD)
            await asyncio.to_thread(own.wait_ready)
            assert await knock(own.url, "query", signed(OLD, "RS256")) == "welcome"
        finally:
            own.stop()


# --- logs --------------------------------------------------------------------------------------------------


async def test_no_token_is_ever_logged(stack: EmbeddedStack, keys: KeyServer, tmp_path: Path):
    secrets = [sealed(sub="logged"), *REFUSED.values()]
    with running(gateway(tmp_path, stack.nats_url, keys)) as own:
        for token in secrets:
            for way in WAYS:
                await knock(own.url, way, token)
            await asyncio.to_thread(http, own, "/api/v1/rooms", token)
        async with connected(own.url, secrets[0]) as ann, clients(own.url, username="Ann") as (guest,):
            for token in secrets:
                await ann.send("Authenticate", {"token": token})
            await guest.send("Authenticate", {"token": "x" * 20_000})
            secrets.append(guest.welcome["guest_token"])
            await own_metrics_hold_no(own, secrets)
    logged = own.output()
    assert "listening" in logged
    for token in secrets:
        for part in (part for part in token.split(".") if len(part) > 8 and not part.startswith("eyJhbGciOi")):
            assert part not in logged
    assert SECRET not in logged


async def own_metrics_hold_no(process: ServiceProcess, tokens: list[str]) -> None:
    metrics = await asyncio.to_thread(process.metrics)
    assert not any(token in metrics for token in tokens if len(token) > 8)
