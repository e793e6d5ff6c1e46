"""`docs/protocol.md` documents the whole contract, and nothing else."""

import json
import re
from collections.abc import Iterable
from typing import Any, cast, get_args

import pytest
from pydantic import BaseModel

from studyroom.gateway.auth.guests import _LIFETIME_SECONDS
from studyroom.gateway.auth.identity import EVENTS_MAX, ROOMS_MAX
from studyroom.gateway.broadcasts.broadcasts import _EARLY_BEATS
from studyroom.gateway.broadcasts.waiting import WAITING_MAX_BYTES
from studyroom.gateway.connections.connection import _AUTHENTICATE_COST, _BACKLOG_MAX
from studyroom.gateway.connections.limits import RENAMES_PER_SECOND
from studyroom.gateway.http.access import ErrorBody
from studyroom.gateway.http.messages import PAGE_MAX as MESSAGES_PAGE_MAX
from studyroom.gateway.http.messages import MessagesBody, NewMessage
from studyroom.gateway.http.rooms import PAGE_MAX, RoomsBody, RosterBody
from studyroom.gateway.living_chat.changes import _WAITING_MAX
from studyroom.gateway.rooms.cursors import _OWN_TYPING_SECONDS
from studyroom.gateway.service import _RESPONSE_READ_SECONDS
from studyroom.gateway.settings import GatewaySettings
from studyroom.gateway.wire.upgrade import _PIPELINE_MAX
from studyroom.presence.settings import PresenceSettings
from studyroom.shared.chassis.settings import Settings, StorageSettings
from studyroom.shared.contract.channels import decode_channel_message
from studyroom.shared.contract.chat_messages import MENTIONS_MAX
from studyroom.shared.contract.close_codes import CloseCode, Reconnect, reconnect_rule
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.folding import REACTIONS_MAX, SHOWN_USERS_MAX
from studyroom.shared.contract.identification import TOKEN_MAX_CHARS
from studyroom.shared.contract.messages import (
    AnyClientMessage,
    ServerMessage,
    UserPresence,
    decode_client_message,
    decode_server_message,
    encode,
)
from studyroom.shared.contract.schema import json_schema
from tests.support.markdown import ROOT, Document, quoted
from website.http import api_without_gateway

PROTOCOL = Document(ROOT / "docs" / "protocol.md")
MODERATION = Document(ROOT / "docs" / "moderation.md")
ERASURE = Document(ROOT / "docs" / "erasure.md")
PARTS = json_schema()["$defs"]
CLIENT_MESSAGES, SERVER_MESSAGES = get_args(AnyClientMessage), get_args(ServerMessage)
RANGE = NOTHING = "\N{EN DASH}"
BODIES: dict[str, type[BaseModel]] = {
    body.__name__: body for body in (ErrorBody, RosterBody, RoomsBody, MessagesBody, NewMessage)
}


# --- messages ----------------------------------------------------------------------------------------------


def payload_of(message: type[BaseModel]) -> type[BaseModel] | None:
    field = message.model_fields.get("payload")
    return cast("type[BaseModel]", field.annotation) if field is not None else None


def may_be_absent(payload: type[BaseModel], field: str, *, from_client: bool) -> bool:
    """A client may leave out fields with a default. A server leaves out fields that are marked so."""
    info = payload.model_fields[field]
    return not info.is_required() if from_client else info.exclude_if is not None


@pytest.mark.parametrize(
    ("section", "messages"), [("From the client", CLIENT_MESSAGES), ("From the server", SERVER_MESSAGES)]
)
def test_every_message_is_documented_with_exactly_its_fields(section: str, messages: tuple[type[BaseModel], ...]):
    documented = {quoted(row[0])[0]: quoted(row[1]) for row in PROTOCOL.rows(section)}
    there = {}
    for message in messages:
        payload = payload_of(message)
        there[message.model_fields["type"].default] = [
            f"{field}?" if may_be_absent(payload, field, from_client=messages is CLIENT_MESSAGES) else field
            for field in (payload.model_fields if payload else ())
            if payload
        ]
    assert documented == there


def fields() -> dict[str, str]:
    """The name of every field of a payload, and its type as the table spells it."""
    found: dict[str, list[tuple[str, int | None, bool]]] = {}
    payloads = [
        payload for message in (*CLIENT_MESSAGES, *SERVER_MESSAGES) if (payload := payload_of(message)) is not None
    ]
    nested = [PARTS[name] for name in ("UserPresence", "CursorPosition")]
    optional = {
        (payload.__name__, field)
        for payload in payloads
        for field in payload.model_fields
        if may_be_absent(payload, field, from_client=payload in {payload_of(message) for message in CLIENT_MESSAGES})
    }
    optional |= {("UserPresence", name) for name, info in UserPresence.model_fields.items() if info.exclude_if}
    for schema in [*(PARTS[payload.__name__] for payload in payloads), *nested]:
        for name, kind in schema["properties"].items():
            can_be_null = {"type": "null"} in kind.get("anyOf", []) and (schema["title"], name) not in optional
            (one,) = (part for part in kind.get("anyOf", [kind]) if part != {"type": "null"})
            found.setdefault(name, []).append((spelled(one), one.get("maxLength"), can_be_null))
    return {name: together(kinds) for name, kinds in found.items()}


