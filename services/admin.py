"""The admin endpoint of every process: liveness, readiness and metrics, on a port of its own.

Liveness answers for as long as the event loop turns and never looks at NATS: a NATS outage must not restart
every process. Readiness does look.

`/balancez` is readiness for load balancers that end the connections of a server whose check fails, as they must do
with one that is frozen. One that drains, or has lost NATS, still serves whom it has: it answers 404, which HAProxy
(`http-check disable-on-404`) takes as "send nobody new, keep the others".
"""

from collections.abc import Callable

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

HTTP_NOT_FOUND, HTTP_UNAVAILABLE = 404, 503

Reasons = Callable[[], list[str]]
"""Why the process is not ready; empty when it is."""


def build_app(registry: CollectorRegistry, not_ready: Reasons) -> FastAPI:
    app = FastAPI(title="studyroom admin", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> Response:
        return _readiness(not_ready(), HTTP_UNAVAILABLE)

    @app.get("/balancez")
    async def balancez() -> Response:
        return _readiness(not_ready(), HTTP_NOT_FOUND)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _readiness(reasons: list[str], otherwise: int) -> Response:
    status = otherwise if reasons else 200
    return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=status)
