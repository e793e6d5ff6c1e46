"""Secrets that are easy to recognise, and a record of everything that a system showed, to search for them."""

import secrets
from pathlib import Path
from typing import get_args

from pydantic import SecretStr

from studyroom.services.stack.cli import _all_settings

_PREFIXES = {"STUDYROOM_HOOKS_SECRETS": "whsec_"}
"""Settings with a form of their own. A mark without its name is 30 bytes in base64 too."""


def mark(of: str) -> str:
    return f"{of.replace(' ', '-')}-{secrets.token_hex(20)}"


def marked_settings() -> dict[str, str]:
    """Every setting that is a secret, each with a value of its own."""
    return {
        variable: _PREFIXES[variable] + secrets.token_hex(20) if variable in _PREFIXES else mark(field)
        for cls in _all_settings()
        for field, variable in cls.variables().items()  # type: ignore[attr-defined] # they are classes of Settings
        if SecretStr in get_args(cls.model_fields[field].annotation)  # type: ignore[attr-defined]
    }


class Shown:
    """Everything that a system showed, by place."""

    def __init__(self) -> None:
        self._texts: list[tuple[str, str]] = []

    def add(self, where: str, text: object) -> None:
        self._texts.append((where, str(text)))

    def add_files(self, directory: Path) -> None:
        for file in sorted(directory.rglob("*")):
            if file.is_file():
                self.add(str(file), file.read_bytes().decode("utf-8", "replace"))

    def add_processes(self) -> None:
        """Add the details of processes that anybody on the machine can see."""
        for shown in [*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/comm")]:
            try:
                self.add(str(shown), shown.read_bytes().decode("utf-8", "replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended

    def has(self, text: str) -> bool:
        return any(text in shown for _, shown in self._texts)

    def places_of(self, marks: dict[str, str]) -> list[str]:
        """The places of marks: "name of the mark in place"."""
        return [f"{name} in {where}" for where, text in self._texts for name, one in marks.items() if one in text]


def parts_of(name: str, token: str) -> dict[str, str]:
    """The parts of a JWT that are secret: content and signature."""
    _, content, signature = token.split(".")
    return {f"content of {name}": content, f"signature of {name}": signature}
