"""The commands that documents name exist, with their options: targets of make, subcommands, scripts and modules."""

import importlib.util
import json
import re
from pathlib import Path

import click
import pytest

from studyroom.services.stack.cli import main
from tests.project.test_documents import each_document
from tests.support.markdown import ROOT, Document

MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
RECIPES = dict(re.findall(r"^([a-z-]+):[^\n]*\n((?:\t.*\n|ifneq.*\n|endif\n)*)", MAKEFILE, re.MULTILINE))
SCRIPTS = {
    script
    for package in ("web", "web/client", "web/room")
    for script in json.loads((ROOT / package / "package.json").read_text("utf-8"))["scripts"]
}
_PREFIX = r"^(?:\w+=\S+ )*(?:\S*/)?"
"""Variables of the environment, and the folder of the program."""
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def named(document: Document, program: str) -> list[str]:
    """The arguments of a program in the commands of a document, in blocks and in prose."""
    found = (re.match(rf"{_PREFIX}{program} (.*)", one) for one in (*document.commands, *document.quoted))
    return [one[1] for one in found if one is not None]


def unknown_to_studyroom(arguments: str) -> list[str]:
    """The subcommands and options among the arguments that `studyroom` does not have."""
    command: click.Command = main
    unknown, options = [], {"--help"}
    for word in arguments.split():
        options.update(*(option.opts for option in command.get_params(click.Context(command))))
        if word.startswith("--"):
            unknown += [] if word.partition("=")[0] in options else [word]
        elif isinstance(command, click.Group):
            inner = command.get_command(click.Context(command), word)
            unknown += [] if inner is not None else [word]
            command = inner or click.Command(word)
    return unknown


def unknown_to_module(module: str, arguments: str) -> list[str]:
    """The options among the arguments that the source of a module does not have."""
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.submodule_search_locations:
        spec = importlib.util.find_spec(f"{module}.__main__")
    if spec is None or spec.origin is None:
        return [module]
    source = Path(spec.origin).read_text("utf-8")
    return [option for option in _OPTION.findall(arguments) if f'"{option}"' not in source]


def unknown_to_make(arguments: str) -> list[str]:
    """The target, variables and options among the arguments that the Makefile or the program of its recipe lacks."""
    target, _, rest = arguments.partition(" ")
    recipe = RECIPES.get(target)
    if recipe is None:
        return [target]
    modules = re.findall(r"-m ([\w.]+)", recipe)
    sources = [MAKEFILE, *(Path(file).read_text("utf-8") for file in map(origin, modules) if file)]
    unknown = [name for name in re.findall(r"\b([A-Z]+)=", rest) if not any(name in source for source in sources)]
    for given in re.findall(r'ARGS="([^"]*)"', rest):
        program = re.search(r"(?:-m ([\w.]+)|/studyroom) ?([^\n|>]*)\$\(ARGS\)", recipe)
        if program is None:
            unknown.append("ARGS")
        elif program[1] is None:
            unknown += unknown_to_studyroom(program[2] + given)
        elif program[1] != "pytest":
            unknown += unknown_to_module(program[1], given)
    return unknown


def origin(module: str) -> str | None:
    spec = importlib.util.find_spec(module)
    return spec.origin if spec is not None else None


@each_document
def test_every_target_of_make_that_is_named_is_there_with_its_options(path: Path):
    assert [one for arguments in named(Document(path), "make") for one in unknown_to_make(arguments)] == []


@each_document
def test_every_subcommand_that_is_named_is_there_with_its_options(path: Path):
    assert [one for arguments in named(Document(path), "studyroom") for one in unknown_to_studyroom(arguments)] == []


@each_document
def test_every_module_that_is_named_is_there_with_its_options(path: Path):
    unknown = []
    for arguments in named(Document(path), r"python3? -m"):
        module, _, rest = arguments.partition(" ")
        is_ours = (ROOT / module.split(".")[0]).is_dir()
        unknown += unknown_to_module(module, rest if is_ours else "")
    assert unknown == []


@each_document
def test_every_script_of_npm_that_is_named_is_there(path: Path):
    assert {arguments.split()[0] for arguments in named(Document(path), "npm run")} <= SCRIPTS


@pytest.mark.parametrize(
    ("program", "arguments", "unknown"),
    [
        (unknown_to_make, 'skew ARGS="--from v1.2.0"', []),
        (unknown_to_make, 'skew ARGS="--upto v1.2.0"', ["--upto"]),
        (unknown_to_make, 'up ARGS="--gateways 2 --replicas 2"', ["--replicas"]),
        (unknown_to_make, 'docs ARGS="--strict"', ["ARGS"]),
        (unknown_to_make, "dashboards RUNBOOKS=https://wiki.example.org HANDBOOK=x", ["HANDBOOK"]),
        (unknown_to_make, "tests", ["tests"]),
        (unknown_to_studyroom, "hooks replay --since 2026-01-01T00:00Z", []),
        (unknown_to_studyroom, "hooks repeat --since 2026-01-01T00:00Z", ["repeat", "--since"]),
        (unknown_to_studyroom, "backup /backup --keep=14 --compress", ["--compress"]),
    ],
)
def test_a_name_that_is_not_there_is_found(program, arguments: str, unknown: list[str]):
    assert program(arguments) == unknown
