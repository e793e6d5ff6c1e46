"""The level of logs of a running process, which goes back by itself after a while."""

import asyncio
import logging

from studyroom.shared.chassis import logs

log = logs.get(__name__)

LEVELS = ("debug", "info", "warning", "error")


class LogLevel:
    def __init__(self) -> None:
        self._settled = logging.getLogger().level
        """The level of the settings."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def present(self) -> str:
        return logging.getLevelName(logging.getLogger().level).lower()

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the level of the settings is back; None if it is the present one."""
        return max(0.0, self._timer.when() - asyncio.get_running_loop().time()) if self._timer is not None else None

    def change(self, level: str, seconds: float) -> None:
        """Log this level and more severe ones for so long. `level`: one of `LEVELS`."""
        if self._timer is not None:
            self._timer.cancel()
        logging.getLogger().setLevel(level.upper())
        self._timer = asyncio.get_running_loop().call_later(seconds, self._go_back)
        log.warning("the level of logs has changed", to=level, seconds=seconds)

    def _go_back(self) -> None:
        self._timer = None
        log.warning("the level of logs is that of the settings again")
        logging.getLogger().setLevel(self._settled)
