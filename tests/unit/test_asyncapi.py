"""The protocol as AsyncAPI: `docs/asyncapi.json`, which @asyncapi/parser checks for its form in `make web-check`."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from studyroom.services.reference.asyncapi import asyncapi
from studyroom.shared.contract.close_codes import CloseCode
from studyroom.shared.contract.messages import AnyClientMessage, ServerMessage
from tests.unit.test_messages import CLIENT, SERVER

WRITTEN = Path(__file__).parents[2] / "docs" / "asyncapi.json"
DOCUMENT = asyncapi()
CLIENT_MESSAGES = {message.__name__ for message in get_args(AnyClientMessage)}
SERVER_MESSAGES = {message.__name__ for message in get_args(ServerMessage)}


def messages_of(operation: dict[str, Any]) -> set[str]:
    return {message["$ref"].rpartition("/")[2] for message in operation["messages"]}


def schema_of(name: str, classes: set[str]) -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    kind = name.split(".")[1]
    (cls,) = (cls for cls in classes if DOCUMENT["components"]["messages"][cls]["name"] == kind)
    parts = {"components": DOCUMENT["components"]}
    return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{cls}", **parts})


def test_the_written_document_matches_the_contract():
    assert json.loads(WRITTEN.read_text("utf-8")) == DOCUMENT, "make schema"


def test_every_message_of_a_client_is_received_and_every_one_of_the_server_sent():
    operations = DOCUMENT["operations"]
    received = [messages_of(operation) for operation in operations.values() if operation["action"] == "receive"]
    assert set().union(*received) == CLIENT_MESSAGES
    assert messages_of(operations["send"]) == SERVER_MESSAGES
    assert DOCUMENT["channels"]["websocket"]["messages"].keys() == CLIENT_MESSAGES | SERVER_MESSAGES


@pytest.mark.parametrize("name", CLIENT)
def test_messages_of_clients_fit(name: str):
    schema_of(name, CLIENT_MESSAGES).validate(json.loads(CLIENT[name]))


@pytest.mark.parametrize("name", SERVER)
def test_messages_of_the_server_fit(name: str):
    schema_of(name, SERVER_MESSAGES).validate(json.loads(SERVER[name]))


@pytest.mark.parametrize(
    "text", ['{"payload":{}}', '{"type":"JoinRoom"}', '{"type":"Typing","payload":{"is_typing":1}}']
)
def test_text_other_than_a_message_does_not_fit(text: str):
    assert not any(schema_of(name, CLIENT_MESSAGES).is_valid(json.loads(text)) for name in CLIENT)


def test_every_close_code_states_whether_to_connect_again():
    codes = DOCUMENT["x-close-codes"]
    assert codes.keys() == {str(code.value) for code in CloseCode}
    assert codes["4500"] == {"name": "flood", "reconnect": False}
    assert codes["1012"] == {"name": "service_restart", "reconnect": True}
