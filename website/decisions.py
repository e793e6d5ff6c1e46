"""The table of decisions, from the documents in `docs/decisions`."""

import re
from pathlib import Path

from website.markdown import table
from website.pages import ROOT

FOLDER = ROOT / "docs" / "decisions"
_INTRODUCTION = """# Decisions

Each page says what was decided, why, and what it costs. A decision that is replaced stays, and its status names its
successor.

"""
_TITLE = re.compile(r"^# (\d{4}) (.+)$", re.MULTILINE)
_STATUS = re.compile(r"^Status: (.+?) *$", re.MULTILINE)
_DATE = re.compile(r"^Date: (\d{4}-\d{2}-\d{2}) *$", re.MULTILINE)


def decisions_page() -> str:
    rows = [_row(path) for path in sorted(FOLDER.glob("[0-9]*.md"))]
    return _INTRODUCTION + table(("number", "decision", "status", "date"), rows) + "\n"


def _row(path: Path) -> tuple[str, str, str, str]:
    """Raises ValueError for a document without its title, status or date."""
    text = path.read_text("utf-8")
    title, status, date = _TITLE.search(text), _STATUS.search(text), _DATE.search(text)
    if title is None or status is None or date is None:
        raise ValueError(f"{path.name} needs a title with its number, a line `Status: …` and a line `Date: YYYY-MM-DD`")
    return title[1], f"[{title[2]}]({path.name})", status[1], date[1]
