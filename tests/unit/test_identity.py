import base64
import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from studyroom.gateway.auth.guests import Guests
from studyroom.gateway.auth.identity import Authenticator, Identity, user_id_of
from studyroom.gateway.settings import GatewaySettings
from studyroom.gateway.wire.credentials import Unauthorized
from studyroom.shared.contract.ids import RoomId, UserId, canonical_uuid
from studyroom.shared.contract.messages import UserJoined, UserPayload, UserPresence, encode
from studyroom.shared.contract.text import is_blank, is_disruptive

SECRET = "a secret of thirty-two characters or more"
USER = "7f2c1f0e-0d3b-4e0a-9c57-2b1f6a8f3d11"
HOUR = 3600


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch):
    for variable in GatewaySettings.variables().values():
        monkeypatch.delenv(variable, raising=False)


def authenticator(
    secret: str | None = SECRET, *, guests: bool = False, guest_secret: str | None = None
) -> Authenticator:
    values: dict[str, Any] = {"guests": guests, "jwt_secret": secret, "guest_secret": guest_secret}
    return Authenticator(GatewaySettings(**values))


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: object) -> str:
    """A token that is valid for an hour, changed by `claims`. None leaves a claim out."""
    whole = {"sub": USER, "exp": int(time.time()) + HOUR, **claims}
    kept = {claim: value for claim, value in whole.items() if value is not None}
    return jwt.encode(kept, secret, algorithm)


VALID: dict[str, object] = {"sub": USER, "exp": 9_999_999_999}


def sealed(claims: dict[str, object]) -> str:
    """A token with these claims and no others, whether PyJWT would make it or not."""
    return jwt.PyJWS().encode(json.dumps(claims).encode(), SECRET, "HS256")


def by_query(token: str) -> Identity:
    return authenticator().identify({"access_token": token}, {})


def why_refused(token: str) -> str:
    with pytest.raises(Unauthorized) as caught:
        by_query(token)
    assert token not in str(caught.value)
    return str(caught.value)


# --- tokens ------------------------------------------------------------------------------------------------


def test_a_valid_token_names_its_user():
    identity = by_query(token(name="Ada", avatar_url="https://example.org/ada.png"))
    assert (identity.user, identity.username) == (USER, "Ada")
    assert identity.avatar_url == "https://example.org/ada.png"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_may_come_in_the_header(scheme: str):
    assert authenticator().identify({}, {"authorization": f"{scheme} {token()}"}).user == USER


def test_the_header_beats_the_query():
    other = token(sub="550e8400-e29b-41d4-a716-446655440000")
    identity = authenticator().identify({"access_token": other}, {"authorization": f"Bearer {token()}"})
    assert identity.user == USER


def test_a_bad_token_in_the_header_is_not_saved_by_a_good_one_in_the_query():
    with pytest.raises(Unauthorized):
        authenticator().identify({"access_token": token()}, {"authorization": "Bearer nonsense"})


def test_a_bearer_without_a_token_is_not_a_guest():
    with pytest.raises(Unauthorized):
        authenticator(guests=True).identify({}, {"authorization": "Bearer"})


@pytest.mark.parametrize("header", ["", "Basic YTpi", "Negotiate"])
def test_another_scheme_is_ignored_and_hides_no_token(header: str):
    assert authenticator(guests=True).identify({}, {"authorization": header}).is_guest
    assert not authenticator().identify({"access_token": token()}, {"authorization": header}).is_guest
    with pytest.raises(Unauthorized, match="an access token is required"):
        authenticator().identify({}, {"authorization": header})


def test_an_expired_token_is_refused():
    assert "expired" in why_refused(token(exp=int(time.time()) - HOUR))


def test_a_token_of_another_secret_is_refused():
    assert "Signature" in why_refused(token(secret=SECRET[::-1]))


def test_an_unsigned_token_is_refused():
    assert "alg" in why_refused(jwt.encode({"sub": USER, "exp": int(time.time()) + HOUR}, "", "none"))


def test_a_token_of_another_algorithm_is_refused():
    assert "alg" in why_refused(token(secret=SECRET * 2, algorithm="HS512"))


def test_a_token_that_was_tampered_with_is_refused():
    head, _, signature = token().split(".")
    body = base64.urlsafe_b64encode(b'{"sub":"someone else","exp":9999999999}').decode().rstrip("=")
    assert "Signature" in why_refused(f"{head}.{body}.{signature}")


@pytest.mark.parametrize("claim", ["exp", "sub"])
def test_a_token_without_a_required_claim_is_refused(claim: str):
    assert claim in why_refused(sealed({name: value for name, value in VALID.items() if name != claim}))


