"""What MkDocs calls while it builds the site."""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from website.generated import GENERATED
from website.pages import INCLUDED, ROOT, as_page, source_of

_LOADS = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["']?(?:https?:)?//[^>]*>"""
    r"""|<link\b[^>]*\bhref=["']?(?:https?:)?//[^>]*>"""
    r"""|url\(["']?(?:https?:)?//[^)]*\)|@import\s+["'](?:https?:)?//[^"']*"""
)
"""Where a page or style sheet makes a browser load something from another host."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, uri in INCLUDED.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / source)))
    for uri, make in GENERATED.items():
        files.append(File.generated(config, uri, content=make()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    uri = page.file.src_uri
    return markdown if uri in GENERATED else as_page(markdown, source_of(uri), uri)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that tells others who reads it."""
    for file in sorted(Path(config.site_dir).rglob("*")):
        if file.suffix in {".html", ".css"} and (found := _LOADS.search(file.read_text("utf-8"))) is not None:
            raise PluginError(f"{file.name} loads something from another host: {found[0]}")
