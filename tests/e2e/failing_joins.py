"""A gateway whose first joins end in ways that nobody expects, each in another one.

Run instead of `studyroom gateway`, to see that its clients are answered all the same.
"""

import asyncio
from typing import Any

from studyroom.gateway.chat.authors import Authors
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.membership.entering import Entering, StayEnded
from studyroom.services.stack.cli import main

_ENDS: list[BaseException] = [
    RuntimeError("a fault in the code of joins"),
    asyncio.CancelledError(),
    StayEnded(),
]
_enter = Entering.enter


async def _end(entering: Entering, connection: Connection, *args: Any, **options: Any) -> int:
    if _ENDS:
        raise _ENDS.pop(0)
    return await _enter(entering, connection, *args, **options)


def _fail(_self: object, _connection: Connection, *_args: Any) -> None:
    raise RuntimeError("a fault in the code of chat")


Authors.say = _fail  # type: ignore[method-assign,assignment]
Entering.enter = _end  # type: ignore[method-assign,assignment]

if __name__ == "__main__":
    main()
