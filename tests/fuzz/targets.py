"""The targets of fuzzing. Each target takes arbitrary bytes and fails when a parser breaks its promise.

`make fuzz` drives them with atheris, guided by coverage; `tests/unit/test_fuzz_targets.py` with hypothesis, in short.
"""

import base64
import hashlib
import hmac
import json
import re
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from studyroom.gateway.auth.identity import Authenticator
from studyroom.gateway.auth.key_ring import BadKeys, KeyRing, KeysUnavailable, read_keys
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.cursor_move import cursor_update, update_prefix
from studyroom.gateway.connections.registry import Registry
from studyroom.gateway.edge.admission import Admission, Admitted
from studyroom.gateway.edge.origins import is_allowed, problem_of
from studyroom.gateway.lifecycle.drain import Drain
from studyroom.gateway.lifecycle.moving import Moves
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.notices import encode_cursor
from studyroom.gateway.settings import GatewaySettings
from studyroom.gateway.wire.credentials import Unauthorized, access_token
from studyroom.gateway.wire.framing import Assembler, Opcode, Violation, close_payload, parse_close
from studyroom.gateway.wire.handshake import Handshake, Refused
from studyroom.gateway.wire.header_fields import combined, elements
from studyroom.gateway.wire.hosts import host_of
from studyroom.gateway.wire.protocol import Broken, Closed, Event, WebSocketProtocol
from studyroom.shared.contract import presence, subjects
from studyroom.shared.contract.broadcasts import decode_broadcasts, sender_of, slot_of
from studyroom.shared.contract.chat import encode_stored, with_sequence
from studyroom.shared.contract.chat_messages import ChatSend
from studyroom.shared.contract.close_codes import CloseCode, parse_reconnect_hint, reconnect_rule
from studyroom.shared.contract.ephemeral import (
    MalformedBatch,
    cursor_of,
    decode_batch,
    decode_digest,
    encode_batch,
    encode_digest,
)
from studyroom.shared.contract.ids import MessageId, RoomId, UserId, canonical_uuid
from studyroom.shared.contract.messages import (
    CursorMove,
    InvalidMessage,
    JoinRoom,
    decode_client_message,
    decode_server_message,
    encode,
)
from tests.fuzz import documents, requests
from tests.support.frames import frame_bytes

SECRET = "a secret for tests, long enough for HS256"
USER = UserId("0b9d7c4e-9d5a-4b52-8c1e-2f6a3f1f7a01")
ROOM = RoomId("550e8400-e29b-41d4-a716-446655440000")
_CANONICAL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MESSAGE_MAX_BYTES = 64


# --- frames ------------------------------------------------------------------------------------------------


def frames(data: bytes) -> None:
    """Any sequence of data frames: whole messages come out, or the violation that the whole of it shows.

    The bytes are frames of this test's own: opcode and final bit, a length, the payload.
    """
    assembler, message = Assembler(_MESSAGE_MAX_BYTES), None
    while data:
        opcode, final, size = (data[0] & 0x7F) % 3, bool(data[0] & 0x80), data[1] & 0x1F if len(data) > 1 else 0
        payload, data = data[2 : 2 + size], data[2 + size :]
        expected = _violation(message, opcode, payload, final=final)
        try:
            whole = assembler.feed(opcode, payload, final=final)
        except Violation as violation:
            assert violation.code in expected, (violation.code, expected)
            assert len(close_payload(violation.code, str(violation))) <= 125
            return
        assert not expected, f"taken, and should be closed with {expected}"
        message = (message or b"") + payload
        assert (whole is not None) == final
        if whole is not None:
            assert whole == message
            message = None
        assert assembler.in_message == (message is not None)


def _violation(message: bytes | None, opcode: int, payload: bytes, *, final: bool) -> set[CloseCode]:
    """The close codes that RFC 6455 allows for the data so far. Empty when there is nothing wrong."""
    if opcode not in {Opcode.CONTINUATION, Opcode.TEXT}:
        return {CloseCode.UNSUPPORTED_DATA, CloseCode.PROTOCOL_ERROR}
    if (opcode == Opcode.TEXT) != (message is None):
        return {CloseCode.PROTOCOL_ERROR}
    whole, found = (message or b"") + payload, set()
    if len(whole) > _MESSAGE_MAX_BYTES:
        found.add(CloseCode.MESSAGE_TOO_BIG)
    if not _is_utf8(whole, complete=final):
        found.add(CloseCode.INVALID_TEXT)
    return found


