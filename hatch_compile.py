"""Compiles the data path of the gateway: `make compiled`. Wheels and the image have it, and `make up` works without it.

The modules below have Python as their source, with the types of their `.pxd` files. Only
`gateway/transport/native.py` has a counterpart in Cython. The results are in `gateway/compiled`, with digests of their
sources. `studyroom.shared.chassis.compiled` uses them only as long as the sources are the same.
"""

import json
import os
import shutil
import sys
import sysconfig
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

MODULES = (
    "studyroom.gateway.transport.native",
    "studyroom.gateway.transport.poller",
    "studyroom.gateway.transport.socket_transport",
    "studyroom.gateway.wire.framing",
    "studyroom.gateway.wire.protocol",
    "studyroom.gateway.wire.traffic",
    "studyroom.gateway.wire.websocket",
    "studyroom.gateway.rooms.flush_scheduler",
    "studyroom.gateway.rooms.fanout",
    "studyroom.gateway.rooms.cursors",
    "studyroom.gateway.connections.cursor_move",
    "studyroom.gateway.connections.metered",
    "studyroom.shared.contract.yjs_updates",
    "studyroom.gateway.documents.messages",
    "studyroom.gateway.documents.updates",
    "studyroom.gateway.documents.store",
    "studyroom.gateway.documents.document",
    "studyroom.gateway.documents.session",
    "studyroom.gateway.documents.connection",
    "studyroom.shared.chassis.nats.parser",
    "studyroom.shared.chassis.nats.messages",
    "studyroom.shared.chassis.nats.reply_inbox",
    "studyroom.shared.chassis.nats.client",
)
RESULTS = Path("gateway", "compiled")
_DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,  # types are in the `.pxd` files, and annotations mean what they mean in Python
}


def _chassis() -> ModuleType:
    """`studyroom.shared.chassis.compiled`, without an installed `studyroom`."""
    spec = spec_from_file_location("compiled", Path(__file__).parent / "shared" / "chassis" / "compiled.py")
    if spec is None or spec.loader is None:
        raise ImportError("shared/chassis/compiled.py cannot be loaded")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def problem() -> str | None:
    """Why nothing can be compiled here; None if it can."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "the C headers of Python are not installed"
    return None


def compile_data_path(root: Path) -> list[Path]:
    """Compile the modules of the checkout `root` that have changed. Return the files of all modules for this Python.

    Raises if it fails, and changes nothing then.
    """
    results = root / RESULTS
    chassis = _chassis()
    digests = chassis.digests(root / "studyroom", MODULES)
    listed = results / chassis.DIGESTS
    before = json.loads(listed.read_bytes()) if listed.exists() else {}
    changed = [
        module
        for module in MODULES
        if before.get(module) != digests[module] or not (results / _library(module)).exists()
    ]
    made_here = [listed, *(results / _library(module) for module in MODULES)]
    if not changed and before.keys() == digests.keys():
        return made_here
    with tempfile.TemporaryDirectory() as made:
        _build(root, made, changed)
        results.mkdir(parents=True, exist_ok=True)
        listed.unlink(missing_ok=True)
        for module in changed:
            (built,) = Path(made, "lib", *module.split(".")[:-1]).glob(f"{module.split('.')[-1]}.*")
            library = results / _library(module)
            # A process may have loaded it. Those that other Pythons have compiled are older than the new digests.
            for old in results.glob(f"{module}.*") if before.get(module) != digests[module] else [library]:
                old.unlink(missing_ok=True)
            shutil.copy(built, library)
        listed.write_text(json.dumps(digests, indent=1))
    return made_here


def _library(module: str) -> str:
    return f"{module}{sysconfig.get_config_var('EXT_SUFFIX')}"


def _build(root: Path, made: str, modules: list[str]) -> None:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    before = Path.cwd()
    os.chdir(root)  # Cython finds the names of modules by the folders from here
    try:
        extensions = [
            Extension(module, [str(_source(module))], extra_compile_args=["-O2", "-g0", "-w"]) for module in modules
        ]
        built = cythonize(  # type: ignore[no-untyped-call] # it has no types
            extensions, compiler_directives=_DIRECTIVES, build_dir=f"{made}/c", quiet=True
        )
        command = build_ext(Distribution({"name": "studyroom", "ext_modules": built}))
        command.build_lib, command.build_temp, command.parallel = f"{made}/lib", f"{made}/o", os.cpu_count()
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)


def _source(module: str) -> Path:
    path = Path(*module.split("."))
    counterpart = path.with_suffix(".pyx")
    return counterpart if counterpart.exists() else path.with_suffix(".py")


def main() -> None:
    """With `--if-possible`, fail only if a compiler is there and fails."""
    reason = problem()
    if reason is None:
        compile_data_path(Path(__file__).parent)
    elif "--if-possible" in sys.argv:
        sys.stdout.write(f"the data path runs as Python: {reason}\n")
    else:
        sys.exit(f"the data path cannot be compiled: {reason}")


if __name__ == "__main__":
    main()
