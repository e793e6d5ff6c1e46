"""Disks that forget what was not synced, as real ones do when the power goes.

A file system in an image, mounted by a loop device: what programs write reaches the image only when it is synced, or
after some seconds. So a copy of the image is what a power cut leaves behind at that moment.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SIZE = 96 * 1024 * 1024


@dataclass(frozen=True)
class Disk:
    image: Path
    mounted: Path

    def __post_init__(self) -> None:
        with self.image.open("wb") as file:
            file.truncate(_SIZE)
        _run("mkfs.ext4", "-q", "-F", str(self.image))
        self.mounted.mkdir()
        self._mount()

    def _mount(self) -> None:
        _run("mount", "-o", "loop", str(self.image), str(self.mounted))

    def unmount(self) -> None:
        """Unmount the disk, after syncing everything."""
        _run("umount", str(self.mounted))

    @property
    def _left(self) -> Path:
        return self.image.with_suffix(".left")

    def sync(self) -> None:
        _run("sync", "--file-system", str(self.mounted))

    def remember(self) -> None:
        """Keep the contents that a power cut at this moment would leave."""
        shutil.copyfile(self.image, self._left)

    def come_back(self) -> None:
        """Restore the kept contents. Nobody may use the disk meanwhile."""
        self.unmount()
        self._left.replace(self.image)
        self._mount()


@contextmanager
def disks(directory: Path, count: int) -> Iterator[list[Disk]]:
    """Raises OSError or CalledProcessError where this user or this machine can mount none."""
    made: list[Disk] = []
    try:
        for index in range(count):
            made.append(Disk(directory / f"disk{index}.img", directory / f"disk{index}"))  # noqa: PERF401 - one may fail
        yield made
    finally:
        for disk in made:
            disk.unmount()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
