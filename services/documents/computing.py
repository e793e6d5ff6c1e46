"""Work on whole documents that takes long, in another process, so that it does not stop the event loop.

pycrdt holds Python's lock while it works, so a thread would not help. Short work is done at once.
"""

from collections.abc import Callable

from anyio import BrokenWorkerProcess, CapacityLimiter, to_process

from studyroom.services.documents.contents import TooComplex
from studyroom.shared.contract.panics import is_failure

_AT_ONCE_MAX_BYTES = 32_768
_PROCESSES = 1


class Computing:
    def __init__(self) -> None:
        self._limiter = CapacityLimiter(_PROCESSES)

    async def run(self, work: Callable[..., bytes], *inputs: bytes) -> bytes:
        """Call a function of a module with these inputs. Raises TooComplex.

        When the caller is cancelled, the process ends. The next call starts another one.
        """
        if sum(map(len, inputs)) <= _AT_ONCE_MAX_BYTES:
            return guarded(work, *inputs)
        try:
            return await to_process.run_sync(guarded, work, *inputs, cancellable=True, limiter=self._limiter)
        except BrokenWorkerProcess as error:
            raise TooComplex("the process that worked on the document has ended") from error


def guarded(work: Callable[..., bytes], *inputs: bytes) -> bytes:
    """Raises TooComplex for every failure on the document."""
    try:
        return work(*inputs)
    except TooComplex:
        raise
    except BaseException as error:
        if is_failure(error):
            raise TooComplex(f"cannot work on the document: {error}") from error
        raise
