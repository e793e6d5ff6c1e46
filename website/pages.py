"""Which documents of the repository are pages of the site, and how links between them change.

Documents link to each other, and to sources, by paths in the repository. On the site a link to a page leads to the
page, and a link to a source becomes its path.
"""

import posixpath
import re
from pathlib import Path

from website.markdown import lines, with_plain_fences

ROOT = Path(__file__).parents[1]

INCLUDED = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/NOTES.md": "benchmark-notes.md",
    "benchmarks/RESULTS.md": "benchmarks.md",
    "benchmarks/results.svg": "results.svg",
}
"""Documents outside of `docs/` by their path in the repository, and where they are on the site."""

_ELSEWHERE = {
    "README.md": "index.md",
    "docs/decisions": "decisions/index.md",
    "web/client/README.md": "reference/client.md",
    ".env.example": "reference/settings.md",
}
"""Links to these lead to the page that says the same on the site."""

_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def source_of(uri: str) -> str:
    """The path in the repository of the document that a page is made of."""
    included = {page: source for source, page in INCLUDED.items()}
    return included.get(uri, f"docs/{uri}")


def as_page(text: str, source: str, uri: str) -> str:
    """The document at `source` in the repository, as the page at `uri` of the site."""
    moved = [_with_links(line.text, source, uri) if line.info is None else line.text for line in lines(text)]
    return with_plain_fences("\n".join(moved)) + "\n"


def _with_links(line: str, source: str, uri: str) -> str:
    def moved(found: re.Match[str]) -> str:
        text, link = found[1], found[2]
        path, hash_mark, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:") or not path:
            return found[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        page = _page_of(target)
        if page is not None:
            return f"[{text}]({posixpath.relpath(page, posixpath.dirname(uri) or '.')}{hash_mark}{anchor})"
        if not (ROOT / target).exists():
            return found[0]  # MkDocs reports it
        return text if target in text.replace("`", "") else f"{text} (`{target}`)"

    return _LINK.sub(moved, line)


def _page_of(target: str) -> str | None:
    """Where the site has this path of the repository, if it does."""
    if (page := (INCLUDED | _ELSEWHERE).get(target)) is not None:
        return page
    inside = target.startswith("docs/") and (not (ROOT / target).exists() or (ROOT / target).is_file())
    return target.removeprefix("docs/") if inside else None
