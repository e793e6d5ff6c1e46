"""The JSON Schema of the client protocol."""

from typing import Any

from pydantic import TypeAdapter

from studyroom.shared.contract.messages import ANY_CLIENT_MESSAGES, SERVER_MESSAGES


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the messages in both directions, each as a discriminated union."""
    _, schema = TypeAdapter.json_schemas(
        [
            ("ClientMessage", "validation", ANY_CLIENT_MESSAGES),
            ("ServerMessage", "serialization", SERVER_MESSAGES),
        ],
        title="Studyroom client protocol",
        ref_template="#/$defs/{model}",
    )
    unions = {
        "ClientMessage": ANY_CLIENT_MESSAGES.json_schema(mode="validation", ref_template="#/$defs/{model}"),
        "ServerMessage": SERVER_MESSAGES.json_schema(mode="serialization", ref_template="#/$defs/{model}"),
    }
    definitions = dict(schema["$defs"])
    for name, union in unions.items():
        union.pop("$defs", None)
        definitions[name] = union
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Studyroom client protocol",
        "oneOf": [{"$ref": "#/$defs/ClientMessage"}, {"$ref": "#/$defs/ServerMessage"}],
        "$defs": dict(sorted(definitions.items())),
    }
