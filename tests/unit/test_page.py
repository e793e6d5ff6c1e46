"""The page's files as HTTP answers."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from studyroom.gateway.http.page import NOT_BUILT, add_page

SCRIPT = b"console.log('studyroom');\n" * 100


@pytest.fixture
def page(tmp_path: Path) -> FastAPI:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Studyroom</title>")
    (tmp_path / "assets" / "index-1a2b3c.js").write_bytes(SCRIPT)
    app = FastAPI()
    add_page(app, tmp_path)
    return app


async def get(app: FastAPI, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    await app(scope, receive, send)
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:])


async def test_the_index_is_asked_for_each_time_and_may_run_nothing_but_its_own_scripts(page: FastAPI):
    status, headers, body = await get(page, "/")

    assert (status, headers["content-type"], headers["cache-control"]) == (200, "text/html; charset=utf-8", "no-cache")
    assert b"<title>Studyroom" in body
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"


async def test_a_file_with_a_hash_in_its_name_is_cached_for_good(page: FastAPI):
    status, headers, body = await get(page, "/assets/index-1a2b3c.js")

    assert (status, body) == (200, SCRIPT)
    assert headers["content-type"].startswith("text/javascript")
    assert headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_a_client_that_accepts_gzip_gets_it(page: FastAPI):
    _, headers, body = await get(page, "/assets/index-1a2b3c.js", accept_encoding="gzip, br")

    assert headers["content-encoding"] == "gzip"
    assert headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(body) == SCRIPT
    assert len(body) < len(SCRIPT)


async def test_a_client_that_has_the_newest_version_gets_a_304(page: FastAPI):
    _, headers, _ = await get(page, "/")

    status, _, body = await get(page, "/", if_none_match=headers["etag"])

    assert (status, body) == (304, b"")


@pytest.mark.parametrize("path", ["/assets/", "/assets/../page.py", "/../page.py", "//etc/passwd", "/assets/other.js"])
async def test_nothing_else_is_served(page: FastAPI, path: str):
    status, _, _ = await get(page, path)

    assert status == 404


async def test_a_gateway_without_a_built_page_answers_how_to_build_it(tmp_path: Path):
    app = FastAPI()
    add_page(app, tmp_path)

    status, headers, body = await get(app, "/")

    assert (status, body.decode()) == (404, NOT_BUILT)
    assert headers["content-type"].startswith("text/plain")
