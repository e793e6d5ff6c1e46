"""The chat of a room on a terminal, each line exactly once, even when the connection is lost.

python client.py ws://127.0.0.1:8080/ws 550e8400-e29b-41d4-a716-446655440000
"""

import asyncio
import sys

from studyroom.client import ChatReceived, ChatRemoved, Client, Disconnected, HistoryReset, StudyroomError

PATIENCE = 30  # seconds to wait for unstored messages after the end of the input


def note(text):
    print(f"({text})", file=sys.stderr, flush=True)


async def show(events):
    async for event in events:
        match event:
            case ChatReceived(message=message):
                print(f"{message.username}: {message.content}", flush=True)
            case ChatRemoved():
                note("a message was deleted")
            case HistoryReset():
                note("messages may be missing here")
            case Disconnected(failure=failure):
                note(failure.message)


async def write(client, content):
    """Returns whether the message is stored."""
    try:
        await client.chat(content)
    except (StudyroomError, ValueError) as error:
        note(f"not known to be stored: {content[:40]!r}: {error}")
        return False
    return True


async def main(url, room):
    async with Client(url, username="Ann") as client:
        showing = asyncio.create_task(show(client.events()))
        try:
            await client.join(room)
        except StudyroomError as error:
            note(f"refused: {error}")
            return 1
        writing = []
        while line := await asyncio.to_thread(sys.stdin.readline):
            writing.append(asyncio.create_task(write(client, line.rstrip("\n"))))
        done, unknown = await asyncio.wait(writing, timeout=PATIENCE) if writing else (set(), set())
    await asyncio.gather(showing, *unknown)  # without a connection, every call has ended
    return 0 if all(task.result() for task in [*done, *unknown]) else 1


sys.exit(asyncio.run(main(*sys.argv[1:])))
