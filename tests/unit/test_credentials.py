"""The places where the gateway looks for a token, and their order."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.wire.credentials import Unauthorized, access_token, guest_token, offered_subprotocols
from studyroom.gateway.wire.header_fields import combined

COOKIE = "__Host-session"
PLACES = {
    "the header": ({}, {"authorization": "Bearer in.the.header"}),
    "a subprotocol": ({}, {"sec-websocket-protocol": "studyroom, access_token.in.a.subprotocol"}),
    "the query": ({"access_token": "in.the.query"}, {}),
    "a cookie": ({}, {"cookie": f"theme=dark; {COOKIE}=in.a.cookie"}),
}
"""In the order in which they count."""


def found(query: dict[str, str], headers: dict[str, str], cookie: str | None = COOKIE) -> str | None:
    return access_token(query, headers, cookie=cookie)


@pytest.mark.parametrize("place", PLACES)
def test_a_token_is_found_in(place: str):
    assert found(*PLACES[place]) == place.replace("the", "in.the").replace("a ", "in.a.").replace(" ", ".")


@pytest.mark.parametrize("place", PLACES)
def test_the_first_place_counts(place: str):
    behind = list(PLACES)[list(PLACES).index(place) :]
    query = {key: value for name in behind for key, value in PLACES[name][0].items()}
    headers = {key: value for name in behind for key, value in PLACES[name][1].items()}
    assert found(query, headers) == found(*PLACES[place])


GUEST_PLACES = {
    "the header": ({}, {"authorization": "Guest in.the.header"}),
    "a subprotocol": ({}, {"sec-websocket-protocol": "studyroom, guest_token.in.a.subprotocol"}),
    "the query": ({"guest_token": "in.the.query"}, {}),
}
"""The places for the token of a guest, in the order in which they count."""


@pytest.mark.parametrize("place", GUEST_PLACES)
def test_the_token_of_a_guest_is_found_and_does_not_count_as_an_access_token(place: str):
    behind = list(GUEST_PLACES)[list(GUEST_PLACES).index(place) :]
    query = {key: value for name in behind for key, value in GUEST_PLACES[name][0].items()}
    headers = {key: value for name in behind for key, value in GUEST_PLACES[name][1].items()}
    assert guest_token(query, headers) == place.replace("the", "in.the").replace("a ", "in.a.").replace(" ", ".")
    assert found(query, headers) is None


def test_a_request_without_a_token_has_none():
    assert found({"username": "Ann"}, {"cookie": "theme=dark", "sec-websocket-protocol": "studyroom"}) is None


@pytest.mark.parametrize(
    "header", ["", "Basic YTpi", "Negotiate", 'Digest username="a, b", realm="Bearer"', "Bearers x"]
)
def test_another_scheme_in_the_header_is_ignored_and_the_next_place_counts(header: str):
    """A proxy that asks for a password of its own hands on what the browser gave it."""
    assert found({"access_token": "good"}, {"authorization": header}) == "good"
    assert found({}, {"authorization": header}) is None


@pytest.mark.parametrize("header", ["Bearer", "Bearer bad", "bearer\tbad", "Bearer good, Basic YTpi"])
def test_a_bearer_token_counts_alone_however_bad_it_is(header: str):
    assert found({"access_token": "good"}, {"authorization": header}) not in {None, "good"}


@pytest.mark.parametrize("header", ["Basic YTpi, Bearer good", "Basic YTpi,bearer good"])
def test_a_bearer_token_after_another_scheme_is_refused(header: str):
    with pytest.raises(Unauthorized, match="only value"):
        found({"access_token": "good"}, {"authorization": header})


def test_a_token_without_its_scheme_is_refused_and_not_taken_for_a_guest():
    with pytest.raises(Unauthorized, match="needs the scheme Bearer"):
        found({}, {"authorization": "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0-_"})


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_be_spelled_in_any_case(scheme: str):
    assert found({}, {"authorization": f"{scheme}  abc"}) == "abc"


@pytest.mark.parametrize(
    ("query", "headers"),
    [({"access_token": ""}, {}), ({}, {"sec-websocket-protocol": "studyroom, access_token."})],
    ids=["in the query", "in a subprotocol"],
)
def test_an_empty_token_is_a_bad_token(query: dict[str, str], headers: dict[str, str]):
    assert not found(query, {**headers, "cookie": f"{COOKIE}=good"})
    assert found(query, headers) is not None


# --- subprotocols ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "offered"),
    [("", []), ("studyroom", ["studyroom"]), (" a ,studyroom,,b\t", ["a", "studyroom", "b"])],
)
def test_offered_subprotocols_are_a_list(header: str, offered: list[str]):
    assert offered_subprotocols({"sec-websocket-protocol": header}) == offered


def test_a_token_among_the_subprotocols_needs_a_subprotocol_that_can_be_answered():
    with pytest.raises(Unauthorized, match="studyroom"):
        found({}, {"sec-websocket-protocol": "access_token.abc"})


def test_two_tokens_among_the_subprotocols_are_refused():
    with pytest.raises(Unauthorized, match="more than one"):
        found({}, {"sec-websocket-protocol": "studyroom, access_token.abc, access_token.def"})


# --- cookies -----------------------------------------------------------------------------------------------


def test_without_a_name_no_cookie_is_looked_at():
    assert found({}, {"cookie": f"{COOKIE}=abc"}, cookie=None) is None


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (f"{COOKIE}=abc", "abc"),
        (f'a=b;{COOKIE}="abc" ; c=d', "abc"),
        (f"{COOKIE}=abc; {COOKIE}=abc", "abc"),
        (f"{COOKIE}=a=b", "a=b"),
        (f"{COOKIE}=; a=b", None),
        (COOKIE, None),
        (f"x{COOKIE}=abc", None),
        (f"{COOKIE.lower()}=abc", None),
        (f"a={COOKIE}=abc", None),
    ],
)
def test_a_cookie_is_read_as_browsers_send_it(header: str, token: str | None):
    assert found({}, {"cookie": header}) == token


def test_a_second_cookie_from_another_site_of_the_domain_makes_no_guest_of_a_user():
    with pytest.raises(Unauthorized, match="more than one"):
        found({}, {"cookie": f"{COOKIE}=mine; {COOKIE}=theirs"})


# --- headers that come twice -------------------------------------------------------------------------------


def test_a_header_that_comes_twice_hides_nothing():
    headers = combined(
        [("Authorization", "Bearer good"), ("authorization", "Bearer bad"), ("Host", "a"), ("HOST", "b")]
    )
    assert headers == {"authorization": "Bearer good, Bearer bad", "host": "a, b"}


def test_subprotocols_and_cookies_may_come_in_several_headers():
    headers = combined(
        [("Sec-WebSocket-Protocol", "studyroom"), ("Sec-WebSocket-Protocol", "access_token.abc"),
         ("Cookie", "a=b"), ("Cookie", f"{COOKIE}=def")]
    )  # fmt: skip
    assert found({}, headers) == "abc"
    assert found({}, {"cookie": headers["cookie"]}) == "def"


@given(
    st.dictionaries(st.sampled_from(["access_token", "username"]), st.text(max_size=20)),
    st.dictionaries(st.sampled_from(["authorization", "cookie", "sec-websocket-protocol"]), st.text(max_size=40)),
)
def test_any_request_has_a_token_or_none_or_is_refused(query: dict[str, str], headers: dict[str, str]):
    with suppress(Unauthorized):
        token = found(query, headers)
        assert token is None or any(token in value for value in (*query.values(), *headers.values()))
