"""Replies that the gateway writes without pydantic are the messages of the protocol."""

import time

import pytest

from studyroom.gateway.connections.limits import StatedLimits
from studyroom.gateway.connections.replies import welcome_frame
from studyroom.gateway.wire.framing import payload_of
from studyroom.shared.contract.ids import new_connection_id, new_user_id
from studyroom.shared.contract.messages import Welcome, decode_server_message, encode
from studyroom.shared.contract.versions import PROTOCOL_VERSION


@pytest.mark.parametrize("guest_token", [None, "eyJh.eyJz.c2ln-_"])
@pytest.mark.parametrize("expires_at", [None, 1_900_000_000])
@pytest.mark.parametrize("room_hints", [False, True])
@pytest.mark.parametrize("living_chat", [False, True])
def test_a_welcome_is_encoded_as_its_model_encodes_it(
    guest_token: str | None, expires_at: int | None, *, room_hints: bool, living_chat: bool
):
    connection, user = new_connection_id(), new_user_id()
    before = time.time_ns() // 1_000_000
    frame = welcome_frame(
        connection,
        user,
        guest_token=guest_token,
        chat_retry_seconds=120,
        expires_at=expires_at,
        room_hints=room_hints,
        limits=StatedLimits(message_max_bytes=65_536, chat_max_chars=4000, history_on_join=50, living_chat=living_chat),
    )
    payload = payload_of(frame)
    welcome = decode_server_message(payload.decode())

    assert isinstance(welcome, Welcome)
    assert encode(welcome) == payload
    seen = welcome.payload
    assert (seen.connection_id, seen.user_id, seen.chat_retry_seconds) == (connection, user, 120)
    assert (seen.guest_token, seen.room_hints) == (guest_token, room_hints or None)
    assert (seen.message_max_bytes, seen.chat_max_chars, seen.history_on_join) == (65_536, 4000, 50)
    assert seen.living_chat == (living_chat or None)
    assert seen.protocol == PROTOCOL_VERSION
    assert seen.expires_at == (expires_at * 1000 if expires_at is not None else None)
    assert before <= seen.server_time <= time.time_ns() // 1_000_000
