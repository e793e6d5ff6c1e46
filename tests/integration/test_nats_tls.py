"""The connection to NATS with TLS: encrypted and verified on both sides, or none at all."""

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from prometheus_client import CollectorRegistry

from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.settings import NatsSettings
from tests.support.accounts import user_of
from tests.support.processes import NatsServer, deployed_nats_server, running, service
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Papers:
    """Paths of a CA, and of a certificate and key from it."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def write(cls, directory: Path, authority: trustme.CA, *names: str) -> "Papers":
        directory.mkdir()
        papers = cls(directory / "ca.crt", directory / "tls.crt", directory / "tls.key")
        issued = authority.issue_cert(*names)
        authority.cert_pem.write_to_path(papers.ca)
        issued.cert_chain_pems[0].write_to_path(papers.certificate)
        issued.private_key_pem.write_to_path(papers.key)
        return papers

    @property
    def variables(self) -> dict[str, str]:
        """The settings with which a service uses them."""
        return {
            "STUDYROOM_NATS_TLS_CA_FILE": str(self.ca),
            "STUDYROOM_NATS_TLS_CERT_FILE": str(self.certificate),
            "STUDYROOM_NATS_TLS_KEY_FILE": str(self.key),
        }


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def client(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers.write(tmp_path_factory.mktemp("client") / "papers", authority, "gateway.studyroom")


@pytest.fixture(scope="module")
def server(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    directory = tmp_path_factory.mktemp("tls")
    own = Papers.write(directory / "papers", authority, "127.0.0.1")
    tls = f"""tls {{ ca_file: "{own.ca}", cert_file: "{own.certificate}", key_file: "{own.key}", verify: true }}"""
    with running(deployed_nats_server(directory, tls=tls)) as ready:
        yield ready


@pytest.fixture
async def bus() -> AsyncIterator[Callable[..., Bus]]:
    made: list[Bus] = []

    def make(url: str, **settings: Path) -> Bus:
        own = NatsSettings.model_validate(
            {"url": url, "user": "gateway", "password": "secret-of-gateway", "connect_timeout_seconds": 1.0, **settings}
        )
        made.append(Bus(own, BusMetrics(CollectorRegistry()), name="gateway"))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def gets_in(bus: Bus) -> bool:
    try:
        async with asyncio.timeout(1.5):
            await bus.connect()
    except TimeoutError:
        return False
    return bus.connected


async def test_with_certificates_on_both_sides_services_run(server: NatsServer, client: Papers, tmp_path: Path):
    with running(service("provisioner", tmp_path, server.url, **client.variables, **user_of("provisioner"))):
        connections = server.monitor("connz?auth=1")["connections"]
    assert [(one["authorized_user"], bool(one["tls_version"])) for one in connections] == [("provisioner", True)]


async def test_a_server_of_another_authority_is_not_spoken_to(
    server: NatsServer, client: Papers, bus: Callable[..., Bus], tmp_path: Path
):
    other = Papers.write(tmp_path / "other", trustme.CA(), "127.0.0.1")
    assert not await gets_in(
        bus(server.url, tls_ca_file=other.ca, tls_cert_file=client.certificate, tls_key_file=client.key)
    )


async def test_without_a_certificate_of_its_own_a_client_does_not_get_in(
    server: NatsServer, client: Papers, bus: Callable[..., Bus]
):
    assert not await gets_in(bus(server.url, tls_ca_file=client.ca))


async def test_where_tls_is_required_nothing_is_sent_in_the_clear(
    client: Papers, bus: Callable[..., Bus], tmp_path: Path
):
    received: list[bytes] = []

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"X","version":"2.15.1","max_payload":1048576,"auth_required":true}\r\n')
        received.append(await reader.read(1024))
        writer.close()

    listener = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        assert not await gets_in(bus(f"nats://127.0.0.1:{port}", tls_ca_file=client.ca))
    assert received
    assert set(received) == {b""}


async def test_a_renewed_certificate_is_used_by_the_next_connection(
    server: NatsServer, authority: trustme.CA, bus: Callable[..., Bus], tmp_path: Path
):
    own = Papers.write(tmp_path / "own", authority, "gateway.studyroom")
    connected = bus(server.url, tls_ca_file=own.ca, tls_cert_file=own.certificate, tls_key_file=own.key)
    assert await gets_in(connected)
    assert shown(server) == {fingerprint(own.certificate)}
    renewed = Papers.write(tmp_path / "renewed", authority, "gateway.studyroom")
    renewed.certificate.replace(own.certificate)
    renewed.key.replace(own.key)
    connected._client._hang_up()  # as a lost network does
    await eventually(lambda: shown(server) == {fingerprint(own.certificate)}, "the new certificate is shown")


@pytest.mark.parametrize("name", ["provisioner", "presence", "documents", "gateway"])
async def test_where_no_file_can_be_written_a_service_connects_again(
    server: NatsServer, client: Papers, tmp_path: Path, name: str
):
    (tmp_path / "sitecustomize.py").write_text(NO_TEMPORARY_FILES)

    def connections() -> list[int]:
        found = server.monitor("connz?auth=1").get("connections", [])
        return [one["cid"] for one in found if one.get("authorized_user") == name]

    with ExitStack() as stack:
        for each in dict.fromkeys(("provisioner", name)):
            process = service(each, tmp_path, server.url, **client.variables, **user_of(each))
            if each == name:
                process.environment["PYTHONPATH"] = str(tmp_path)
            stack.enter_context(running(process))
        assert len(connections()) == 1
        server.stop()
        server.start()
        server.wait_ready()
        await eventually(connections, "it is connected again")


NO_TEMPORARY_FILES = """
import tempfile
tempfile._candidate_tempdir_list = lambda: []
"""
"""A container with a read-only file system has no directory for them."""


async def test_the_times_at_which_the_certificates_of_both_sides_expire_are_known(
    server: NatsServer, client: Papers, bus: Callable[..., Bus]
):
    connected = bus(server.url, tls_ca_file=client.ca, tls_cert_file=client.certificate, tls_key_file=client.key)
    assert await gets_in(connected)
    expire = connected.certificates_expire
    assert expire.keys() == {"client", "server"}
    assert all(when > time.time() for when in expire.values())


def shown(server: NatsServer) -> set[str]:
    """The fingerprints of the certificates that clients of the server have shown to it."""
    connections = server.monitor("connz?auth=1")["connections"]
    return {one["cert_sha256"] for row in connections for one in row.get("tls_peer_certs", [])[:1]}


def fingerprint(certificate: Path) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()
