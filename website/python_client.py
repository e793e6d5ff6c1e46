"""The reference of the client for Python programs, from its signatures and docstrings."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from typing import Any, get_type_hints

import studyroom.client
from studyroom.client import Client, EventsLost, StudyroomError, events
from website.markdown import table

_INTRODUCTION = """# Client for Python

`studyroom.client`, for programs with asyncio. [How to write a program](../how-to/python.md) begins with an example, and
[the protocol](../protocol.md) says what each part of a room means.
"""


_MODULE = re.compile(r"\b(?:studyroom\.[\w.]+|collections\.abc|typing|uuid)\.(?=[A-Z])")


def python_client_page() -> str:
    exported = {name: getattr(studyroom.client, name) for name in sorted(studyroom.client.__all__)}
    happenings = [one for one in exported.values() if inspect.isclass(one) and one.__module__ == events.__name__]
    rest = [one for one in exported.values() if inspect.isclass(one) and is_dataclass(one) and one not in happenings]
    states = [one for one in exported.values() if inspect.isclass(one) and issubclass(one, Enum)]
    sections = [_INTRODUCTION, "## Client", _definition(Client), *_members(Client)]
    sections += ["## Events", *(part for one in happenings for part in _section(one))]
    sections += ["## Values", *(part for one in [*rest, *states] for part in _section(one))]
    sections += ["## Errors", *(part for one in (StudyroomError, EventsLost) for part in _section(one))]
    return "\n\n".join(sections) + "\n"


def _section(of: type[Any]) -> Iterator[str]:
    yield f"### {of.__name__}"
    documented = inspect.getdoc(of) or ""
    if documented and not documented.startswith(f"{of.__name__}("):
        yield documented
    rows = list(_fields(of))
    if rows:
        yield table(("name", "type", "meaning"), rows)


def _definition(of: type[Any]) -> str:
    arguments = inspect.signature(of.__init__)
    shown = ",\n    ".join(_plain(str(one)) for one in list(arguments.parameters.values())[1:])
    made = f"```python\n{of.__name__}(\n    {shown},\n)\n```"
    return "\n\n".join([inspect.getdoc(of) or "", made, inspect.getdoc(of.__init__) or ""])


def _members(of: type[Any]) -> Iterator[str]:
    yield "### Calls"
    for name, member in _parts(of):
        if inspect.isfunction(member) and not name.startswith("_"):
            kind = "async " if inspect.iscoroutinefunction(member) else ""
            yield f"#### {name}"
            yield f"```python\n{kind}{name}{_signature(member)}\n```"
            yield inspect.getdoc(member) or ""
    yield "### Properties"
    rows = [
        (f"`{name}`", f"`{_returned(member)}`", inspect.getdoc(member) or "")
        for name, member in _parts(of)
        if isinstance(member, property)
    ]
    yield table(("name", "type", "meaning"), rows)


def _parts(of: type[Any]) -> Iterator[tuple[str, Any]]:
    """Its members, and those of the class that it extends."""
    for one in (of, *of.__bases__):
        yield from vars(one).items()


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    own = signature.replace(parameters=list(signature.parameters.values())[1:])
    return _plain(str(own))


def _returned(member: property) -> str:
    return _plain(inspect.formatannotation(get_type_hints(member.fget)["return"]))


def _plain(annotation: str) -> str:
    """Return the annotation without the modules of its names."""
    return _MODULE.sub("", annotation)


def _fields(of: type[Any]) -> Iterator[tuple[str, str, str]]:
    """Each field or member of an enumeration, with its type and the docstring after it."""
    lines = [line for found in ast.parse(inspect.getsource(of)).body for line in getattr(found, "body", [])]
    for index, line in enumerate(lines):
        after = lines[index + 1] if index + 1 < len(lines) else None
        meaning = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        match line:
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield f"`{name}`", f"`{ast.unparse(line.annotation)}`", str(meaning)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
                yield f"`{name}`", f"`{value!r}`", str(meaning)
            case _:
                pass
