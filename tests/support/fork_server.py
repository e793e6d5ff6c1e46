"""A process that has loaded the code of all services and forks one for each start, so that no test waits for imports.

The services are processes as ever: each has its own session, memory, environment and output. Only the imports happen
once, which otherwise take a quarter of the CPU time of all tests. The workers of a gateway begin like this too.
"""

import array
import atexit
import json
import os
import runpy
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any, NoReturn

from studyroom.services.stack.cli import ENTRY_POINTS
from studyroom.shared.chassis.compiled import PURE_PYTHON

ARGUMENTS = [sys.executable, "-m", "studyroom"]
"""How the commands begin that it can carry out."""
_READ_BEFORE = ("PYTHON", "LD_", "MALLOC_", PURE_PYTHON)
"""Variables that begin so are read by another program at its start, or by imports."""
_READS = 65536


class Forked:
    """A service that the server has forked. It has the methods of `subprocess.Popen` that tests use."""

    def __init__(self, channel: socket.socket) -> None:
        """`channel`: sends the id of the process, and the exit status when it has ended."""
        self._channel = channel
        self.pid = int(channel.recv(32))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._status(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        status = self._status(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return status

    def _status(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self._channel.settimeout(timeout)
            try:
                status = self._channel.recv(32)
            except (BlockingIOError, TimeoutError):
                return None
            assert status, "the fork server has ended"
            self.returncode = int(status)
            self._channel.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(SIGTERM)

    def kill(self) -> None:
        self.send_signal(SIGKILL)


def forks(command: list[str], environment: dict[str, str]) -> bool:
    """Whether the server can start this. `environment`: what is set beside the environment of the tests."""
    is_service = command[:-1] == ARGUMENTS and command[-1] in _services()
    return is_service and hasattr(os, "pidfd_open") and not any(name.startswith(_READ_BEFORE) for name in environment)


def fork(command: list[str], environment: dict[str, str], output: int) -> Forked:
    """Start a service, with all its environment. `output`: the descriptor of its output."""
    job = {"arguments": command[len(ARGUMENTS) :], "environment": environment, "directory": str(Path.cwd())}
    channel, remote = socket.socketpair()
    with remote:
        _server().sendmsg(
            [json.dumps(job).encode()],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [output, remote.fileno()]))],
        )
    return Forked(channel)


@cache
def _services() -> frozenset[str]:
    return frozenset(entry_points(group=ENTRY_POINTS).names)


@cache
def _server() -> socket.socket:
    """The connection to the server of this process, which ends with the tests."""
    own, remote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with remote:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(remote.fileno())], pass_fds=[remote.fileno()], start_new_session=True
        )

    def end() -> None:
        own.close()
        process.wait(10)

    atexit.register(end)
    return own


# --- in the server -----------------------------------------------------------------------------------------


def _serve(requests: socket.socket) -> Callable[[], object] | None:
    """Fork for each request. Returns what a forked process must do, and None in the server when there is no client."""
    with selectors.DefaultSelector() as events:
        events.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in events.select():
                if key.fileobj is not requests:
                    events.unregister(key.fileobj)
                    _report(key.fd, *key.data)
                    continue
                data, descriptors, _, _ = socket.recv_fds(requests, _READS, 2)
                if not data:
                    return None
                output, channel = descriptors
                pid = os.fork()
                if not pid:
                    os.close(channel)
                    _close(events)
                    return partial(_become, json.loads(data), output)
                os.close(output)
                report = socket.socket(fileno=channel)
                report.send(str(pid).encode())
                events.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, report))


def _close(events: selectors.BaseSelector) -> None:
    """Close all that the server waits for."""
    for key in list(events.get_map().values()):
        if isinstance(key.fileobj, socket.socket):
            key.fileobj.close()
        else:
            os.close(key.fd)
            key.data[1].close()


def _report(descriptor: int, pid: int, channel: socket.socket) -> None:
    """A process has ended: send its exit status to the test."""
    os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    with channel:
        try:
            channel.send(str(os.waitstatus_to_exitcode(status)).encode())
        except BrokenPipeError:  # the test does not want to know
            return


def _become(job: dict[str, Any], output: int) -> NoReturn:
    """Be the service."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(output)
    os.chdir(job["directory"])
    os.environ.clear()
    os.environ.update(job["environment"])
    time.tzset()
    tempfile.tempdir = None  # another environment, another directory
    sys.argv = ["studyroom", *job["arguments"]]
    runpy.run_module("studyroom", run_name="__main__", alter_sys=True)
    sys.exit()


def main() -> None:
    for entry in entry_points(group=ENTRY_POINTS):
        entry.load().load()
    do = _serve(socket.socket(fileno=int(sys.argv[1])))
    if do is not None:
        do()


if __name__ == "__main__":
    main()
