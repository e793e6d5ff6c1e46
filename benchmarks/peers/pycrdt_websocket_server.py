"""A server for Yjs documents on pycrdt-websocket, over uvicorn and uvloop, with documents in memory."""

import argparse
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from pycrdt.websocket import ASGIServer, WebsocketServer
from starlette.applications import Starlette
from starlette.routing import Mount

LOG = logging.getLogger("pycrdt-websocket")
LOG.setLevel(logging.ERROR)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    documents = WebsocketServer(log=LOG)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with documents:
            yield

    server: Any = ASGIServer(documents)  # its types are narrower than those of ASGI
    app = Starlette(routes=[Mount("/", app=server)], lifespan=lifespan)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        log_level="error",
        access_log=False,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
    )


if __name__ == "__main__":
    main()
