"""Tasks that wait until a mirror contains a change of the stream."""

import asyncio

from studyroom.shared.chassis.nats.bus import BusUnavailable


class Waiters:
    def __init__(self) -> None:
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    async def wait(self, sequence: int) -> None:
        """Wait for the change with this stream sequence. Raises BusUnavailable after `give_up`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((sequence, future))
        await future

    def wake(self, applied: int) -> None:
        """Wake the tasks that wait for changes up to this sequence."""
        if not self._waiting:
            return
        still_waiting = []
        for sequence, future in self._waiting:
            if sequence > applied:
                still_waiting.append((sequence, future))
            elif not future.done():
                future.set_result(None)
        self._waiting = still_waiting

    def give_up(self) -> None:
        """Let all waiting tasks fail, because the stream is another one and its sequences mean other changes."""
        waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(BusUnavailable("the presence stream was replaced"))
