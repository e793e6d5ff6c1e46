"""`studyroom probe` as an exporter."""

import sys
from pathlib import Path

from studyroom.services.stack.stack import free_port
from tests.support.processes import ServiceProcess


def exporter(directory: Path, url: str, *, every: str = "1s", **environment: str) -> ServiceProcess:
    """A probe that makes passes again and again, not yet started."""
    port = free_port()
    return ServiceProcess(
        name="probe",
        command=[
            sys.executable, "-m", "studyroom", "probe", url, "--every", every, "--listen", f"127.0.0.1:{port}",
        ],
        log=directory / f"probe-{port}.log",
        environment=environment,
        admin_url=f"http://127.0.0.1:{port}",
    )  # fmt: skip
