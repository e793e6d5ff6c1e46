"""A gateway whose first joins end in unexpected ways, each in a different way.

Run instead of `studyroom gateway`, to see that its clients are answered all the same.
"""

import asyncio
from typing import Any

from studyroom.gateway.chat.authors import Authors
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.membership.join_barrier import JoinBarrier, MembershipEnded
from studyroom.services.stack.cli import main

_ENDS: list[BaseException] = [
    RuntimeError("a fault in the code of joins"),
    asyncio.CancelledError(),
    MembershipEnded(),
]
_enter = JoinBarrier.enter


async def _end(join_barrier: JoinBarrier, connection: Connection, *args: Any, **options: Any) -> int:
    if _ENDS:
        raise _ENDS.pop(0)
    return await _enter(join_barrier, connection, *args, **options)


def _fail(_self: object, _connection: Connection, *_args: Any) -> None:
    raise RuntimeError("a fault in the code of chat")


Authors.publish = _fail  # type: ignore[method-assign,assignment]
JoinBarrier.enter = _end  # type: ignore[method-assign,assignment]

if __name__ == "__main__":
    main()
