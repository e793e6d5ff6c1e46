"""Contents that never appear in logs, and the form of lines."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
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
    logs.FrequentLogger.handler = None
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


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    for line in lines:
        datetime.fromisoformat(line.pop("timestamp"))
    return lines


def test_lines_about_connections_are_like_all_others(capsys: pytest.CaptureFixture[str]):
    logs.configure(ProcessSettings(log_format="json"), "test")
    fields: dict[str, str | float | None] = {"user": 'Grüße "😀"\n', "room": None, "code": 1000, "seconds": 1.25}
    logs.get("tests").info("disconnected", **fields)
    logs.FrequentLogger("tests").info("disconnected", **fields)
    usual, frequent = lines_of(capsys)
    assert usual == frequent
    assert list(usual) == list(frequent)
    assert usual == {**fields, "event": "disconnected", "service": "test", "level": "info"}


async def test_lines_about_connections_are_written_together_and_in_order(monkeypatch: pytest.MonkeyPatch):
    written: list[str] = []
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(write=written.append, flush=lambda: None, isatty=lambda: False))
    logs.configure(ProcessSettings(log_format="json"), "test")
    frequent = logs.FrequentLogger("tests")
    for code in range(3):
        frequent.info("disconnected", code=code)
    logs.get("tests").info("full")
    frequent.info("disconnected", code=3)
    frequent.info("disconnected", code=4)
    await asyncio.sleep(0)

    writes = [[json.loads(line).get("code") for line in lines.splitlines()] for lines in written if lines.strip()]
    assert writes == [[0, 1, 2], [None], [3, 4]]


def test_lines_about_connections_are_not_lost_when_the_process_exits(capsys: pytest.CaptureFixture[str]):
    logs.configure(ProcessSettings(log_format="json"), "test")

    async def end_at_once() -> None:
        logs.FrequentLogger("tests").info("disconnected")

    loop = asyncio.new_event_loop()
    loop.run_until_complete(end_at_once())
    loop.close()
    logging.getLogger().handlers[0].flush()  # as `logging.shutdown` does
    assert [line["event"] for line in lines_of(capsys)] == ["disconnected"]


def test_lines_about_connections_are_readable_on_a_terminal(capsys: pytest.CaptureFixture[str]):
    logs.configure(ProcessSettings(log_format="console"), "test")
    logs.FrequentLogger("tests").info("disconnected", code=1000)
    shown = capsys.readouterr().err
    assert "disconnected" in shown
    assert not shown.startswith("{")


def test_lines_about_connections_follow_the_level(capsys: pytest.CaptureFixture[str]):
    logs.configure(ProcessSettings(log_format="json", log_level="warning"), "test")
    frequent = logs.FrequentLogger("tests")
    frequent.info("connected")
    logging.getLogger().setLevel("INFO")
    frequent.info("disconnected")
    assert [line["event"] for line in lines_of(capsys)] == ["disconnected"]


def test_a_line_that_cannot_be_written_is_lost_and_nothing_else(monkeypatch: pytest.MonkeyPatch):
    with Path(os.devnull).open("w", encoding="utf-8") as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        logs.configure(ProcessSettings(log_format="json"), "test")
    logs.FrequentLogger("tests").info("disconnected")
