"""Chooses between the compiled modules and their sources in Python. Both do the same.

`make compiled`, wheels and the image have compiled modules. A process uses all of them or none: none if
`STUDYROOM_PURE_PYTHON` is set, or if one of their sources has changed since.
"""

import hashlib
import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

PURE_PYTHON = "STUDYROOM_PURE_PYTHON"
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
"""The same values as in pydantic."""
DIGESTS = "sources.json"
"""The file with the digests of the sources, beside the compiled modules."""


class _Compiled(MetaPathFinder):
    def __init__(self, modules: dict[str, Path]) -> None:
        self._modules = modules

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        file = self._modules.get(fullname)
        if file is None:
            return None
        loader = importlib.machinery.ExtensionFileLoader(fullname, str(file))
        return importlib.util.spec_from_file_location(fullname, file, loader=loader)


def use_compiled(package: Path, results: Path) -> str:
    """Let modules be imported from `results` from now on. `package`: the folder of `studyroom`.

    Returns why it does not; empty if it does.
    """
    if os.environ.get(PURE_PYTHON, "").lower() in _TRUE:
        return f"{PURE_PYTHON} is set"
    try:
        expected: dict[str, str] = json.loads((results / DIGESTS).read_bytes())
    except FileNotFoundError:
        return "it was not built"
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    modules = {module: results / f"{module}{suffix}" for module in expected}
    if not all(file.exists() for file in modules.values()):
        return "it was built for another Python"
    if digests(package, expected) != expected:
        return "its sources have changed"
    sys.meta_path.insert(0, _Compiled(modules))
    return ""


def digests(package: Path, modules: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the sources of each module. Those are its code, and the types of all of them."""
    paths = {module: package.joinpath(*module.split(".")[1:]) for module in modules}
    types = hashlib.sha256(b"\0".join(_content(path.with_suffix(".pxd")) for _, path in sorted(paths.items())))
    found = {}
    for module, path in paths.items():
        digest = types.copy()
        digest.update(b"\0".join(_content(path.with_suffix(suffix)) for suffix in (".pyx", ".py")))
        found[module] = digest.hexdigest()
    return found


def _content(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""
