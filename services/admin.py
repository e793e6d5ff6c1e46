"""The admin endpoint of every process: liveness, readiness and metrics, on a port of its own.

Liveness answers for as long as the event loop turns and never looks at NATS: a NATS outage must not restart
every process. Readiness does look.
"""

from collections.abc import Callable

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

HTTP_UNAVAILABLE = 503

Reasons = Callable[[], list[str]]
"""Why the process is not ready; empty when it is."""


def build_app(registry: CollectorRegistry, not_ready: Reasons) -> FastAPI:
    app = FastAPI(title="studyroom admin", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> Response:
        reasons = not_ready()
        status = HTTP_UNAVAILABLE if reasons else 200
        return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=status)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app
