"""A wheel has the page that a gateway serves at `/`: without it the wheel is not built."""

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = Path("gateway", "static", "index.html")


class PageIsBuilt(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Raises FileNotFoundError. An editable install takes the page whenever it is built."""
        allowed = version == "editable" or os.environ.get("STUDYROOM_WHEEL_WITHOUT_PAGE") == "true"
        if not allowed and not Path(self.root, PAGE).exists():
            raise FileNotFoundError(
                f"{PAGE} is missing: run `make page`, or set STUDYROOM_WHEEL_WITHOUT_PAGE=true for a wheel without it"
            )