@pytest.mark.parametrize("subject", [5, True, ["ada"], {"id": 1}])
def test_a_subject_other_than_a_string_is_refused(subject: object):
    assert "ubject" in why_refused(sealed({**VALID, "sub": subject}))


@pytest.mark.parametrize("junk", ["", ".", "..", "a.b.c", "é.é.é", "[" * 50_000, "x" * 50_000])
def test_text_other_than_a_token_is_refused(junk: str):
    with pytest.raises(Unauthorized):
        by_query(junk)


def test_a_header_that_is_a_nesting_bomb_is_refused():
    bomb = base64.urlsafe_b64encode(b"[" * 45_000).decode().rstrip("=")
    assert why_refused(f"{bomb}.e30.e30")


@given(st.text())
def test_arbitrary_text_is_not_a_token(junk: str):
    with pytest.raises(Unauthorized):
        authenticator().identify({}, {"authorization": f"Bearer {junk}"})


def test_without_a_secret_no_token_is_accepted():
    with pytest.raises(Unauthorized, match="accepts no access tokens"):
        authenticator(secret=None, guests=True).identify({"access_token": token()}, {})


# --- user ids ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", [USER, USER.upper(), f"urn:uuid:{USER}"])
def test_a_subject_that_is_a_uuid_is_the_user_id(subject: str):
    assert by_query(token(sub=subject)).user == USER


def test_any_other_subject_becomes_the_same_user_id_for_ever():
    assert user_id_of("ada@example.org") == "48d0a457-1910-5500-8a49-97fb4d165529"


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_subjects_are_different_users(one: str, other: str):
    assert canonical_uuid(user_id_of(one)) == user_id_of(one)
    assert (user_id_of(one) == user_id_of(other)) == (one == other)


def test_a_subject_that_is_not_unicode_is_refused():
    why_refused(token(sub="\ud800"))


# --- how a member is shown ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ada", "Ada"),
        ("  Ada \t Lovelace\n", "Ada Lovelace"),
        ("Ada\x00\x1b[31m\u202e", "Ada [31m"),
        ("Zoë \U0001f44b", "Zoë \U0001f44b"),
        ("x" * 101, "x" * 100),
        ("", "User"),
        (" \n\u200b", "User"),
        (5, "User"),
        (["Ada"], "User"),
        (None, "User"),
    ],
)
def test_a_name_is_one_line_of_bounded_length(name: object, shown: str):
    assert by_query(token(name=name)).username == shown


@pytest.mark.parametrize("name", ["x" * 99 + " y", "ن\u200cن", "\U0001f469\u200d\U0001f680"])
def test_a_name_is_not_damaged(name: str):
    assert by_query(token(name=name)).username == name[:100].strip()


@given(st.text(max_size=300))
def test_any_name_is_made_presentable(name: str):
    shown = authenticator(guests=True).identify({"username": name}, {}).username
    assert 0 < len(shown) <= 100
    assert not is_disruptive(shown)
    assert not is_blank(shown)


@pytest.mark.parametrize(
    "avatar", [None, "", "\u200b", 5, ["https://example.org"], "https://example.org/" + "x" * 2000]
)
def test_an_avatar_that_cannot_be_shown_is_left_out(avatar: object):
    assert by_query(token(avatar_url=avatar)).avatar_url is None


def test_any_claims_of_a_token_can_be_sent_to_the_others():
    profile = by_query(token(name="x\ud800", avatar_url="https://example.org/\ud800"))
    presence = UserPresence.model_construct(
        user_id=UserId(USER), username=profile.username, avatar_url=profile.avatar_url, cursor=None
    )
    assert encode(UserJoined.model_construct(payload=UserPayload.model_construct(user=presence)))


# --- broadcast events --------------------------------------------------------------------------------------


def reserving(*events: str) -> Authenticator:
    values: dict[str, Any] = {"guests": True, "jwt_secret": SECRET, "broadcast_reserved": events}
    return Authenticator(GatewaySettings(**values))


@pytest.mark.parametrize(
    ("claims", "allowed"),
    [
        ({}, False),
        ({"broadcast": []}, False),
        ({"broadcast": ["lesson.*"]}, False),
        ({"broadcast": ["timer.start"]}, True),
        ({"broadcast": ["lesson.*", "timer.*"]}, True),
        ({"broadcast": ["*"]}, True),
        ({"broadcast": "*"}, True),
    ],
)
def test_a_reserved_event_needs_a_token_that_names_it(claims: dict[str, Any], *, allowed: bool):
    identity = reserving("timer.*").identify({"access_token": token(**claims)}, {})
    assert identity.events.allow("timer.start") is allowed
    assert identity.events.allow("reaction")