def _is_utf8(data: bytes, *, complete: bool) -> bool:
    """Or a beginning of it: something that one more character could still make whole."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return not complete and error.reason == "unexpected end of data"
    return True


def websocket_bytes(data: bytes) -> None:
    """Bytes of a client: the same events in one piece, in two, and byte by byte, and nothing after the last of them."""
    whole = _events(data)
    half = len(data) // 2
    assert whole == _events(data[:half], data[half:])
    assert whole == _events(*(data[place : place + 1] for place in range(len(data))))
    for event in whole:
        if isinstance(event, bytes):
            event.decode()
            assert len(event) <= _MESSAGE_MAX_BYTES
    assert not any(isinstance(event, Closed | Broken) for event in whole[:-1])


def _events(*pieces: bytes) -> list[Event]:
    protocol = WebSocketProtocol(_MESSAGE_MAX_BYTES)
    return [event for piece in pieces for event in protocol.receive_data(piece)]


def close_frames(data: bytes) -> None:
    try:
        code, reason = parse_close(data)
    except Violation as violation:
        assert violation.code in {CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_TEXT}
        return
    assert data in {b"", struct.pack("!H", code) + reason.encode()}
    reconnect_rule(code)
    hint = parse_reconnect_hint(reason)
    assert hint is None or hint >= 0


# --- messages ----------------------------------------------------------------------------------------------


def client_messages(data: bytes) -> None:
    """A message that means the same when it is encoded again, or a refusal that can be sent to the client."""
    text = data.decode(errors="ignore")
    try:
        message = decode_client_message(text)
    except InvalidMessage as invalid:
        assert 0 < len(str(invalid).encode()) < 1024
        assert invalid.about is None or (_CANONICAL.fullmatch(invalid.about) and '"Chat"' in text)
        return
    assert decode_client_message(encode(message).decode()) == message
    if isinstance(message, JoinRoom):
        assert _CANONICAL.fullmatch(message.payload.room_id)
        _subjects_of(message.payload.room_id, USER)
    if isinstance(message, CursorMove):
        decode_server_message(encode_cursor(USER, message.payload))
    if isinstance(message, ChatSend):
        stored = encode_stored(USER, "Ada", message.payload.content, 1, MessageId(ROOM))
        chat = json.loads(with_sequence(stored, 17))["payload"]
        assert (chat["content"], chat["seq"]) == (message.payload.content, 17)


def cursor_shortcut(data: bytes) -> None:
    """A message that takes the shortcut is a valid cursor and means the same as on the long way."""
    for candidate in (data, b'{"type":"CursorMove","payload":{' + data + b"}}"):
        short = cursor_update(update_prefix(USER), candidate)
        if short is None:
            continue
        message = decode_client_message(candidate.decode())
        assert isinstance(message, CursorMove)
        update = encode_cursor(USER, message.payload)
        assert json.loads(short) == json.loads(update)
        assert decode_server_message(short) == decode_server_message(update)
        assert json.loads(cursor_of(short)) == json.loads(cursor_of(update))
        assert b"\n" not in short


# --- between our processes ---------------------------------------------------------------------------------


def batches(data: bytes) -> None:
    with suppress(MalformedBatch):
        ingress_us, notices = decode_batch(data)
        assert encode_batch(ingress_us, notices) == data
    with suppress(MalformedBatch):
        assert encode_digest(decode_digest(data)) == data


def events(data: bytes) -> None:
    with suppress(MalformedBatch):
        batch = decode_broadcasts(data)
        assert decode_broadcasts(batch.encode()) == batch
        for message in batch.messages:
            assert sender_of(message).encode("ascii") in message
            assert message.startswith(slot_of(message) or b"{")


def presence_requests(data: bytes) -> None:
    for part in (
        presence.Entry, presence.JoinRequest, presence.LeaveRequest, presence.RosterRequest, presence.RosterReply,
        presence.CompleteRequest, presence.CompareRequest, presence.CompareReply, presence.RoomsRequest,
        presence.RecallRequest, presence.UpdateRequest,
    ):  # fmt: skip
        try:
            read = part.decode(data)
        except ValidationError:
            continue
        assert part.decode(read.encode()) == read
        if isinstance(read, presence.RoomConnection | presence.RosterRequest):
            _subjects_of(read.room, USER)


def ids_and_subjects(data: bytes) -> None:
    """Every accepted id is one token of a subject, and not a wildcard."""
    text = data.decode(errors="ignore")
    with suppress(ValueError):
        canonical = canonical_uuid(text)
        assert _CANONICAL.fullmatch(canonical)
        assert canonical_uuid(canonical) == canonical
        _subjects_of(RoomId(canonical), UserId(canonical))
    for parse in (subjects.parse_presence_key, subjects.parse_gateway_key):
        with suppress(ValueError):
            parse(text)


def _subjects_of(room: RoomId, user: UserId) -> None:
    for subject, tokens in (
        (subjects.presence_key(room, user), 5),
        (subjects.chat(room), 3),
        (subjects.room_cursor(room), 4),
        (subjects.room_typing(room), 4),
        (subjects.room_events(room).removesuffix(">") + "chat", 4),
    ):
        parts = subject.split(".")
        assert len(parts) == tokens
        assert all(parts)
        assert not set(subject) & set("*> \t\r\n")
    assert subjects.parse_presence_key(subjects.presence_key(room, user)) == (room, user)


# --- authentication ----------------------------------------------------------------------------------------

_SETTINGS = GatewaySettings(
    jwt_secret=SECRET,
    jwt_cookie="session",
    guests=True,
    guest_secret=SECRET,
    origins=("https://a.example",),
    trusted_proxies=("127.0.0.0/8",),
    handshakes_per_second=0,
)
_PROXY = "127.0.0.1"
_AUTHENTICATOR = Authenticator(_SETTINGS, KeyRing())


class _NobodyIsBanned:
    def ban_of(self, _user: UserId, _room: RoomId | None = None) -> None: ...


_CONNECTIONS = Registry[Connection]()
_METRICS = GatewayMetrics(CollectorRegistry())
_DOOR = Admission(
    _SETTINGS,
    _AUTHENTICATOR,
    Drain(_SETTINGS, _CONNECTIONS, Moves(_SETTINGS, _METRICS)),
    _CONNECTIONS,
    _NobodyIsBanned(),
    _METRICS,
)


def handshakes(data: bytes) -> None:
    """Lines of a request head, the query first: an identity, or a refusal that can be written."""
    query, *lines = data.decode("latin-1").split("\n")
    pairs = (line.partition(":") for line in lines)
    headers = combined((name.strip(), value.strip()) for name, _, value in pairs)
    with suppress(Unauthorized):
        access_token({"access_token": query}, headers, cookie="session")
    origin = headers.get("origin", "")
    is_allowed(origin, headers.get("host", ""), {"https://a.example", "https://*.b.example"})
    assert problem_of(origin) is not None or is_allowed(origin, "", {origin.lower()}) or "*" in origin
    assert all(element and element == element.strip(" \t") for element in elements(headers, "connection"))
    host_of(headers.get("host", ""))
    parameters = dict(part.split("=", 1) for part in query.split("&") if "=" in part)
    _check(_DOOR.decide(Handshake("/ws", headers, _PROXY, parameters)))


def tokens(data: bytes) -> None:
    """Read the data as a token, as its parts, and as claims that were signed with the right secret."""
    header, _, claims = data.partition(b"\n")
    for token in (data.decode("latin-1"), _signed(header, claims), _signed(b'{"alg":"HS256","typ":"JWT"}', data)):
        for query in ({"access_token": token}, {"guest_token": token, "username": token[:300]}):
            _check(_DOOR.decide(Handshake("/ws", {}, _PROXY, query)))
        with suppress(Unauthorized, KeysUnavailable):
            _AUTHENTICATOR.renew(USER, token)


def _signed(header: bytes, claims: bytes) -> str:
    content = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims))
    signature = hmac.new(SECRET.encode(), content, hashlib.sha256).digest()
    return (content + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def _check(decision: Admitted | Refused) -> None:
    if isinstance(decision, Refused):
        assert 400 <= decision.status < 600
        assert 0 < len(decision.message.encode()) < 1024
        for pair in decision.headers:
            assert not set("".join(pair)) & set("\r\n")
        return
    who = decision.identity
    assert _CANONICAL.fullmatch(who.user)
    profile = presence.Profile(username=who.username, avatar_url=who.avatar_url)
    assert presence.Profile.decode(profile.encode()) == profile
    assert all(_CANONICAL.fullmatch(room) for room in who.rooms or ())


def key_sets(data: bytes) -> None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    for candidate in (document, {"keys": document}, {"keys": [document]}):
        with suppress(BadKeys):
            keys = read_keys(candidate)
            with suppress(Unauthorized):
                KeyRing(keys).find("RS256", None)


# --- all of them -------------------------------------------------------------------------------------------


WORDS = (
    "type", "payload", "JoinRoom", "LeaveRoom", "Chat", "CursorMove", "Typing", "Ping", "Authenticate", "room_id",
    "since", "epoch", "content", "id", "x", "y", "element_id", "is_typing", "token", "profile", "username",
    "avatar_url", "connections", "room", "user", "connection", "gateway", "with_roster", "lost", "outcome", "members",
    "revision", "cursor", "gateways", "rooms", "digest", "shard", "limit", "shards", "alg", "kid", "crit", "HS256",
    "RS256", "none", "sub", "exp", "nbf", "iat", "aud", "iss", "role", "name", "keys", "kty", "crv", "key_ops", "use",
    "oct", "OKP", "access_token.", "Authorization", "Bearer ", "Cookie", "Origin", "Host", "Sec-WebSocket-Protocol",
    "session=", "1e999", "-0", "NaN", "Infinity", "null", "true", r"\ud800", r"\u0000", "[[[[[[[[", "$KV.", ".>",
    ".*", "urn:uuid:", USER,
)  # fmt: skip
"""Tokens that the fuzzers put in here and there."""


@dataclass(frozen=True)
class Target:
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    """Valid or nearly valid inputs, for a fuzzer to begin with."""


def _uuid_bytes(shape: str) -> bytes:
    return shape.replace("ROOM", ROOM).replace("USER", USER).encode()


TARGETS = {
    "frames": Target(frames, (b"\x81\x05hello", b"\x01\x02\xc3\xa9\x80\x01x", b"\x01\x01\xf0\x00\x03\x9f\x98\x80")),
    "websocket_bytes": Target(
        websocket_bytes,
        (
            frame_bytes(1, b"{}") + frame_bytes(9, b"?") + frame_bytes(8, b"\x03\xe8bye"),
            frame_bytes(1, b"\xc3", fin=False) + frame_bytes(0, b"\xa9"),
            frame_bytes(1, b"x" * 126),
            b"\x81\xff" + bytes(6) + b"\x01\x00" + bytes(4),
        ),
    ),
    "close_frames": Target(close_frames, (b"", b"\x03\xe8bye", b"\x03\xf4reconnect_after_ms=100")),
    "client_messages": Target(
        client_messages,
        tuple(
            _uuid_bytes(text)
            for text in (
                '{"type":"JoinRoom","payload":{"room_id":"ROOM","since":3,"epoch":"e"}}',
                '{"type":"Chat","payload":{"content":"caf\\u00e9 \\ud83d\\ude00","id":"ROOM"}}',
                '{"type":"CursorMove","payload":{"x":1.5,"y":-2e3,"element_id":"a"}}',
                '{"type":"Typing","payload":{"is_typing":true}}',
                '{"type":"Authenticate","payload":{"token":"a.b.c"}}',
                '{"type":"Broadcast","payload":{"event":"a.b","data":{"x":[1,"\\u00e9"]},"key":"k"}}',
                '{"type":"Ping"}',
            )
        ),
    ),
    "cursor_shortcut": Target(
        cursor_shortcut,
        (b'"x":1,"y":-2.5,"element_id":"a"', b'"x":0,"y":0', b'{"type":"CursorMove","payload":{"x":1,"y":2}}'),
    ),
    "batches": Target(
        batches, (_uuid_bytes('0000000000000017\nUSER{}\nUSER{"a":1}'), _uuid_bytes('ROOMUSER{"x":1,"y":2}'))
    ),
    "events": Target(
        events,
        (
            _uuid_bytes('1 2 3 ROOM\n{"type":"Broadcast","payload":{"user_id":"USER","event":"a","key":"k","data":1}}'),
            _uuid_bytes('1 2 3 ROOM\n{"type":"Broadcast","payload":{"user_id":"USER","event":"a","data":{"b":2}}}'),
        ),
    ),
    "presence_requests": Target(
        presence_requests,
        tuple(
            _uuid_bytes(text)
            for text in (
                '{"profile":{"username":"Ada"},"connections":{"USER:0":"ROOM"}}',
                '{"room":"ROOM","user":"USER","connection":"ROOM:1","gateway":"USER","profile":{"username":"A"},'
                '"with_roster":true}',
                '{"room":"ROOM","user":"USER","connection":"ROOM:1","lost":true}',
                '{"outcome":"ok","members":[{"user":"USER","profile":{"username":"A"},"revision":3}]}',
                '{"room":"ROOM","user":"USER","connection":"ROOM:1","number":2,"fields":{"a":null},"max_bytes":9}',
                '{"profile":{"username":"Ada"},"connections":{},"fields":{"a":[1]},"updates":{"ROOM:1":2}}',
                '{"epoch":"e","rooms":{"ROOM":{"revision":1,"digest":2}}}',
                '{"shard":3,"after":"","limit":10}',
            )
        ),
    ),
    "ids_and_subjects": Target(
        ids_and_subjects,
        tuple(
            _uuid_bytes(text)
            for text in (
                "ROOM", "{ROOM}", "urn:uuid:ROOM", "$KV.presence.7.ROOM.USER", "$KV.gateways.ROOM", "room.1.ROOM.chat",
            )
        ),
    ),
    "handshakes": Target(
        handshakes,
        (
            b"access_token=a.b.c\nhost: a.example\norigin: https://a.example",
            b"username=Ada\nAuthorization: Bearer a.b.c\nCookie: session=a; session=b",
            b"\nSec-WebSocket-Protocol: studyroom, access_token.a.b.c",
            b"\nOrigin: https://x.b.example\nConnection: a,\nConnection: Upgrade ,,",
        ),
    ),
    "requests": Target(
        requests.run,
        (
            b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nHEAD /b?c HTTP/1.0\r\n\r\n",
            b"POST /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\n"
            b"GET /GET /b HTTP/1.1\r\n\r\n",
            b"PUT /a HTTP/1.1\r\nUpgrade: x\r\nConnection: a,upgrade\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n0\r\nX: y\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        ),
    ),
    "document_updates": Target(documents.updates, documents.UPDATES),
    "document_messages": Target(documents.received, documents.MESSAGES),
    "tokens": Target(
        tokens,
        (
            b'{"alg":"HS256"}\n{"sub":"ada","exp":4102444800,"name":"Ada","rooms":"*"}',
            _uuid_bytes('{"sub":"USER","exp":4102444800,"rooms":["ROOM"],"avatar_url":"https://a.example","role":"x"}'),
            b'{"alg":"RS256","kid":"k","crit":["b64"],"b64":false}\n{}',
        ),
    ),
    "key_sets": Target(
        key_sets,
        (
            b'{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}',
            b'{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",'
            b'"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","alg":"ES256","key_ops":["verify"]}',
            b'{"kty":"RSA","n":"AQAB","e":"AQAB","use":"sig"}',
        ),
    ),
}  # fmt: skip
