"""Several processes of one service behind one public port, for machines with several cores.

The supervisor listens, forks the workers and then waits. It serves no clients and has one thread and no event loop, so
it can fork again at any time. Every worker accepts from the listener that it inherits. Otherwise it is an ordinary
process of its service, with its own connection to NATS, identity and admin port (docs/decisions/0009).

Workers stop if the supervisor ends for any reason, because a pipe then closes that only the supervisor holds open.
"""

import os
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any, NoReturn

import structlog

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.listening import AddressUnavailable, listen
from studyroom.shared.chassis.process import EXIT_FAILED, Worker, load_settings, log_reason, run_process
from studyroom.shared.chassis.settings import EXIT_BAD_SETTINGS, BadSettings, ProcessSettings, Settings
from studyroom.shared.chassis.siblings import Siblings
from studyroom.shared.chassis.spec import ServiceSpec

_RESTART_WAIT_SECONDS = (0.1, 5.0)
"""The first and the longest wait before a worker starts again. Waits double in between. A worker that ran for longer
than the longest wait begins with the first."""
_STOP_MARGIN_SECONDS = 4.0
"""The time for stopping after the deadline of the drain. Compose and Kubernetes must allow more than this."""
_STOPS = frozenset({signal.SIGTERM, signal.SIGINT})
_AWAITED = frozenset({*_STOPS, signal.SIGCHLD, signal.SIGALRM})
_CLEAN = frozenset({0, *(-number for number in _STOPS)})
"""Good exit statuses of a stopped worker: after a drain, or by a signal that came before its handlers were ready."""
_SOONEST_SECONDS = 0.001
_PORT_MAX = 65_535

log = logs.get(__name__)


def run_workers(spec: ServiceSpec, count: int) -> int:
    """Run `count` workers until a signal stops them. Return the exit status. Bad settings end the process."""
    settings = load_settings(spec)
    process: ProcessSettings = settings[ProcessSettings]
    if spec.public_address is None:
        raise ValueError(f"{spec.name} has no public port to share")
    try:
        admin_ports = _admin_ports(process, count)
        with listen(*spec.public_address(settings)) as listener:
            for port in admin_ports:
                listen(process.admin_host, port).close()
            slots = [_Slot(index, port) for index, port in enumerate(admin_ports)]
            return _Supervisor(spec, settings, listener, slots).run()
    except BadSettings as error:
        print(error, file=sys.stderr)  # noqa: T201 - as load_or_exit
        return EXIT_BAD_SETTINGS
    except AddressUnavailable as error:
        return log_reason(spec, error)


def _admin_ports(process: ProcessSettings, count: int) -> list[int]:
    """Return the admin port of each worker. Raises BadSettings if they go beyond the highest port."""
    first = process.admin_port
    if first == 0:
        return [0] * count
    if first + count - 1 > _PORT_MAX:
        raise BadSettings({ProcessSettings.variables()["admin_port"]: f"{count} workers go beyond {_PORT_MAX}"})
    return list(range(first, first + count))


@dataclass
class _Slot:
    """One worker, which is a new process after each start."""

    index: int
    admin_port: int
    pid: int = 0
    """0 while no process is running."""
    started: float = 0.0
    start_at: float = 0.0
    """When to start the next process (monotonic seconds)."""
    wait_seconds: float = 0.0
    """The wait before the last start."""