def test_a_guest_may_not_send_reserved_events():
    identity = reserving("timer.*").identify({}, {})
    assert not identity.events.allow("timer.start")
    assert identity.events.allow("reaction")


@pytest.mark.parametrize(
    "claim", [None, True, False, "timer", 5, {"timer": True}, [5], [None], ["two words"], ["a*b"], ["t"] * 65]
)
def test_events_of_a_token_that_may_be_a_misspelled_limit_are_refused(claim: object):
    text = sealed({**VALID, "broadcast": claim})
    assert "access token" in why_refused(text)


def test_a_newer_token_may_name_other_events():
    renewed = reserving("timer").renew(UserId(USER), token(broadcast=["timer"]))
    assert renewed.events.allow("timer")


@pytest.mark.parametrize("pattern", ["two words", "a*b", ""])
def test_a_setting_that_reserves_something_else_is_refused(pattern: str):
    with pytest.raises(ValidationError):
        reserving(pattern)


# --- shared documents --------------------------------------------------------------------------------------

ROOM, OTHER_ROOM = RoomId("550e8400-e29b-41d4-a716-446655440000"), RoomId("7c9e6679-7425-40de-944b-e07fc1f90ae7")


@pytest.mark.parametrize(
    ("claims", "rights"),
    [
        ({}, "write write"),
        ({"documents": "read"}, "read read"),
        ({"documents": "none"}, "none none"),
        ({"documents": {}}, "none none"),
        ({"documents": {ROOM: "write"}}, "write none"),
        ({"documents": {ROOM.upper(): "none", "*": "read"}}, "none read"),
    ],
)
def test_a_token_names_the_rights_of_its_user_to_documents(claims: dict[str, Any], rights: str):
    documents = authenticator().identify({"access_token": token(**claims)}, {}).documents
    assert f"{documents.of(ROOM)} {documents.of(OTHER_ROOM)}" == rights


def test_a_guest_may_write_documents():
    assert authenticator(guests=True).identify({}, {}).documents.of(ROOM) == "write"


@pytest.mark.parametrize(
    "claim",
    [None, True, 5, "Write", ["read"], {"room": "read"}, {ROOM: True}, {ROOM: ["read"]}, {ROOM: None}, {"*": "all"}],
)
def test_documents_of_a_token_that_may_be_a_misspelled_limit_are_refused(claim: object):
    assert "documents in the access token" in why_refused(sealed({**VALID, "documents": claim}))


# --- guests ------------------------------------------------------------------------------------------------


def test_without_a_token_nobody_is_let_in_by_default():
    with pytest.raises(Unauthorized, match="access token is required"):
        Authenticator(GatewaySettings()).identify({"username": "Ada"}, {})


def test_a_guest_is_let_in_under_its_name_and_a_new_id():
    gate = authenticator(guests=True)
    first, second = gate.identify({"username": "Ada"}, {}), gate.identify({"username": "Ada"}, {})
    assert first.username == second.username == "Ada"
    assert first.user != second.user


@pytest.mark.parametrize("query", [{}, {"username": ""}, {"username": " \n"}])
def test_a_guest_without_a_name_is_called_user(query: dict[str, str]):
    assert authenticator(guests=True).identify(query, {}).username == "User"


def test_a_bad_token_does_not_make_a_guest():
    with pytest.raises(Unauthorized):
        authenticator(guests=True).identify({"access_token": token(exp=1)}, {})


def test_an_empty_token_does_not_make_a_guest():
    with pytest.raises(Unauthorized):
        authenticator(guests=True).identify({"access_token": ""}, {})


def guest_token(gate: Authenticator, query: dict[str, str] | None = None) -> tuple[UserId, str]:
    identity = gate.identify(query or {}, {})
    assert identity.guest_token is not None
    return identity.user, identity.guest_token


def test_a_guest_token_is_signed_only_when_a_client_receives_it(monkeypatch: pytest.MonkeyPatch):
    gate = authenticator(guests=True, guest_secret=SECRET)
    monkeypatch.delattr(Guests, "token")
    identity = gate.identify({}, {})
    with pytest.raises(AttributeError, match="token"):
        assert identity.guest_token


@given(st.uuids().map(str), st.text(min_size=32, max_size=80))
def test_a_guest_token_is_the_jwt_that_pyjwt_makes_of_the_same_claims(user: str, secret: str):
    made = Guests(secret).token(UserId(user))
    claims = jwt.decode(made, options={"verify_signature": False})
    assert made == jwt.encode(claims, secret, "HS256")
    assert list(claims) == ["sub", "aud", "exp"]
    assert (claims["sub"], claims["aud"]) == (user, "studyroom guest")
    assert 29 * 24 * HOUR < claims["exp"] - time.time() <= 30 * 24 * HOUR


