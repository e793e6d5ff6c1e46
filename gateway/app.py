"""What the public port answers to plain HTTP."""

from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import HTTPException
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from shared.errors import ErrorCode

WEBSOCKET_PATH = "/ws"
_PAGE = Path(__file__).parent / "static" / "index.html"
_UPGRADE_REQUIRED = 426


def build_app(*, with_page: bool) -> FastAPI:
    app = FastAPI(title="studyroom gateway", docs_url=None, redoc_url=None)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """The process answers. Whether it should get traffic is told by /readyz on the admin port."""
        return {"status": "ok"}

    @app.get("/api/v1/ping", response_class=PlainTextResponse)
    async def ping() -> str:
        return "pong"

    @app.get(WEBSOCKET_PATH, include_in_schema=False)
    async def websocket_without_upgrade() -> Response:
        return _error(
            _UPGRADE_REQUIRED,
            ErrorCode.UPGRADE_REQUIRED,
            "this address speaks WebSocket",
            Upgrade="websocket",
        )

    if with_page:

        @app.get("/", include_in_schema=False)
        async def page() -> FileResponse:
            return FileResponse(_PAGE, headers={"Cache-Control": "no-cache"})

    @app.exception_handler(StarletteHTTPException)
    async def refused(_request: Request, error: HTTPException) -> Response:
        return _error(error.status_code, ErrorCode.NOT_FOUND, str(error.detail))

    return app


def _error(status: int, code: ErrorCode, message: str, **headers: str) -> JSONResponse:
    return JSONResponse({"code": code, "message": message}, status_code=status, headers=headers)
