"""The target and the query of a handshake."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.wire.handshake import Handshake, Refused, accepted, read_handshake

HEADERS = {"host": "localhost", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}


def handshake(url: bytes, **headers: str) -> Handshake:
    read = read_handshake(b"GET", "1.1", url, {**HEADERS, **headers}, "127.0.0.1")
    assert isinstance(read, Handshake)
    return read


@pytest.mark.parametrize("url", [b"/ws", b"/ws?", b"/ws?#part", b"http://localhost/ws"])
def test_a_target_without_parameters_has_none(url: bytes):
    assert (handshake(url).path, handshake(url).query) == ("/ws", {})


@given(st.text(st.sampled_from("ab=&;%+2f?/~-_."), max_size=12))
def test_a_query_is_read_as_by_the_standard_library(query: str):
    assert handshake(b"/ws?" + query.encode()).query == dict(parse_qsl(query, keep_blank_values=True))


def test_a_parameter_that_comes_twice_counts_with_its_last_value():
    assert handshake(b"/ws?room=a&room=b&x").query == {"room": "b", "x": ""}


@pytest.mark.parametrize("url", [b"http://[ws", b"/ws\xff", b""])
def test_a_target_that_cannot_be_read_is_refused(url: bytes):
    refused = read_handshake(b"GET", "1.1", url, HEADERS, "127.0.0.1")
    assert isinstance(refused, Refused)
    assert (refused.status, refused.code) == (400, "bad_handshake")


def test_an_accepted_handshake_gets_the_response_of_rfc_6455():
    head = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    ]
    assert accepted(handshake(b"/ws")) == b"\r\n".join([*head, b"", b""])
    assert accepted(handshake(b"/ws", **{"sec-websocket-protocol": "other, studyroom"})) == b"\r\n".join(
        [*head, b"Sec-WebSocket-Protocol: studyroom", b"", b""]
    )
