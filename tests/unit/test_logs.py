"""Contents that never appear in logs."""

import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog
from pydantic import ValidationError

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.settings import ProcessSettings
from studyroom.shared.contract.messages import decode_server_message
from studyroom.shared.contract.presence import JoinRequest


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_an_error_about_a_message_repeats_nothing_of_it():
    for read, wrong in (
        (JoinRequest.decode, b'{"profile": {"username": ["Ada Lovelace"]}}'),
        (decode_server_message, b'{"type":"Chat","payload":{"content":["Ada Lovelace"]}}'),
    ):
        with pytest.raises(ValidationError) as caught:
            read(wrong)
        assert "Ada" not in str(caught.value)


def fail_with(token: str) -> None:
    raise RuntimeError(f"failed with {len(token)} characters")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_places_and_no_values_of_variables(
    form: Literal["json", "console"], capsys: pytest.CaptureFixture[str]
):
    logs.configure(ProcessSettings(log_format=form), "test")
    try:
        fail_with("the secret")
    except RuntimeError:
        logs.get("tests").exception("that was our fault")
    sent = capsys.readouterr().err
    assert "that was our fault" in sent
    assert "fail_with" in sent
    assert "the secret" not in sent.replace('fail_with("the secret")', "")
