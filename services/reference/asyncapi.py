"""The client protocol as an AsyncAPI 3.0 document: the messages, who says them, and what answers them.

It is written from the side of the gateway, so what clients say is what it receives.
"""

from importlib.metadata import version
from typing import Any, get_args

from pydantic import BaseModel

from studyroom.shared.contract.close_codes import CloseCode, Reconnect, reconnect_rule
from studyroom.shared.contract.messages import (
    Authenticate,
    Authenticated,
    Chat,
    ChatSend,
    ClientMessage,
    Error,
    JoinedRoom,
    JoinRoom,
    Ping,
    Pong,
    ServerMessage,
    json_schema,
)

ANSWERS: dict[type[BaseModel], type[BaseModel]] = {
    JoinRoom: JoinedRoom,
    ChatSend: Chat,
    Ping: Pong,
    Authenticate: Authenticated,
}
"""What a message of a client is answered with where nothing is wrong; the others are not answered then."""

_CHANNEL = "#/channels/websocket"

_CREDENTIALS = {
    "header": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token in `Authorization`; browsers offer the subprotocols `studyroom` and "
        "`access_token.<token>` instead.",
    },
    "query": {
        "type": "httpApiKey",
        "in": "query",
        "name": "access_token",
        "description": "The same in the query. Guests, where they are let in, need none.",
    },
}

_QUERY = {
    "type": "object",
    "properties": {
        "username": {"type": "string", "description": "What a guest is called."},
        "guest_token": {
            "type": "string",
            "description": "Of an earlier `Welcome`: a guest comes back as the same user.",
        },
        "room": {
            "type": "string",
            "format": "uuid",
            "description": "A hint for the load balancer: the room that the client is about to join.",
        },
    },
}


def asyncapi() -> dict[str, Any]:
    said, heard = get_args(ClientMessage), get_args(ServerMessage)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Studyroom client protocol",
            "version": version("studyroom"),
            "description": "One JSON object in each text frame. protocol.md explains order, resuming and codes.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "gateway": {
                "host": "{host}",
                "protocol": "wss",
                "variables": {"host": {"default": "study.example", "description": "Whatever leads to gateways."}},
                "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in _CREDENTIALS],
            }
        },
        "channels": {
            "websocket": {
                "address": "/ws",
                "servers": [{"$ref": "#/servers/gateway"}],
                "messages": {message.__name__: _ref("messages", message) for message in (*said, *heard)},
                "bindings": {"ws": {"method": "GET", "query": _QUERY, "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {**{f"receive{message.__name__}": _received(message) for message in said}, "send": _sent(heard)},
        "components": {
            "messages": {message.__name__: _message(message) for message in (*said, *heard)},
            "schemas": _schemas(),
            "securitySchemes": _CREDENTIALS,
        },
        "x-close-codes": {
            str(code.value): {"name": code.name.lower(), "reconnect": reconnect_rule(code) is Reconnect.RESUME}
            for code in CloseCode
        },
    }


def _ref(kind: str, message: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{message.__name__}"}


def _of_channel(*messages: type[BaseModel]) -> list[dict[str, str]]:
    return [{"$ref": f"{_CHANNEL}/messages/{message.__name__}"} for message in messages]


def _received(message: type[BaseModel]) -> dict[str, Any]:
    answers = [answer] if (answer := ANSWERS.get(message)) is not None else []
    return {
        "action": "receive",
        "channel": {"$ref": _CHANNEL},
        "messages": _of_channel(message),
        "reply": {"channel": {"$ref": _CHANNEL}, "messages": _of_channel(*answers, Error)},
    }


def _sent(messages: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    return {"action": "send", "channel": {"$ref": _CHANNEL}, "messages": _of_channel(*messages)}


def _message(message: type[BaseModel]) -> dict[str, Any]:
    told = {"name": message.model_fields["type"].default, "payload": _ref("schemas", message)}
    return {**told, "description": " ".join(message.__doc__.split())} if message.__doc__ else told


def _schemas() -> dict[str, Any]:
    """The parts of the JSON Schema, but for the unions: the channel says which messages there are.

    `type` is required: a reader in Python would fill it in, and a message without it is none.
    """
    schemas: dict[str, Any] = {
        name: _relocated(schema)
        for name, schema in json_schema()["$defs"].items()
        if name not in {"ClientMessage", "ServerMessage"}
    }
    for message in (*get_args(ClientMessage), *get_args(ServerMessage)):
        schema = schemas[message.__name__]
        schema["required"] = list(dict.fromkeys(["type", *schema.get("required", [])]))
    return schemas


def _relocated(schema: Any) -> Any:
    match schema:
        case dict():
            return {key: _relocated(value) for key, value in schema.items()}
        case list():
            return [_relocated(value) for value in schema]
        case str() if schema.startswith("#/$defs/"):
            return schema.replace("#/$defs/", "#/components/schemas/", 1)
        case _:
            return schema
