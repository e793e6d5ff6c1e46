"""The reference of the HTTP API, from the OpenAPI document of the gateway."""

from collections.abc import Iterator
from typing import Any, cast

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from studyroom.gateway.document_http.routers import document_routers
from studyroom.gateway.erasure.routers import erasure_routers
from studyroom.gateway.http.app import build_app
from studyroom.gateway.http.audit import Audit
from studyroom.gateway.http.routers import routers
from studyroom.gateway.settings import GatewaySettings
from website.markdown import code, table

_INTRODUCTION = """# HTTP API

A gateway answers these requests on the port of its WebSockets. It describes them at `/openapi.json`, and this page is
generated from that document. [The protocol](../protocol.md#over-plain-http) says who may ask, what the answers mean and
how to react to a refusal. [Moderation](../moderation.md) says the same about the requests of moderators.
"""


def http_page() -> str:
    document = api_without_gateway().openapi()
    sections = [_INTRODUCTION, "## Requests"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            sections += _request(method, path, operation)
    sections.append("## Bodies")
    for name, schema in sorted(document["components"]["schemas"].items()):
        sections += _body(name, schema)
    return "\n\n".join(sections) + "\n"


def api_without_gateway() -> FastAPI:
    """What a gateway answers over HTTP, with nothing behind the routes: none may be asked."""
    nothing, audit = cast("Any", None), Audit(CollectorRegistry())
    there = [
        *routers(GatewaySettings(), *[nothing] * 10),
        *erasure_routers(
            nothing, audit, *[nothing] * 8, has_hooks=False, retention_seconds=0, deadline_seconds=nothing
        ),
        *document_routers(GatewaySettings(), *[nothing] * 7),
    ]
    return build_app(with_page=False, routers=there)


def _request(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"### {method.upper()} {path}"
    if description := operation.get("description"):
        yield description
    if parameters := operation.get("parameters"):
        rows: list[tuple[str, ...]] = [
            (code(each["name"]), str(each["in"]), _type(each["schema"]), "yes" if each.get("required") else "no")
            for each in parameters
        ]
        yield table(("parameter", "in", "type", "required"), rows)
    if body := operation.get("requestBody"):
        yield f"Body: {_type(_schema(body))}"
    answers = [
        (status, answer.get("description", ""), _type(_schema(answer)))
        for status, answer in sorted(operation["responses"].items())
    ]
    yield table(("status", "meaning", "body"), answers)


def _schema(content: dict[str, Any]) -> dict[str, Any]:
    kinds = list(content.get("content", {}).values())
    return cast("dict[str, Any]", kinds[0].get("schema", {})) if kinds else {}


def _body(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    if description := schema.get("description"):
        yield description
    if values := schema.get("enum"):
        yield "One of " + ", ".join(code(str(value)) for value in values) + "."
        return
    required = schema.get("required", [])
    rows = [
        (code(field), _type(each), "yes" if field in required else "no", each.get("description", ""))
        for field, each in schema["properties"].items()
    ]
    yield table(("field", "type", "required", "meaning"), rows)


def _type(schema: dict[str, Any]) -> str:  # noqa: PLR0911 - one for each kind of schema
    match schema:
        case {"$ref": reference}:
            name = str(reference).rpartition("/")[2]
            return f"[{name}](#{name.lower()})"
        case {"anyOf": choices} | {"oneOf": choices}:
            return " or ".join(dict.fromkeys(_type(choice) for choice in choices))
        case {"enum": values}:
            return ", ".join(code(str(value)) for value in values)
        case {"const": value}:
            return code(str(value))
        case {"type": "array", "items": items}:
            return f"list of {_type(items)}"
        case {"type": kind}:
            return _bounded(f"{schema['format']}" if "format" in schema else str(kind), schema)
        case _:
            return ""


_BOUNDS = {
    "minimum": "≥ {}",
    "maximum": "≤ {}",
    "exclusiveMinimum": "> {}",
    "exclusiveMaximum": "< {}",
    "maxLength": "at most {} characters",
    "default": "default {}",
}


def _bounded(kind: str, schema: dict[str, Any]) -> str:
    return ", ".join(
        [kind, *(words.format(schema[key]) for key, words in _BOUNDS.items() if schema.get(key) is not None)]
    )
