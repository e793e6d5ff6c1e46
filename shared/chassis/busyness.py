"""For how long a thread was busy.

A thread is busy while it runs, and while it waits for a CPU, because of other processes or the CPU limit of a
container. Without the wait, a process that gets half a core would look half idle when it can do no more.

The time outside of `select` would be similar, but uvloop does not report it. It would also leave out the wait for a CPU
at the end of `select`.
"""

import time
from pathlib import Path

_STATISTICS = Path("/proc/thread-self/schedstat")


def busy_seconds() -> float:
    """Return for how many seconds the calling thread has run or waited for a CPU so far.

    Systems other than Linux report only the first.
    """
    try:
        ran_ns, waited_ns, _ = _STATISTICS.read_bytes().split()
    except OSError:
        return time.thread_time()
    return (int(ran_ns) + int(waited_ns)) / 1e9
