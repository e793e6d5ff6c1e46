"""The client protocol as an AsyncAPI 3.0 document: the messages, their direction and their answers.

The document is from the gateway's point of view, so it receives the messages of clients.
"""

from importlib.metadata import version
from typing import Any, get_args

from pydantic import BaseModel

from studyroom.shared.contract.channels import ChannelClosed, CloseChannel, OpenChannel
from studyroom.shared.contract.chat_messages import (
    Chat,
    ChatDeleted,
    ChatEdited,
    ChatReaction,
    ChatSend,
    DeleteChat,
    EditChat,
    ReactToChat,
)
from studyroom.shared.contract.close_codes import CloseCode, Reconnect, reconnect_rule
from studyroom.shared.contract.identification import Authenticate
from studyroom.shared.contract.messages import (
    AnyClientMessage,
    Authenticated,
    Error,
    JoinedRoom,
    JoinRoom,
    Ping,
    Pong,
    ServerMessage,
    Welcome,
)
from studyroom.shared.contract.schema import json_schema

ANSWERS: dict[type[BaseModel], type[BaseModel]] = {
    JoinRoom: JoinedRoom,
    ChatSend: Chat,
    EditChat: ChatEdited,
    DeleteChat: ChatDeleted,
    ReactToChat: ChatReaction,
    Ping: Pong,
    Authenticate: Authenticated,
    OpenChannel: Welcome,
    CloseChannel: ChannelClosed,
}
"""The answer to each message of a client if nothing is wrong. Other messages have no answer then."""

_CHANNEL = "#/channels/websocket"

_CREDENTIALS = {
    "header": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token in `Authorization`. Browsers offer the subprotocols `studyroom` and "
        "`access_token.<token>` instead.",
    },
    "query": {
        "type": "httpApiKey",
        "in": "query",
        "name": "access_token",
        "description": "An access token in the query. Guests need none, if the server lets them in.",
    },
}

_QUERY = {
    "type": "object",
    "properties": {
        "username": {"type": "string", "description": "The name of a guest."},
        "guest_token": {
            "type": "string",
            "description": "The `guest_token` of an earlier `Welcome`, with which a guest is the same user again. "
            "The subprotocol `guest_token.<token>` does the same, and no address has it.",
        },
        "room": {
            "type": "string",
            "format": "uuid",
            "description": "A hint for the load balancer: the room that the client is about to join.",
        },
        "channels": {"type": "string", "enum": ["true"], "description": "The client wants to open channels."},
        "moving": {"type": "string", "enum": ["true"], "description": "The client knows `Moving`."},
    },
}


def asyncapi() -> dict[str, Any]:
    """Return the document."""
    received, sent = get_args(AnyClientMessage), get_args(ServerMessage)
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
                "variables": {
                    "host": {"default": "study.example", "description": "The host of your gateways or load balancer."}
                },
                "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in _CREDENTIALS],
            }
        },
        "channels": {
            "websocket": {
                "address": "/ws",
                "servers": [{"$ref": "#/servers/gateway"}],
                "messages": {message.__name__: _ref("messages", message) for message in (*received, *sent)},
                "bindings": {"ws": {"method": "GET", "query": _QUERY, "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            **{f"receive{message.__name__}": _received(message) for message in received},
            "send": _sent(sent),
        },
        "components": {
            "messages": {message.__name__: _message(message) for message in (*received, *sent)},
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
    found = {"name": message.model_fields["type"].default, "payload": _ref("schemas", message)}
    return {**found, "description": " ".join(message.__doc__.split())} if message.__doc__ else found


def _schemas() -> dict[str, Any]:
    """Return the definitions of the JSON Schema without the unions, because the channel lists the messages.

    `type` is required here, although pydantic has defaults for it, because a message without it is invalid.
    """
    schemas: dict[str, Any] = {
        name: _relocated(schema)
        for name, schema in json_schema()["$defs"].items()
        if name not in {"ClientMessage", "ServerMessage"}
    }
    for message in (*get_args(AnyClientMessage), *get_args(ServerMessage)):
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
