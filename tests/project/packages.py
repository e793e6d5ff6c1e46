"""`make packages`: every package with its sentence, how many files it has, and which packages it imports."""

import importlib
import pkgutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grimp


@dataclass(frozen=True)
class Package:
    name: str
    sentence: str
    """The first of its docstring."""
    files: int
    """Modules of its own, `__init__` among them."""
    imports: list[str] = field(default_factory=list)
    """Other packages of this project, which its own modules import."""


def list_packages(within: str = "studyroom") -> list[Package]:
    """All packages of this project below `within`, without what they import."""
    return [_package(name) for name in _names(within)]


def with_imports() -> Iterator[Package]:
    graph = grimp.build_graph("studyroom")
    names = {package.name for package in list_packages()}
    for package in list_packages():
        imported = {
            _package_of(target, names)
            for module in graph.modules
            if _package_of(module, names) == package.name
            for target in graph.find_modules_directly_imported_by(module)
        }
        yield Package(package.name, package.sentence, package.files, sorted(imported - {package.name, "studyroom"}))


def _names(within: str) -> list[str]:
    root = importlib.import_module(within)
    return sorted(found.name for found in pkgutil.walk_packages(root.__path__, f"{within}.") if found.ispkg)


def _package(name: str) -> Package:
    module = importlib.import_module(name)
    sentence = (module.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
    return Package(name, sentence, len(list(Path(module.__path__[0]).glob("*.py"))))


def _package_of(module: str, names: set[str]) -> str:
    while module not in names and "." in module:
        module = module.rpartition(".")[0]
    return module


def main() -> None:
    for package in with_imports():
        print(f"{package.name} ({package.files} files)")
        print(textwrap.indent(textwrap.fill(package.sentence, 100), "    "))
        if package.imports:
            print(textwrap.indent(textwrap.fill("imports " + ", ".join(package.imports), 100), "    "))


if __name__ == "__main__":
    main()
