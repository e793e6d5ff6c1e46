"""Serves the page at `/`, which `make page` builds from `web/`."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

DIRECTORY = Path(__file__).parents[1] / "static"
NOT_BUILT = "The page is not built. Build it with `make page` and Node 20.19 or newer.\nWebSockets are at /ws.\n"

_INDEX = "index.html"
_NOT_FOUND, _NOT_MODIFIED = 404, 304
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Text files, which are served compressed. Other files are not compressed."""
_HEADERS = {
    # In some browsers 'self' does not include WebSockets of the same host, so ws: and wss: are allowed too.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
        "connect-src 'self' ws: wss:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        # The editor of the notes parses pasted HTML, in a document of its own that runs nothing.
        "require-trusted-types-for 'script'; trusted-types ProseMirrorClipboard"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True)
class PageFile:
    path: str
    body: bytes
    compressed: bytes | None
    headers: dict[str, str]

    def answer(self, request: Request) -> Response:
        if request.headers.get("If-None-Match") == self.headers["ETag"]:
            return Response(status_code=_NOT_MODIFIED, headers=self.headers)
        if self.compressed is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
            return Response(self.compressed, headers={**self.headers, "Content-Encoding": "gzip"})
        return Response(self.body, headers=self.headers)


def add_page(app: FastAPI, directory: Path = DIRECTORY) -> None:
    """Serve the files that are in `directory` now.

    They are read and compressed once, so that requests for them never block the event loop, which members share.
    """
    files = {file.path: file for file in read_page(directory)}

    async def page(request: Request) -> Response:
        return files[request.url.path].answer(request)

    async def no_page() -> Response:
        return PlainTextResponse(NOT_BUILT, status_code=_NOT_FOUND)

    for path in files:
        app.add_api_route(path, page, include_in_schema=False)
    if not files:
        app.add_api_route("/", no_page, include_in_schema=False)


def read_page(directory: Path) -> Iterator[PageFile]:
    """The files of a built page; none if there is no index.html."""
    if not (directory / _INDEX).is_file():
        return
    for file in sorted(directory.rglob("*")):
        if file.is_file():
            yield _read(directory, file)


def _read(directory: Path, file: Path) -> PageFile:
    body = file.read_bytes()
    media_type = _MEDIA_TYPES.get(file.suffix)
    relative = file.relative_to(directory).as_posix()
    is_index = relative == _INDEX
    headers = {
        **_HEADERS,
        "Content-Type": media_type or "application/octet-stream",
        "ETag": f'"{blake2b(body, digest_size=12).hexdigest()}"',
        # Vite puts a hash of the content in the name of every file but the index.
        "Cache-Control": "no-cache" if is_index else "public, max-age=31536000, immutable",
    }
    return PageFile(
        path="/" if is_index else f"/{relative}",
        body=body,
        compressed=gzip.compress(body, mtime=0) if media_type else None,
        headers=headers,
    )
