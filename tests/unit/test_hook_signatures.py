"""Signatures of hooks, checked with the reference implementation of Standard Webhooks."""

import time

import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from studyroom.services.hooks.settings import HooksSettings
from studyroom.services.hooks.signatures import headers_for, read_secret
from tests.support.hooks import OLD_SECRET, SECRET

BODY = '{"type":"message.created","data":{"content":"Grüße"}}'.encode()


def signed(*secrets: str, at: float | None = None) -> dict[str, str]:
    return headers_for("msg_1", int(time.time() if at is None else at), BODY, [read_secret(one) for one in secrets])


@pytest.mark.parametrize("secrets", [(SECRET,), (SECRET, OLD_SECRET), (OLD_SECRET, SECRET)])
def test_a_receiver_with_one_of_the_secrets_accepts_the_signature(secrets: tuple[str, ...]):
    headers = signed(*secrets)
    assert headers["webhook-id"] == "msg_1"
    assert Webhook(SECRET).verify(BODY, headers)["type"] == "message.created"


def test_a_receiver_refuses_another_body_another_id_an_old_time_and_another_secret():
    headers = signed(SECRET)
    for body, changed in (
        (BODY + b" ", headers),
        (BODY, {**headers, "webhook-id": "msg_2"}),
        (BODY, signed(SECRET, at=time.time() - 600)),
        (BODY, signed(OLD_SECRET)),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body, changed)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", SECRET.removeprefix("whsec_"), "whsec_c2hvcnQ=", "whsec_!", SECRET * 3]
)
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: str):
    with pytest.raises(ValueError, match="24 to 64 bytes") as refused:
        read_secret(secret)
    assert secret in {"", "whsec_"} or secret not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STUDYROOM_HOOKS_URL", "ftp://backend.example.org"),
        ("STUDYROOM_HOOKS_URL", "https://user@backend.example.org"),
        ("STUDYROOM_HOOKS_URL", "https://"),
        ("STUDYROOM_HOOKS_SECRETS", "secret"),
        ("STUDYROOM_HOOKS_EVENTS", "message.created,message.sent"),
        ("STUDYROOM_HOOKS_ALLOW_NETWORKS", "10.0.0.1/8"),
    ],
)
def test_a_bad_setting_is_refused(variable: str, value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STUDYROOM_HOOKS_URL", "https://backend.example.org")
    monkeypatch.setenv("STUDYROOM_HOOKS_SECRETS", SECRET)
    HooksSettings()
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError):
        HooksSettings()


def test_an_address_needs_a_secret(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STUDYROOM_HOOKS_URL", "https://backend.example.org")
    with pytest.raises(ValidationError, match="needed to sign"):
        HooksSettings()