def spelled(schema: dict[str, Any]) -> str:
    named = {
        "ErrorCode": "error code", "UserPresence": "user", "CursorPosition": "cursor", "ReactionSummary": "reaction",
    }  # fmt: skip
    if schema.keys() <= {"title"}:
        return "any JSON"
    if "$ref" in schema:
        return named[schema["$ref"].rpartition("/")[2]]
    if schema["type"] == "array":
        return f"list of {spelled(schema['items'])}s"
    return "UUID" if schema.get("format") == "uuid" else str(schema["type"])


def together(kinds: list[tuple[str, int | None, bool]]) -> str:
    (kind,) = {kind for kind, _, _ in kinds}
    longest = max((length for _, length, _ in kinds if length), default=None)
    return kind + (f" up to {longest}" if longest else "") + (" or null" if any(null for *_, null in kinds) else "")


def test_every_field_is_documented_with_its_type():
    assert {quoted(row[0])[0]: row[1] for row in PROTOCOL.rows("Fields")} == fields()


# --- examples ----------------------------------------------------------------------------------------------


def examples(language: str) -> list[str]:
    return PROTOCOL.code(f"json {language}")


@pytest.mark.parametrize("text", examples("client"))
def test_an_example_of_a_client_is_valid_and_has_no_field_that_is_unknown(text: str):
    assert holds(json.loads(encode(decode_channel_message(text) or decode_client_message(text))), json.loads(text))


@pytest.mark.parametrize("text", examples("server"))
def test_an_example_of_the_server_is_spelled_as_it_would_send_it(text: str):
    assert encode(decode_server_message(text)).decode() == text


@pytest.mark.parametrize("name", BODIES)
def test_an_example_of_a_body_is_valid_and_whole(name: str):
    (text,) = examples(name)
    assert json.loads(BODIES[name].model_validate_json(text).model_dump_json()) == json.loads(text)


def test_every_message_has_an_example_and_every_example_is_of_something():
    for language, messages in (("client", CLIENT_MESSAGES), ("server", SERVER_MESSAGES)):
        shown = {json.loads(text)["type"] for text in examples(language)}
        assert shown == {message.model_fields["type"].default for message in messages}
    assert {language for language in PROTOCOL.languages if language.startswith("json")} == {
        "json client", "json server", *(f"json {name}" for name in BODIES),
    }  # fmt: skip


def holds(whole: Any, part: Any) -> bool:
    """`part` has no field that `whole` lacks, however deep."""
    if isinstance(part, dict):
        return part.keys() <= whole.keys() and all(holds(whole[key], value) for key, value in part.items())
    return bool(whole == part)


# --- codes -------------------------------------------------------------------------------------------------


def documented_codes() -> Iterable[tuple[str, str]]:
    """Every error code of a table, with the action of a client."""
    for code, _, then in PROTOCOL.rows("Errors"):
        yield from ((one, then) for one in quoted(code))
    for row in [*PROTOCOL.rows("Connecting"), *PROTOCOL.rows("Over plain HTTP")]:
        if re.match(r"\d{3}", row[0]):
            yield from ((one, row[3]) for one in quoted(row[1]))


def test_every_error_code_is_documented_and_no_other():
    assert {code for code, _ in documented_codes()} == {code.value for code in ErrorCode}


def test_every_error_code_has_a_documented_client_action():
    assert [code for code, then in documented_codes() if not then] == []


def test_every_close_code_is_documented_by_its_rule():
    rules = {"connect again": Reconnect.RESUME, "stay away": Reconnect.NEVER}
    named = set()
    for cell, _, then in PROTOCOL.rows("Close codes"):
        (documented,) = (rule for words, rule in rules.items() if then.startswith(words))
        for part in cell.split(","):
            first, _, last = part.strip().partition(RANGE)
            named |= {int(first)} if not last else set()
            assert {reconnect_rule(code) for code in range(int(first), int(last or first) + 1)} == {documented}, part
    assert named == set(CloseCode)


# --- limits ------------------------------------------------------------------------------------------------

