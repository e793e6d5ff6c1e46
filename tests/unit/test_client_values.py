"""Values between a program and the Python client: addresses, tokens and events."""

from collections.abc import Callable

import pytest

from studyroom.client import Client, Connected, EventsLost, StudyroomError, Subscription
from studyroom.client.address import http_address, socket_address
from studyroom.client.identity import Identity

URL = "ws://127.0.0.1:8080/ws"


@pytest.mark.parametrize(
    ("url", "socket", "roster"),
    [
        ("ws://host/ws", "ws://host/ws?room=r", "http://host/api/roster?a=b"),
        ("https://host:1/x/ws?room=old&k=v#here", "wss://host:1/x/ws?k=v&room=r", "https://host:1/x/api/roster?room=old&k=v&a=b"),
        ("http://[::1]/ws", "ws://[::1]/ws?room=r", "http://[::1]/api/roster?a=b"),
    ],
)  # fmt: skip
def test_the_http_api_is_beside_the_websocket(url: str, socket: str, roster: str):
    assert socket_address(url, {"room": "r", "username": None}) == socket
    assert http_address(url, "api/roster", {"a": "b"}) == roster


@pytest.mark.parametrize("url", ["", "/ws", "ws:///ws", "ftp://host/ws", "host"])
def test_an_address_that_no_websocket_can_have_is_refused_at_once(url: str):
    with pytest.raises(ValueError, match="not the address of a WebSocket"):
        Client(url)


async def coroutine() -> str:
    return "t"


def failing() -> str:
    raise OSError("no identity provider")


@pytest.mark.parametrize("token", ["t", lambda: "t", coroutine])
async def test_a_token_is_text_or_a_function_or_a_coroutine_function(token: str | Callable[[], str]):
    headers, query = await Identity(token, "Ann", None).credentials()
    assert (headers, query) == ({"Authorization": "Bearer t"}, {})


async def test_a_guest_has_a_name_and_the_token_of_an_earlier_guest():
    headers, query = await Identity(None, "Ann", "g").credentials()
    assert (headers, query) == ({"Authorization": "Guest g"}, {"username": "Ann"})


async def test_a_user_who_was_signed_in_never_becomes_a_guest():
    tokens = iter(["t", None])
    identity = Identity(lambda: next(tokens), "Ann", None)
    await identity.credentials()
    with pytest.raises(StudyroomError) as refused:
        await identity.credentials()
    assert refused.value.code == "no_token"


async def test_a_function_for_tokens_that_fails_is_reported():
    with pytest.raises(StudyroomError, match="no identity provider") as refused:
        await Identity(failing, None, None).credentials()
    assert refused.value.code == "token_failed"


async def test_a_program_gets_the_events_that_came_before_the_end():
    subscription = Subscription(10)
    subscription.put(Connected("u", "c"))
    subscription.close()
    assert [event async for event in subscription] == [Connected("u", "c")]


async def test_a_program_that_takes_no_events_learns_that_they_are_lost():
    subscription = Subscription(2)
    for _ in range(3):
        subscription.put(Connected("u", "c"))
    assert subscription.closed
    with pytest.raises(EventsLost):
        await anext(subscription)


async def test_calls_before_the_client_is_entered_are_refused():
    client = Client(URL)
    with pytest.raises(RuntimeError, match="enter the client first"):
        await client.join("550e8400-e29b-41d4-a716-446655440000")
    with pytest.raises(ValueError, match="not a UUID"):
        await client.join("the library")
    with pytest.raises(ValueError, match="text that people can see"):
        await client.chat(" \u200b")
