"""The admin endpoint of every process: liveness, readiness and metrics, on a port of its own.

Liveness answers for as long as the event loop turns and never looks at NATS: a NATS outage must not restart
every process. Readiness does look.

`/balancez` is readiness for load balancers that end the connections of a server whose check fails, as they must do
with one that is frozen. One that drains, or has lost NATS, still serves whom it has: it answers 404, which HAProxy
(`http-check disable-on-404`) takes as "send nobody new, keep the others".
"""

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

HTTP_NOT_FOUND, HTTP_UNAVAILABLE = 404, 503

Reasons = Callable[[], list[str]]
"""Why the process is not ready; empty when it is."""


def build_app(registry: CollectorRegistry, not_ready: Reasons) -> Starlette:
    """In Starlette alone: FastAPI, which has nothing to add here, is a third of what a small service loads to start."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> Response:
        return _readiness(not_ready(), HTTP_UNAVAILABLE)

    async def balancez(_: Request) -> Response:
        return _readiness(not_ready(), HTTP_NOT_FOUND)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    app = Starlette(routes=[Route(f"/{answer.__name__}", answer) for answer in (healthz, readyz, balancez, metrics)])
    app.router.redirect_slashes = False  # to wherever `Host` says
    return app


def _readiness(reasons: list[str], otherwise: int) -> Response:
    status = otherwise if reasons else 200
    return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=status)