UNNOTICED = {
    "STUDYROOM_GATEWAY_DOCUMENT_MERGE_MS", "STUDYROOM_GATEWAY_PORT",
    "STUDYROOM_GATEWAY_JWKS_REFRESH_SECONDS", "STUDYROOM_GATEWAY_JWKS_RETRY_SECONDS",
    "STUDYROOM_GATEWAY_SHED_PER_SECOND", "STUDYROOM_GATEWAY_DRAIN_DELAY_SECONDS",
    "STUDYROOM_GATEWAY_DRAIN_SPREAD_SECONDS", "STUDYROOM_GATEWAY_ROOM_PART_MEMBERS", "STUDYROOM_PRESENCE_GUARD_SECONDS",
    "STUDYROOM_PRESENCE_REQUEST_DEADLINE_SECONDS", "STUDYROOM_PRESENCE_CONCURRENT_REQUESTS",
    "STUDYROOM_STORAGE_REPLICAS", "STUDYROOM_STORAGE_GROUPS", "STUDYROOM_STORAGE_SIZE_BYTES",
    "STUDYROOM_STORAGE_PRESENCE_MARKER_TTL_SECONDS", "STUDYROOM_STORAGE_HOOKS_MAX_AGE_SECONDS",
    "STUDYROOM_STORAGE_AUDIT_MAX_AGE_SECONDS", "STUDYROOM_GATEWAY_RETENTION_SECONDS",
}  # fmt: skip
"""Numbers in settings that limit no client. All others must be documented."""

FIXED = {
    "messages that wait while joining": _BACKLOG_MAX,
    "time that a typing notice lasts": _OWN_TYPING_SECONDS,
    "users that a message mentions": MENTIONS_MAX,
    "different reactions to a message": REACTIONS_MAX,
    "users that a message names for each reaction": SHOWN_USERS_MAX,
    "changes of chat that wait for the stream": _WAITING_MAX,
    "rooms that a token names": ROOMS_MAX,
    "events that a token names": EVENTS_MAX,
    "events that wait for a client that reads too slowly": WAITING_MAX_BYTES,
    "time that events wait until the members of a gateway know of the join of their sender": _EARLY_BEATS,
    "messages that an `Authenticate` counts as": 1 + _AUTHENTICATE_COST,
    "names that a guest takes": RENAMES_PER_SECOND,
    "life of a guest token since the last connection": _LIFETIME_SECONDS / 86_400,
    "rooms of an HTTP page": PAGE_MAX,
    "messages of an HTTP page": MESSAGES_PAGE_MAX,
    "time for reading an HTTP answer": _RESPONSE_READ_SECONDS,
    "HTTP requests of a socket that wait for the answer to another": _PIPELINE_MAX,
    "length of an access token": TOKEN_MAX_CHARS,
}
NO_LIMIT = {0, -1}


def numbers(*classes: type[Settings]) -> dict[str, float]:
    """Variable to default of all settings that are numbers."""
    return {
        variable: float(default)
        for cls in classes
        for field, variable in cls.variables().items()
        if isinstance(default := cls.model_fields[field].default, int | float) and not isinstance(default, bool)
    }


def number(cell: str) -> float | None:
    found = re.match(r"[\d,]+", cell)
    return float(found[0].replace(",", "")) if found is not None else None


def test_every_limit_is_documented_with_its_setting_and_default():
    limits = {name: value for name, value in numbers(*CLASSES).items() if name not in UNNOTICED}
    documented = {quoted(row[2])[0]: number(row[1]) for row in PROTOCOL.rows("Limits") if quoted(row[2])}
    assert documented == {name: None if value in NO_LIMIT else value for name, value in limits.items()}


def test_limits_without_a_setting_are_documented_too():
    documented = {row[0]: number(row[1]) for row in PROTOCOL.rows("Limits") if row[2] == NOTHING}
    assert documented == FIXED


CLASSES = (GatewaySettings, PresenceSettings, StorageSettings)


# --- plain HTTP --------------------------------------------------------------------------------------------


def test_every_request_is_documented_with_its_parameters_and_no_other():
    there = {
        (method.upper(), path, frozenset(names(operation.get("parameters", []))))
        for path, operations in api_without_gateway().openapi()["paths"].items()
        for method, operation in operations.items()
    }
    documented = set()
    for row in [*PROTOCOL.rows("Over plain HTTP"), *MODERATION.rows("Requests"), *ERASURE.rows("Requests")]:
        if (request := re.match(r"`(GET|POST|PUT|PATCH|DELETE) ([^`?]+)(?:\?([^`]*))?`", row[0])) is not None:
            query = re.findall(r"(\w+)=", request[3] or "")
            documented.add((request[1], request[2], frozenset(query)))
    assert documented == there


def names(parameters: Iterable[dict[str, Any]]) -> list[str]:
    return [parameter["name"] for parameter in parameters if parameter["in"] == "query"]