def test_a_token_in_the_form_of_gateways_is_recognised_without_pyjwt(monkeypatch: pytest.MonkeyPatch):
    guests = Guests(SECRET)
    user = guests.recognise(None)
    own = guests.token(user)
    monkeypatch.delattr(jwt, "decode")
    assert guests.recognise(own) == user


@pytest.mark.parametrize(
    "other",
    [
        jwt.encode({"exp": 9_999_999_999, "aud": "studyroom guest", "sub": USER}, SECRET, "HS256"),
        jwt.encode({"sub": USER, "aud": ["studyroom guest"], "exp": 9_999_999_999}, SECRET, "HS256"),
        jwt.encode({"sub": USER, "aud": "studyroom guest", "exp": 9_999_999_999}, SECRET, "HS256", {"kid": "1"}),
        jwt.encode({"sub": USER.upper(), "aud": "studyroom guest", "exp": 9_999_999_999}, SECRET, "HS256"),
    ],
    ids=["another order", "a list of audiences", "another header", "another spelling"],
)
def test_a_valid_guest_token_in_any_form_of_jwt_is_recognised(other: str):
    assert Guests(SECRET).recognise(other) == USER


def test_a_guest_token_with_any_character_changed_is_not_recognised():
    guests = Guests(SECRET)
    user = guests.recognise(None)
    own = guests.token(user)
    for at, character in enumerate(own[:-1]):  # two bits of the last one mean nothing
        changed = own[:at] + ("B" if character == "A" else "A") + own[at + 1 :]
        assert guests.recognise(changed) != user


def test_a_guest_that_comes_again_under_any_name_is_the_same_user_on_every_gateway_with_the_secret():
    user, shown = guest_token(authenticator(guests=True, guest_secret=SECRET))
    elsewhere = authenticator(guests=True, guest_secret=SECRET)
    assert elsewhere.identify({"guest_token": shown, "username": "Ada"}, {}).user == user
    assert elsewhere.identify({"guest_token": shown, "username": "Bob"}, {}).user == user


def test_a_guest_gets_a_new_token_each_time():
    gate = authenticator(guests=True, guest_secret=SECRET)
    user, shown = guest_token(gate)
    assert guest_token(gate, {"guest_token": shown})[0] == user


def forged(**claims: object) -> str:
    whole = {"sub": USER, "aud": "studyroom guest", "exp": int(time.time()) + HOUR, **claims}
    return jwt.encode({claim: value for claim, value in whole.items() if value is not None}, SECRET, "HS256")


def test_a_forged_token_would_be_accepted_without_its_flaw():
    assert authenticator(guests=True, guest_secret=SECRET).identify({"guest_token": forged()}, {}).user == USER


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "nonsense",
        "\ud800",
        forged(exp=1),
        forged(exp=None),
        forged(aud=None),
        forged(aud="another"),
        forged(sub="not a UUID"),
        forged(sub=None),
        jwt.encode({"sub": USER, "aud": "studyroom guest", "exp": 9_999_999_999}, "k" * 40, "HS256"),
        jwt.encode({"sub": USER, "aud": "studyroom guest", "exp": 9_999_999_999}, "", "none"),
        token(),
    ],
)
def test_a_client_with_a_foreign_guest_token_is_a_new_user(shown: str):
    identity = authenticator(guests=True, guest_secret=SECRET).identify({"guest_token": shown}, {})
    assert identity.user != USER
    assert identity.guest_token


def test_without_a_secret_a_guest_is_known_to_its_process_only():
    gate = authenticator(guests=True)
    user, shown = guest_token(gate)
    assert gate.identify({"guest_token": shown}, {}).user == user
    assert authenticator(guests=True).identify({"guest_token": shown}, {}).user != user


def test_a_guest_token_is_not_an_access_token_even_under_the_same_secret():
    gate = authenticator(guests=True, guest_secret=SECRET)
    _, shown = guest_token(gate)
    with pytest.raises(Unauthorized):
        gate.identify({"access_token": shown}, {})


def test_a_client_with_an_access_token_gets_no_guest_token():
    assert authenticator(guests=True).identify({"access_token": token()}, {}).guest_token is None


def test_where_guests_are_not_let_in_a_guest_token_helps_nobody():
    _, shown = guest_token(authenticator(guests=True, guest_secret=SECRET))
    with pytest.raises(Unauthorized):
        authenticator(guest_secret=SECRET).identify({"guest_token": shown}, {})
