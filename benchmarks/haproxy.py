"""Runs HAProxy with the configuration of Compose in front of gateways on this machine.

It takes HAProxy from the PATH if that is new enough, and otherwise the image of `docker-compose.yml`, on the network of
this machine.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.generator import SERVER_CORE, Failed
from benchmarks.servers import on_the_servers_core
from studyroom.services.stack.stack import free_port

CONFIGURATION = Path(__file__).parents[1] / "deploy" / "haproxy.cfg"
IMAGE = "haproxy:3.0-alpine"
_OLDEST = (3, 0)
"""The oldest version whose ring does not depend on the order of servers."""
_START_SECONDS = 30.0
_PASSED_CHECK = re.compile(r'(?m)^haproxy_server_check_status\{.*state="L7OK"\} 1')
_ANSWERING_FRONTEND = """
frontend gateway-{index} from base
  bind 127.0.0.1:{port}
  timeout client 1h
  timeout http-request 1h
  http-request return status 200 content-type text/plain string {index}
"""
"""Stands for a gateway, and answers with its number."""


@dataclass(frozen=True)
class Server:
    """A gateway, as HAProxy sees it. Both ports are on loopback."""

    port: int
    admin_port: int


@dataclass(frozen=True)
class HAProxy:
    port: int
    pids: list[int]


def command(configuration: Path) -> list[str]:
    """Return the command that runs HAProxy in the foreground. Raises Failed if no HAProxy is new enough."""
    arguments = ["-db", "-f", str(configuration)]
    program = shutil.which("haproxy") or "/usr/sbin/haproxy"
    output = _output(program, "-v")
    version = re.search(r"version (\d+)\.(\d+)", output)
    if version is not None and tuple(map(int, version.groups())) >= _OLDEST:
        return [program, *arguments]
    if _output("docker", "image", "inspect", "--format", "{{.Id}}", IMAGE):
        return [
            *("docker", "run", "--rm", "--network", "host", "--user", "root"),
            *("--name", f"studyroom-bench-{os.getpid()}-{configuration.stem}", "--cpuset-cpus", str(SERVER_CORE)),
            *("--volume", f"{configuration}:{configuration}:ro", "--entrypoint", "haproxy", IMAGE, *arguments),
        ]
    raise Failed(f"HAProxy 3.0 or newer is not installed, and neither is the image {IMAGE}")


def _output(*words: str) -> str:
    """Return the output of a program; nothing if it is not there or fails."""
    try:
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def configuration(port: int, admin_port: int, servers: Sequence[Server]) -> str:
    """Return `deploy/haproxy.cfg` with these servers instead of a name to look up."""
    text = CONFIGURATION.read_text()
    text = re.sub(r"(?ms)^# HAProxy looks names up.*?^resolvers engine\n.*?\n\n", "", text)
    text = text.replace("bind :8080", f"bind 127.0.0.1:{port}").replace("bind :8405", f"bind 127.0.0.1:{admin_port}")
    text = text.replace(" check port 8081 ", " check ").replace(" resolvers engine init-addr none", "")

    def listed(template: re.Match[str]) -> str:
        return "\n".join(
            f"  server gateway{index} 127.0.0.1:{one.port} port {one.admin_port}{template[1]}"
            for index, one in enumerate(servers, 1)
        )

    text, found = re.subn(r"(?m)^  server-template gateway 16 gateway:8080(.*)$", listed, text)
    if found != 2 or "resolvers" in text:
        raise Failed(f"{CONFIGURATION.name} is not as expected")
    return text


@contextmanager
def running(directory: Path, servers: Sequence[Server], further: str = "", *, absent: int = 0) -> Iterator[HAProxy]:
    """Run HAProxy until the block ends. `further`: more sections of its configuration. Raises Failed.

    `absent`: how many of the servers do not run yet. HAProxy finds them when they do.
    """
    port, admin_port = free_port(), free_port()
    file = directory / f"haproxy-{port}.cfg"
    file.write_text(configuration(port, admin_port, servers) + further)
    words = command(file)
    log = directory / "haproxy.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=on_the_servers_core,  # noqa: PLW1509 - single-threaded here
        )
    try:
        _wait_ready(process, admin_port, len(servers) - absent, log)
        yield HAProxy(port, _pids(words, process.pid))
    finally:
        if words[0] == "docker":
            _output("docker", "rm", "--force", _name(words))
        process.kill()
        process.wait()


def _pids(words: list[str], pid: int) -> list[int]:
    if words[0] != "docker":
        return [pid]
    return [int(_output("docker", "inspect", "--format", "{{.State.Pid}}", _name(words)))]


def _name(words: list[str]) -> str:
    return words[words.index("--name") + 1]


def _wait_ready(process: "subprocess.Popen[bytes]", admin_port: int, servers: int, log: Path) -> None:
    """Wait until HAProxy reports that every server has passed a check in both backends."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"HAProxy ended: {log.read_text().strip().splitlines()[-1:]}")
        try:
            probe = HTTPConnection("127.0.0.1", admin_port, timeout=2)
            probe.request("GET", "/metrics")
            passed = len(_PASSED_CHECK.findall(probe.getresponse().read().decode()))
            probe.close()
        except OSError:
            passed = 0
        if passed == 2 * servers:
            return
        time.sleep(0.1)
    raise Failed("HAProxy was not ready in time")


def places(directory: Path, ports: Sequence[int], rooms: Sequence[str]) -> list[int]:
    """Ask a running HAProxy for the home of each room, as the index of its port. Raises Failed.

    The gateways are frontends of the same HAProxy, which need no more than their ports to have a place on the ring.
    """
    servers = [Server(port, port) for port in ports]
    further = "".join(_ANSWERING_FRONTEND.format(index=index, port=port) for index, port in enumerate(ports))
    with running(directory, servers, further) as proxy:
        connection = HTTPConnection("127.0.0.1", proxy.port, timeout=10)
        found = []
        for room in rooms:
            connection.request("GET", f"/ws?room={room}")
            found.append(int(connection.getresponse().read()))
        connection.close()
    return found