class _Supervisor:
    def __init__(
        self, spec: ServiceSpec, settings: dict[type[Settings], Any], listener: socket.socket, slots: list[_Slot]
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._process: ProcessSettings = settings[ProcessSettings]
        self._listener = listener
        self._slots = slots
        self._siblings = Siblings.open(len(slots))
        self._lifeline, self._lifeline_end = os.pipe()

    def run(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        log.info("started", workers=len(self._slots), port=self._listener.getsockname()[1])
        while True:
            self._start_due()
            number = _await_signal(self._next_start())
            if number in _STOPS:
                return self._stop(number)
            for slot, status in self._reap():
                _postpone(slot)
                log.error(
                    "worker ended, starting it again",
                    worker=slot.index,
                    status=status,
                    wait_seconds=slot.wait_seconds,
                )

    # --- starting workers ---------------------------------------------------------------------------------

    def _next_start(self) -> float | None:
        return min((slot.start_at for slot in self._slots if not slot.pid), default=None)

    def _start_due(self) -> None:
        for slot in self._slots:
            if not slot.pid and slot.start_at <= time.monotonic():
                self._start(slot)

    def _start(self, slot: _Slot) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            log.error("could not start a worker", worker=slot.index, error=str(error))
            _postpone(slot)
            return
        if pid == 0:
            self._become(slot)
        slot.pid, slot.started = pid, time.monotonic()
        log.info("worker started", worker=slot.index, worker_pid=pid)

    def _become(self, slot: _Slot) -> NoReturn:
        """Run as a worker, in the new process. Never return to the supervisor's code."""
        status = EXIT_FAILED
        try:
            os.setsid()  # Ctrl-C goes to the supervisor only, which then stops its workers.
            os.close(self._lifeline_end)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
            structlog.contextvars.bind_contextvars(worker=slot.index)
            own = self._process.model_copy(update={"admin_port": slot.admin_port})
            worker = Worker(self._listener, self._siblings[slot.index], self._lifeline)
            status = run_process(self._spec, {**self._settings, ProcessSettings: own}, worker)
        except BaseException:  # noqa: BLE001 - nothing may reach the supervisor's code
            traceback.print_exc()
        finally:
            os._exit(status)

    def _reap(self) -> list[tuple[_Slot, int]]:
        """Return the slots whose processes have ended, each with the exit status or the negative signal number."""
        ended = []
        for slot in self._slots:
            if not slot.pid:
                continue
            pid, status = os.waitpid(slot.pid, os.WNOHANG)
            if pid:
                slot.pid = 0
                self._siblings[slot.index].set_accepting(slot.index, accepting=False)
                ended.append((slot, os.waitstatus_to_exitcode(status)))
        return ended

    # --- stopping workers ---------------------------------------------------------------------------------

    def _stop(self, number: int) -> int:
        """Let all workers drain at once. Kill the rest after a second signal, or after the deadline and its margin."""
        log.info("stopping", signal=signal.Signals(number).name)
        self._listener.close()  # Otherwise clients that connect after the last worker has stopped would wait in vain.
        os.close(self._lifeline_end)
        give_up_at = time.monotonic() + self._process.stop_deadline_seconds + _STOP_MARGIN_SECONDS
        statuses: list[int] = []
        while True:
            statuses += [status for _, status in self._reap()]
            if not any(slot.pid for slot in self._slots):
                break
            number = _await_signal(give_up_at)
            if number in _STOPS:
                self._kill()
                return 128 + number  # A second signal means: at once.
            if time.monotonic() >= give_up_at:
                log.error("workers did not stop in time")
                self._kill()
                return EXIT_FAILED
        log.info("stopped")
        return 0 if _CLEAN.issuperset(statuses) else EXIT_FAILED

    def _kill(self) -> None:
        for slot in self._slots:
            if slot.pid:
                os.kill(slot.pid, signal.SIGKILL)
                os.waitpid(slot.pid, 0)


def _postpone(slot: _Slot) -> None:
    """Set the wait before the next start. It doubles each time, unless the last process ran for long enough."""
    now = time.monotonic()
    shortest, longest = _RESTART_WAIT_SECONDS
    lived_long = now - slot.started > longest
    slot.wait_seconds = shortest if lived_long else min(max(2 * slot.wait_seconds, shortest), longest)
    slot.start_at = now + slot.wait_seconds


def _await_signal(until: float | None) -> int:
    """Wait for one of the awaited signals and return it. SIGALRM arrives at `until` (monotonic seconds)."""
    if until is not None:
        signal.setitimer(signal.ITIMER_REAL, max(until - time.monotonic(), _SOONEST_SECONDS))
    number = signal.sigwait(_AWAITED)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return number
