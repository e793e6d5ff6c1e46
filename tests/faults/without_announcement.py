"""A gateway that neither announces its members to presence after an invalidation, nor restores missing members.

Run instead of `studyroom gateway`, to show that the checker can fail.
"""

import asyncio

from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.membership.reannouncement import Reannouncement
from studyroom.services.stack.cli import main


async def _announce(_reannouncement: Reannouncement, _shard: int) -> None:
    """Announce nothing."""


def _restore(_reannouncement: Reannouncement, _connection: Connection) -> asyncio.Task[None]:
    return asyncio.ensure_future(asyncio.sleep(0))


Reannouncement.announce_all = _announce  # type: ignore[method-assign,assignment]
Reannouncement.announce = _announce  # type: ignore[method-assign,assignment]
Reannouncement.restore = _restore  # type: ignore[method-assign,assignment]

if __name__ == "__main__":
    main()
