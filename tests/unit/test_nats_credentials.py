from base64 import b64decode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from studyroom.shared.chassis.nats.credentials import BadCredentials, Credentials
from studyroom.shared.chassis.settings import BadSettings, NatsSettings, load
from tests.support.operator import Nkey, creds

JWT = "eyJ0eXAiOiJKV1QifQ.eyJzdWIiOiJVIn0.c2lnbmF0dXJl"
USER, ACCOUNT = 20 << 3, 0


def file(directory: Path, text: str) -> Path:
    path = directory / "gateway.creds"
    path.write_text(text)
    return path


def test_a_credentials_file_has_the_jwt_and_signs_as_its_user(tmp_path: Path):
    user = Nkey(USER)
    credentials = Credentials.read(file(tmp_path, creds(JWT, user.seed)))
    assert credentials.jwt == JWT
    key = Ed25519PublicKey.from_public_bytes(user.key.public_key().public_bytes_raw())
    key.verify(b64decode(credentials.sign("a nonce")), b"a nonce")
    assert user.seed.startswith("SU")
    assert user.public.startswith("U")
    assert JWT not in repr(credentials)


GOOD = Nkey(USER).seed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no section NATS USER JWT"),
        (creds(JWT, GOOD).partition("\n\n")[0], "has no section USER NKEY SEED"),
        (creds("not-a-jwt", GOOD), "the section NATS USER JWT is not a JWT"),
        (creds(JWT, GOOD[:-1]), "the seed is damaged"),
        (creds(JWT, GOOD[:20] + ("A" if GOOD[20] != "A" else "B") + GOOD[21:]), "the seed is damaged"),
        (creds(JWT, "SU!!"), "the seed is damaged"),
        (creds(JWT, Nkey(ACCOUNT).seed), "the seed is not that of a user"),
    ],
)
def test_a_bad_file_is_named_with_its_mistake_and_none_of_its_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
):
    path = file(tmp_path, text)
    with pytest.raises(BadCredentials, match=why) as raised:
        Credentials.read(path)
    monkeypatch.setenv("STUDYROOM_NATS_CREDENTIALS_FILE", str(path))
    with pytest.raises(BadSettings) as refused:
        load([NatsSettings])
    for message in (str(raised.value), str(refused.value)):
        assert str(path) in message
        assert why in message
        assert GOOD[2:12] not in message
        assert JWT not in message
    assert list(refused.value.problems) == ["STUDYROOM_NATS_CREDENTIALS_FILE"]


def test_a_credentials_file_takes_the_place_of_user_and_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STUDYROOM_NATS_CREDENTIALS_FILE", str(file(tmp_path, creds(JWT, GOOD))))
    monkeypatch.setenv("STUDYROOM_NATS_USER", "gateway")
    monkeypatch.setenv("STUDYROOM_NATS_PASSWORD", "secret")
    monkeypatch.setenv("STUDYROOM_NATS_JETSTREAM_DOMAIN", "a.b")
    with pytest.raises(BadSettings) as refused:
        load([NatsSettings])
    assert set(refused.value.problems) == {"STUDYROOM_NATS_CREDENTIALS_FILE", "STUDYROOM_NATS_JETSTREAM_DOMAIN"}
