"""The admin port of every process: liveness, readiness and metrics, and looks into the process for a token.

Liveness answers while the event loop runs. It never looks at NATS, so an outage of NATS does not restart every process.
Readiness does look at NATS.

`/balancez` is readiness for load balancers that end all connections of a server whose check fails, which they must do
if the server is frozen. A gateway that drains or has lost NATS still serves its clients, so it answers 404. HAProxy
(`http-check disable-on-404`) then sends no new clients and keeps the others.
"""

from collections.abc import Callable, Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

HTTP_NOT_FOUND, HTTP_UNAVAILABLE = 404, 503

Reasons = Callable[[], list[str]]
"""Returns the reasons why the process is not ready; none if it is ready."""


def build_app(registry: CollectorRegistry, not_ready: Reasons, more: Iterable[Route] = ()) -> Starlette:
    """Return the application, with `more` routes.

    It uses plain Starlette, since FastAPI would be a third of a small service's imports.
    """

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> Response:
        return _readiness(not_ready(), HTTP_UNAVAILABLE)

    async def balancez(_: Request) -> Response:
        return _readiness(not_ready(), HTTP_NOT_FOUND)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    routes = [Route(f"/{answer.__name__}", answer) for answer in (healthz, readyz, balancez, metrics)]
    app = Starlette(routes=[*routes, *more])
    app.router.redirect_slashes = False  # A redirect would go to the host in `Host`, which a client chooses.
    return app


def _readiness(reasons: list[str], otherwise: int) -> Response:
    status = otherwise if reasons else 200
    return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=status)
