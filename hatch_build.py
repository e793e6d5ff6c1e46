"""A wheel has the page that a gateway serves at `/`, without which it is not built, and the compiled data path."""

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = Path("gateway", "static", "index.html")


class BuiltParts(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raises FileNotFoundError without the page, and RuntimeError without a compiler if one is required.

        An editable install takes both whenever they are built.
        """
        if version == "editable":
            return
        _restore_links(Path(self.root))
        if os.environ.get("STUDYROOM_WHEEL_WITHOUT_PAGE") != "true" and not Path(self.root, PAGE).exists():
            raise FileNotFoundError(
                f"{PAGE} is missing: run `make page`, or set STUDYROOM_WHEEL_WITHOUT_PAGE=true for a wheel without it"
            )
        sys.path.insert(0, self.root)
        import hatch_compile

        reason = hatch_compile.problem()
        if reason is None:
            compiled = hatch_compile.compile_data_path(Path(self.root))
            build_data["artifacts"] += [f"studyroom/{path.relative_to(self.root)}" for path in compiled]
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
        elif os.environ.get("STUDYROOM_WHEEL_COMPILED") == "true":
            raise RuntimeError(f"the data path cannot be compiled: {reason}")
        else:
            self.app.display_warning(f"the wheel has no compiled data path: {reason}")


def _restore_links(root: Path) -> None:
    """A source distribution has no links, so `studyroom` lacks the four source folders there."""
    for folder in ("gateway", "presence", "services", "shared"):
        if not (root / "studyroom" / folder).exists():
            (root / "studyroom" / folder).symlink_to(Path("..", folder), target_is_directory=True)
