"""The parts of the probe that need no system: its tokens, its report, and the times and addresses of its command."""

import time

import jwt
import pytest
from click.testing import CliRunner

from studyroom.gateway.auth.identity import ROOMS_MAX, Authenticator
from studyroom.gateway.auth.settings import AuthSettings
from studyroom.services.probe.probe import READER, ROOMS, WRITER, Pass, Step, as_json, as_text
from studyroom.services.probe.settings import GatewayTokens, ProbeSettings
from studyroom.services.probe.tokens import token_source
from studyroom.services.stack.cli import main

SECRET = "a secret for tests, long enough for HS256"
OF_GATEWAY = {"jwt_secret": SECRET, "jwt_issuer": "https://id.example", "jwt_audience": "studyroom"}


def test_its_tokens_are_those_that_the_gateway_expects_for_its_rooms_alone():
    token_of = token_source(ProbeSettings(), GatewayTokens.model_validate(OF_GATEWAY))
    gateway = Authenticator(AuthSettings.model_validate(OF_GATEWAY))
    users = [gateway.identify({}, {"authorization": f"Bearer {token_of(role, ROOMS)}"}) for role in (WRITER, READER)]
    assert users[0].user != users[1].user
    assert {one.rooms for one in users} == {frozenset(ROOMS)}
    assert len(ROOMS) <= ROOMS_MAX


def test_its_tokens_end_after_minutes():
    token = token_source(ProbeSettings(), GatewayTokens.model_validate({"jwt_secret": SECRET}))(WRITER, ROOMS)
    claims = jwt.decode(token or "", SECRET, algorithms=["HS256"])
    assert claims.keys() == {"sub", "name", "rooms", "exp"}
    longest_pass = 120
    assert longest_pass < claims["exp"] - time.time() <= 300


def test_without_a_secret_it_is_a_guest():
    assert token_source(ProbeSettings(), GatewayTokens())(READER, ROOMS) is None


def test_a_pass_knows_the_step_that_failed():
    done = Pass(ROOMS[0])
    with done.step(Step.CONNECT):
        pass
    assert done.succeeded
    with pytest.raises(TimeoutError), done.step(Step.JOIN):
        raise TimeoutError
    assert (done.succeeded, done.failed, list(done.seconds)) == (False, Step.JOIN, [Step.CONNECT])


def test_the_report_has_a_line_for_each_step_and_the_reason_of_a_failure():
    done = Pass(ROOMS[0], {Step.CONNECT: 0.0123, Step.JOIN: 1.5}, Step.STORE, "chat_unavailable: later")
    assert as_text(done).splitlines() == [
        "connect       12.3 ms",
        "join        1500.0 ms",
        "store    failed: chat_unavailable: later",
    ]
    assert as_json(done) == {
        "succeeded": False,
        "room": ROOMS[0],
        "seconds": {"connect": 0.0123, "join": 1.5},
        "failed": "store",
        "reason": "chat_unavailable: later",
    }


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--every", "0s"], "'0s' is not a time such as 30s"),
        (["--every", "often"], "'often' is not a time such as 30s"),
        (["--every", "1d"], "'1d' is not a time such as 30s"),
        (["--every", "٣s"], "is not a time such as 30s"),
        (["--every", "30s", "--listen", "here"], "'here' is not an address such as 127.0.0.1:8081"),
        (["--every", "30s", "--listen", "127.0.0.1:65536"], "is not an address such as 127.0.0.1:8081"),
        (["--listen", "8081"], "--listen needs --every"),
        (["--every", "30s", "--json"], "--json is for a single pass"),
    ],
)
def test_times_and_addresses_that_make_no_sense_are_refused(arguments: list[str], problem: str):
    done = CliRunner().invoke(main, ["probe", *arguments], env={"STUDYROOM_ENV_FILE": ""})
    assert done.exit_code == 2
    assert problem in done.output


@pytest.mark.parametrize(("text", "seconds"), [("30", 30), ("30s", 30), ("0.5s", 0.5), ("2m", 120), ("1h", 3600)])
@pytest.mark.parametrize(
    ("address", "listened"),
    [("127.0.0.1:8081", ("127.0.0.1", 8081)), ("8081", ("0.0.0.0", 8081)), ("[::1]:0", ("::1", 0))],
)
def test_times_have_units_and_a_port_alone_means_all_interfaces(
    text: str, seconds: float, address: str, listened: tuple[str, int]
):
    context = main.commands["probe"].make_context("probe", ["--every", text, "--listen", address])
    assert (context.params["every"], context.params["listen"]) == (seconds, listened)
