"""Clocks of services that are put forward or back while they run, with Debian's package faketime.

Their wall clock only: monotonic time goes on, as it does when somebody sets a machine's clock. NATS is a Go program and
asks the kernel itself, so its clock cannot be moved without that of the whole machine.
"""

from pathlib import Path

_LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
)
_RIGHT = "+0"


class Clocks:
    """`why_not`: why no clock can be moved; empty where they can be."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._library = next((path for path in _LIBRARIES if Path(path).exists()), "")
        self.why_not = "" if self._library else "moving clocks takes the package faketime"

    def environment(self, name: str) -> dict[str, str]:
        """The environment of a service whose clock can be moved."""
        if self.why_not:
            return {}
        self.move(name, 0)
        return {
            "LD_PRELOAD": self._library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file(name)),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
        }

    def move(self, name: str, seconds: int) -> None:
        """Let the clock of a service be so far off the right time. It sees that within a second."""
        self._file(name).write_text(f"{seconds:+d}" if seconds else _RIGHT)

    def _file(self, name: str) -> Path:
        return self._directory / f"clock-{name}"
