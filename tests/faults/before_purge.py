"""A documents service that a file ends or stops before its next purge: `python before_purge.py FILE documents`.

The file has the name of a signal and how many purges come before. The snapshot is stored then, and the updates that it
covers are still in the log.
"""

import os
import signal
import sys
from pathlib import Path

from studyroom.services.documents.log import DocumentLog
from studyroom.services.stack.cli import main

_remove = DocumentLog.remove


async def _after_the_signal(log: DocumentLog, subject: str, *, before: int = 0) -> int:
    _obey()
    return await _remove(log, subject, before=before)


def _obey() -> None:
    """Each snapshot has three purges: of the snapshot before it, of the parts of that, and of the log."""
    if not _file.exists():
        return
    name, purges = _file.read_text().split()
    if int(purges):
        _file.write_text(f"{name} {int(purges) - 1}")
    else:
        _file.unlink()
        os.kill(os.getpid(), signal.Signals[name])


if __name__ == "__main__":
    _file = Path(sys.argv.pop(1))
    DocumentLog.remove = _after_the_signal  # type: ignore[method-assign,assignment]
    main()
