"""One target under atheris, with libFuzzer's own options: `python -m tests.fuzz.atheris_target frames -runs=1000`."""

import sys

import atheris

atheris.enabled_hooks.add("str")

with atheris.instrument_imports(include=["shared", "gateway", "jwt"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name].run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
