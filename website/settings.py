"""The reference of settings, from the settings classes."""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from studyroom.services.stack.cli import _all_settings
from studyroom.shared.chassis.settings import as_text, example_of, parts
from website.markdown import code, table

_NAMES = {str: "text", int: "integer", float: "number", bool: "boolean", SecretStr: "secret", Path: "path"}
_BOUNDS = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}
_INTRODUCTION = """# Settings

Settings are environment variables, or lines of a file `.env` in the working directory. The environment comes first. A
process that has a bad setting stops at its start and names all bad settings at once. It also names each variable that
starts with `STUDYROOM_` and is no setting, with the setting that is most like it.

`.env.example` in the repository has all of them in the form of that file.
"""
_HEAD = ("setting", "type", "default", "example", "meaning")


def settings_page() -> str:
    sections = [_INTRODUCTION]
    for part, fields in parts(_all_settings()):
        title = (part.__doc__ or part.__name__).strip().splitlines()[0].removesuffix(".")
        variables = part.variables()
        rows = [(code(variables[name]), *_row(part.model_fields[name])) for name in fields]
        sections += [f"## {title}", table(_HEAD, rows)]
    return "\n\n".join(sections) + "\n"


def _row(field: FieldInfo) -> Iterator[str]:
    yield ", ".join([_type(field.annotation), *_bounds(field)])
    yield code(as_text(field.default))
    yield code(example_of(field))
    yield field.description or ""


def _type(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return "one of " + ", ".join(code(str(choice)) for choice in get_args(annotation))
    if origin is tuple:
        return "list, separated by commas"
    if origin in {Union, types.UnionType}:
        kinds = [_type(kind) for kind in get_args(annotation) if kind is not type(None)]
        return " or ".join(dict.fromkeys(kinds))
    return _NAMES.get(annotation, "text")


def _bounds(field: FieldInfo) -> Iterator[str]:
    for bound in field.metadata:
        if (known := _BOUNDS.get(type(bound))) is not None:
            attribute, sign = known
            yield f"{sign} {getattr(bound, attribute)}"
