"""Headers of messages are read as nats-py reads them."""

import nats.aio.client
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.shared.chassis.nats.client import NatsClient

NAMES = st.text(st.sampled_from("ab-:. \t\x01\x1c\u00e4"), max_size=8)
VALUES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)


def block(fields: list[tuple[str, str]], colon: str) -> bytes:
    return "".join(f"{name}{colon}{value}\r\n" for name, value in fields).encode() + b"\r\n"


@given(st.lists(st.tuples(NAMES, VALUES), max_size=4), st.sampled_from([":", ": ", ":\t", ""]))
def test_headers_are_those_that_nats_py_reads(fields: list[tuple[str, str]], colon: str):
    raw = block(fields, colon)
    assert NatsClient._parse_header_lines(raw) == nats.aio.client.Client._parse_header_lines(raw)


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"A: \xff\r\nB:2\r\n\r\n", b"\xff: 1\r\nB:2\r\n", b"A:1\r\nA:2\r\n"])
def test_damaged_and_repeated_headers_are_those_that_nats_py_reads(raw: bytes):
    assert NatsClient._parse_header_lines(raw) == nats.aio.client.Client._parse_header_lines(raw)
