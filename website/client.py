"""The reference of the client for browsers: its README, and the comments of its types."""

import re
from pathlib import Path

from website.pages import ROOT, as_page

_CLIENT = ROOT / "web" / "client"
_README = "web/client/README.md"
_INTERFACE = re.compile(r"^export (interface|type) (\w+)")


def client_page(uri: str) -> str:
    readme = as_page((ROOT / _README).read_text("utf-8"), _README, uri)
    types = (_CLIENT / "src" / "types.ts").read_text("utf-8")
    exported = [found[2] for line in types.splitlines() if (found := _INTERFACE.match(line)) is not None]
    if not exported:
        raise ValueError(f"no types in {Path('web/client/src/types.ts')}")
    return f"{readme}\n## Types\n\nThe types that the package exports, with their comments.\n\n```ts\n{types}```\n"
