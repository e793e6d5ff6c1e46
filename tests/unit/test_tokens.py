"""The matrix of credentials: the token, its place, and the answer."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from studyroom.gateway.auth.guests import Guests
from studyroom.gateway.auth.identity import NO_EXPIRY, Authenticator, Identity, user_id_of
from studyroom.gateway.auth.key_ring import KeyRing, read_keys
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.registry import Registry
from studyroom.gateway.edge.admission import Admission, Admitted
from studyroom.gateway.http.app import WEBSOCKET_PATH
from studyroom.gateway.lifecycle.drain import Drain
from studyroom.gateway.lifecycle.moving import Moves
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.settings import GatewaySettings
from studyroom.gateway.wire.credentials import Unauthorized
from studyroom.gateway.wire.handshake import Handshake, Refused
from studyroom.shared.contract.ids import RoomId, UserId, new_user_id
from tests.support.issuer import (
    AUDIENCE,
    DAY,
    ISSUER,
    SECRET,
    USER,
    Json,
    SigningKey,
    claims,
    ec_key,
    ed_key,
    key_set,
    rsa_key,
    sealed,
    signed,
)  # fmt: skip

RSA, EC, ED = rsa_key(), ec_key(), ed_key()
P384, P521 = ec_key("p384", ec.SECP384R1()), ec_key("p521", ec.SECP521R1())
NOBODYS = rsa_key("rsa")
"""Another key with the id of a key in the key set."""
KNOWN = (RSA, EC, ED, P384, P521)
COOKIE = "session"


def settings(**changes: object) -> GatewaySettings:
    values: Json = {
        "jwt_secret": SECRET, "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_cookie": COOKIE,
        "guests": True, "guest_secret": SECRET, **changes,
    }  # fmt: skip
    return GatewaySettings(**values)


def ring(*keys: SigningKey) -> KeyRing:
    return KeyRing(read_keys(key_set(*keys)))


GATE = Authenticator(settings(), ring(*KNOWN))


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def made_by_hand(header: Json, sign: Callable[[bytes], bytes], **changes: object) -> str:
    """A token that no library would make."""
    content = f"{encoded(header)}.{encoded(claims(**changes))}"
    return f"{content}.{base64.urlsafe_b64encode(sign(content.encode())).decode().rstrip('=')}"


def by_hmac(key: bytes) -> Callable[[bytes], bytes]:
    return lambda content: hmac.new(key, content, hashlib.sha256).digest()


PEM = RSA.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
DER = RSA.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
MODULUS = base64.urlsafe_b64decode(RSA.public()["n"] + "==")


def in_seconds(seconds: int) -> int:
    return int(time.time()) + seconds


WELCOME = {
    "signed with the secret": sealed(),
    **{
        f"signed with an RSA key by {name}": signed(RSA, name) for name in ("RS256", "RS384", "RS512", "PS256", "PS512")
    },
    "signed with P-256": signed(EC, "ES256"),
    "signed with P-384": signed(P384, "ES384"),
    "signed with P-521": signed(P521, "ES512"),
    "signed with Ed25519": signed(ED, "EdDSA"),
    "for us among others": signed(EC, "ES256", aud=["another", AUDIENCE]),
    "valid from within the leeway on": signed(EC, "ES256", nbf=in_seconds(5), iat=in_seconds(5)),
    "for all rooms": sealed(rooms="*"),
    "for no room": sealed(rooms=[]),
    "for as many rooms as can be kept": sealed(rooms=[new_user_id() for _ in range(256)]),
}

REFUSED = {
    "longer than a token may be": sealed(filling="x" * 16_384),
    # who it is for, and when
    "expired": signed(RSA, "RS256", exp=in_seconds(-60)),
    "not yet valid": signed(RSA, "RS256", nbf=in_seconds(DAY)),
    "from the future": signed(RSA, "RS256", iat=in_seconds(DAY)),
    "for another audience": signed(RSA, "RS256", aud="another"),
    "for a part of the audience": signed(RSA, "RS256", aud=AUDIENCE[:5]),
    "for no audience": signed(RSA, "RS256", aud=None),
    "of another issuer": signed(RSA, "RS256", iss="https://id.example.evil"),
    "of no issuer": signed(RSA, "RS256", iss=None),
    "of two issuers": jwt.PyJWS().encode(json.dumps(claims(iss=[ISSUER])).encode(), SECRET, "HS256"),
    "without an end": signed(RSA, "RS256", exp=None),
    "with an end that is not a number": sealed(exp=["later"]),
    "with an infinite end": jwt.PyJWS().encode(json.dumps(claims(exp=float("inf"))).encode(), SECRET, "HS256"),
    "of nobody": signed(RSA, "RS256", sub=None),
    "of an empty name": signed(RSA, "RS256", sub=""),
    # the algorithm
    "unsigned": jwt.encode(claims(), "", "none"),
    "unsigned, in capitals": made_by_hand({"alg": "NONE"}, lambda _: b""),
    "unsigned, by the name of a key": made_by_hand({"alg": "none", "kid": "rsa"}, lambda _: b""),
    "of no algorithm": made_by_hand({"typ": "JWT"}, by_hmac(SECRET.encode())),
    "of a list of algorithms": made_by_hand({"alg": ["HS256"]}, by_hmac(SECRET.encode())),
    "signed with the secret by HS384": sealed(algorithm="HS384"),
    "signed with the secret by HS512": sealed(algorithm="HS512"),
    "signed with another secret": sealed(SECRET[::-1]),
    "signed with a public key as if it were a secret (PEM)": made_by_hand({"alg": "HS256", "kid": "rsa"}, by_hmac(PEM)),
    "signed with a public key as if it were a secret (DER)": made_by_hand({"alg": "HS256", "kid": "rsa"}, by_hmac(DER)),
    "signed with a public key as if it were a secret (n)": made_by_hand({"alg": "HS256"}, by_hmac(MODULUS)),
    "signed with nothing as if it were a secret": made_by_hand({"alg": "HS256"}, by_hmac(b"")),
    "signed with the secret, called RS256": made_by_hand({"alg": "RS256", "kid": "rsa"}, by_hmac(SECRET.encode())),
    "of an RSA key, called ES256": made_by_hand({"alg": "ES256", "kid": "rsa"}, lambda _: b"\1" * 64),
    "of P-256, called RS256": made_by_hand({"alg": "RS256", "kid": "ec"}, lambda _: b"\1" * 256),
    "of P-256, called ES384": made_by_hand({"alg": "ES384", "kid": "ec"}, lambda _: b"\1" * 96),
    "of P-256, called EdDSA": made_by_hand({"alg": "EdDSA", "kid": "ec"}, lambda _: b"\1" * 64),
    "of P-256, called ES256K": made_by_hand({"alg": "ES256K", "kid": "ec"}, lambda _: b"\1" * 64),
    "of P-256, signed with zeros": made_by_hand({"alg": "ES256", "kid": "ec"}, lambda _: b"\0" * 64),
    # the key
    "signed by somebody else under the name of a key": signed(NOBODYS, "RS256"),
    "signed by somebody else whose key it brings along": signed(NOBODYS, "RS256", {"jwk": NOBODYS.public()}),
    "signed by somebody else with the address of that key": signed(
        NOBODYS, "RS256", {"jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/cert"}
    ),
    "signed with an unknown key": signed(rsa_key("new"), "RS256"),
    "signed with a key that is a path": signed(EC, "ES256", {"kid": "../../dev/null"}),
    # the rest
    "without its signature": signed(RSA, "RS256").rpartition(".")[0] + ".",
    "with other claims than were signed": ".".join(
        [signed(RSA, "RS256").split(".")[0], encoded(claims(sub="somebody else")), signed(RSA, "RS256").split(".")[2]]
    ),
    "with a critical extension": signed(EC, "ES256", {"crit": ["exp"], "exp": 1}),
    "of a guest": Guests(SECRET).token(new_user_id()),
    "for rooms that are none": sealed(rooms="550e8400-e29b-41d4-a716-446655440000"),
    "for rooms by name": sealed(rooms=["algebra"]),
    "for a list of everything": sealed(rooms=["*"]),
    "for rooms that are null": jwt.PyJWS().encode(json.dumps({**claims(), "rooms": None}).encode(), SECRET, "HS256"),
    "for more rooms than can be kept": sealed(rooms=[new_user_id() for _ in range(257)]),
    "empty": "",
    "no token": "nonsense",
}  # fmt: skip

WAYS: dict[str, Callable[[str], tuple[dict[str, str], dict[str, str]]]] = {
    "in the header": lambda token: ({}, {"authorization": f"Bearer {token}"}),
    "in a subprotocol": lambda token: ({}, {"sec-websocket-protocol": f"studyroom, access_token.{token}"}),
    "in the query": lambda token: ({"access_token": token}, {}),
    "in a cookie": lambda token: ({}, {"cookie": f"{COOKIE}={token}"}),
}


class NobodyIsBanned:
    def ban_of(self, _user: UserId, _room: RoomId | None = None) -> None: ...


def knock(gate: Authenticator, query: dict[str, str], headers: dict[str, str]) -> Identity | Refused:
    connections = Registry[Connection]()
    metrics = GatewayMetrics(CollectorRegistry())
    drain = Drain(settings(), connections, Moves(settings(), metrics))
    door = Admission(settings(), gate, drain, connections, NobodyIsBanned(), metrics)
    decision = door.decide(Handshake(WEBSOCKET_PATH, headers, None, query))
    return decision.identity if isinstance(decision, Admitted) else decision


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("token", WELCOME)
def test_a_client_is_let_in_with_a_token_that_is(token: str, way: str):
    answer = knock(GATE, *WAYS[way](WELCOME[token]))
    assert isinstance(answer, Identity)
    assert (answer.user, answer.username, answer.guest_token) == (USER, "Ann", None)


SHOWN = [(token, way) for token in REFUSED for way in WAYS if (token, way) != ("empty", "in a cookie")]
"""A cookie that was emptied is none."""


@pytest.mark.parametrize(("token", "way"), SHOWN)
def test_a_client_is_refused_with_a_token_that_is(token: str, way: str):
    answer = knock(GATE, *WAYS[way](REFUSED[token]))
    assert isinstance(answer, Refused)
    assert (answer.status, answer.code) == (401, "unauthorized")
    assert ("WWW-Authenticate", "Bearer") in answer.headers
    for part in REFUSED[token].split("."):
        assert len(part) < 10 or part not in answer.message


@pytest.mark.parametrize("token", WELCOME)
def test_a_connection_may_go_on_by_a_newer_token_if_it_is(token: str):
    assert GATE.renew(UserId(USER), WELCOME[token]).user == USER


@pytest.mark.parametrize("token", REFUSED)
def test_a_connection_may_not_go_on_by_a_newer_token_if_it_is(token: str):
    with pytest.raises(Unauthorized):
        GATE.renew(UserId(USER), REFUSED[token])


def test_a_connection_may_not_become_somebody_else():
    with pytest.raises(Unauthorized, match="another user"):
        GATE.renew(UserId(USER), sealed(sub="somebody else"))


def test_a_guest_may_not_become_somebody_by_a_token():
    guest = GATE.identify({"username": "Ann"}, {})
    with pytest.raises(Unauthorized, match="another user"):
        GATE.renew(guest.user, sealed())


# --- which tokens a gateway takes --------------------------------------------------------------------------


@pytest.mark.parametrize("token", [sealed(), made_by_hand({"alg": "HS256", "kid": "rsa"}, by_hmac(PEM))])
def test_a_gateway_that_has_only_public_keys_takes_nothing_that_is_signed_with_a_secret(token: str):
    answer = knock(Authenticator(settings(jwt_secret=None), ring(RSA)), {"access_token": token}, {})
    assert isinstance(answer, Refused)
    assert "alg" in answer.message


def test_a_gateway_that_has_only_a_secret_takes_nothing_that_is_signed_with_a_private_key():
    answer = knock(Authenticator(settings()), {"access_token": signed(RSA, "RS256")}, {})
    assert isinstance(answer, Refused)
    assert "alg" in answer.message


def test_without_an_audience_a_token_with_an_audience_is_refused():
    gate = Authenticator(settings(jwt_audience=None, jwt_issuer=None))
    assert isinstance(knock(gate, {"access_token": sealed(aud=None)}, {}), Identity)
    assert isinstance(knock(gate, {"access_token": sealed()}, {}), Refused)


# --- keys that are not known -------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [signed(RSA, "RS256"), signed(NOBODYS, "PS512"), signed(ED, "EdDSA")])
def test_before_any_key_is_known_a_client_with_a_token_of_a_key_is_asked_to_try_again(token: str):
    answer = knock(Authenticator(settings(), KeyRing()), {"access_token": token}, {})
    assert isinstance(answer, Refused)
    assert (answer.status, answer.code, answer.headers[0][0]) == (503, "keys_unavailable", "Retry-After")


def test_before_any_key_is_known_guests_and_tokens_of_the_secret_are_let_in():
    gate = Authenticator(settings(), KeyRing())
    assert isinstance(knock(gate, {"access_token": sealed()}, {}), Identity)
    assert isinstance(knock(gate, {"username": "Ann"}, {}), Identity)


def test_a_key_that_was_rotated_in_is_fetched_and_then_good_and_a_key_that_was_rotated_out_is_not():
    asked: list[bool] = []
    keys = KeyRing(read_keys(key_set(RSA)), on_missing=lambda: asked.append(True))
    gate = Authenticator(settings(), keys)
    assert isinstance(knock(gate, {"access_token": signed(EC, "ES256")}, {}), Refused)
    assert asked == [True]
    keys.keys = read_keys(key_set(EC))
    assert isinstance(knock(gate, {"access_token": signed(EC, "ES256")}, {}), Identity)
    assert isinstance(knock(gate, {"access_token": signed(RSA, "RS256")}, {}), Refused)


def test_a_token_that_cannot_be_valid_asks_for_no_keys():
    asked: list[bool] = []
    gate = Authenticator(settings(), KeyRing(read_keys(key_set(*KNOWN)), on_missing=lambda: asked.append(True)))
    for name, token in REFUSED.items():
        if "unknown" not in name and "path" not in name:
            knock(gate, {"access_token": token}, {})
    assert asked == []


# --- the claims of a token -----------------------------------------------------------------------------------


def identified(token: str, **changes: object) -> Identity:
    return Authenticator(settings(**changes)).identify({"access_token": token}, {})


def test_a_subject_is_another_user_with_another_issuer():
    ours = identified(sealed(sub="ada")).user
    theirs = identified(sealed(sub="ada", iss="https://other.example"), jwt_issuer="https://other.example").user
    assert ours == user_id_of("ada", ISSUER) == "bd5e3cec-d71d-58dd-a364-cb05936c0992"
    assert len({ours, theirs, user_id_of("ada")}) == 3


def test_a_subject_that_is_a_uuid_is_the_user_id_for_any_issuer():
    assert identified(sealed()).user == identified(sealed(iss=None), jwt_issuer=None).user == USER


def test_a_token_names_the_rooms_that_its_user_may_enter():
    room, other = RoomId("550e8400-e29b-41d4-a716-446655440000"), RoomId("7f2c1f0e-0d3b-4e0a-9c57-2b1f6a8f3d11")
    one = identified(sealed(rooms=[room.upper()]))
    assert (one.may_enter(room), one.may_enter(other)) == (True, False)
    assert identified(sealed()).may_enter(other)
    assert identified(sealed(rooms="*")).may_enter(other)
    assert not identified(sealed(rooms=[])).may_enter(room)


def test_the_clock_of_the_issuer_may_be_a_little_slow():
    assert identified(sealed(exp=in_seconds(-5))).user == USER
    with pytest.raises(Unauthorized, match="expired"):
        identified(sealed(exp=in_seconds(-5)), jwt_leeway_seconds=0)


@pytest.mark.parametrize(("role", "kept"), [("moderator", "moderator"), (None, None), (5, None), (["a"], None)])
def test_a_role_is_kept_if_it_is_a_word(role: object, kept: str | None):
    assert identified(sealed(role=role)).role == kept


def test_a_token_has_an_end_and_a_guest_may_stay():
    until = in_seconds(90)
    assert identified(sealed(exp=until)).expires_at == identified(sealed(exp=until + 0.7)).expires_at == until
    assert identified(sealed(exp=10**400)).expires_at == NO_EXPIRY == GATE.identify({}, {}).expires_at


def test_an_identity_can_be_printed_without_its_proof():
    guest = GATE.identify({}, {})
    assert guest.guest_token
    assert guest.guest_token not in repr(guest)
    assert "secret" not in repr(Handshake("/ws", {"authorization": "Bearer secret"}, None, {"access_token": "secret"}))


def test_a_key_that_names_its_algorithm_is_for_no_other():
    only = Authenticator(settings(), KeyRing(read_keys({"keys": [RSA.public(alg="PS256")]})))
    assert isinstance(knock(only, {"access_token": signed(RSA, "PS256")}, {}), Identity)
    assert isinstance(knock(only, {"access_token": signed(RSA, "RS256")}, {}), Refused)


def test_where_there_is_one_key_for_an_algorithm_a_token_need_not_name_it():
    shown = {"access_token": signed(RSA, "RS256", {"kid": None})}
    assert isinstance(knock(GATE, shown, {}), Identity)
    assert isinstance(knock(Authenticator(settings(), ring(RSA, rsa_key("other"))), shown, {}), Refused)


# --- anything at all ---------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ALGORITHMS = st.sampled_from(["HS256", "RS256", "PS256", "ES256", "EdDSA", "none", "None", "HS384", ""]) | JSON
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "alg": ALGORITHMS,
        "kid": st.sampled_from(["rsa", "ec", "ed", "x"]) | JSON,
        "crit": JSON,
        "b64": JSON,
        "typ": JSON,
    },
)
CLAIMS = st.dictionaries(
    st.sampled_from(["exp", "nbf", "iat", "sub", "iss", "aud", "jti", "name", "avatar_url", "rooms", "role"]), JSON
)


@given(HEADERS | JSON, st.binary(max_size=64))
def test_a_token_with_any_header_that_no_known_key_signed_is_refused(header: Json, signature: bytes):
    answer = knock(GATE, {"access_token": made_by_hand(header, lambda _: signature)}, {})
    assert isinstance(answer, Refused)
    assert answer.status == 401


@given(CLAIMS | JSON)
def test_any_signed_claims_let_a_client_in_for_a_while_or_are_refused(changes: object):
    whole = {**claims(), **changes} if isinstance(changes, dict) else changes
    token = jwt.PyJWS().encode(json.dumps(whole).encode(), SECRET, "HS256")
    answer = knock(GATE, {"access_token": token}, {})
    assert isinstance(answer, Identity | Refused)
    if isinstance(answer, Identity):
        assert time.time() - 10 <= answer.expires_at <= NO_EXPIRY
