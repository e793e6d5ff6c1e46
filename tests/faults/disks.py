"""A small disk for each NATS server, so that it can be full. Mounting takes root; without it there are none."""

import os
import subprocess
from pathlib import Path

_SIZE = "256m"
_FILLER = "filler"
_CHUNK_BYTES = 1 << 20


class Disks:
    """`why_not`: why there are none; empty where there are."""

    def __init__(self) -> None:
        self._mounted: list[Path] = []
        self.why_not = "" if os.geteuid() == 0 else "mounting a small disk takes root"

    def mount(self, place: Path) -> None:
        """A disk of its own for a directory, where that is possible."""
        place.mkdir(parents=True, exist_ok=True)
        if self.why_not:
            return
        command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "studyroom-tests", str(place)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            self.why_not = f"a small disk cannot be mounted: {made.stderr.strip()}"
        else:
            self._mounted.append(place)

    def close(self) -> None:
        for place in self._mounted:
            subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=False)
        self._mounted.clear()

    def fill(self, place: Path) -> None:
        """No byte more fits on it."""
        with (place / _FILLER).open("ab", buffering=0) as file:
            size = _CHUNK_BYTES
            while size:
                try:
                    file.write(b"\0" * size)
                except OSError:
                    size //= 2

    def empty(self, place: Path) -> None:
        (place / _FILLER).unlink(missing_ok=True)
