"""`studyroom probe` against a real system: the steps that it measures, the rooms that it leaves, and how it fails."""

import asyncio
import datetime as dt
import json
import os
import re
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from studyroom.client import Client
from studyroom.services.probe.probe import READER, ROOMS, TEXT, WRITER, Probe, Step
from studyroom.services.probe.settings import GatewayTokens, ProbeSettings
from studyroom.services.probe.tokens import TokenOf, token_source
from tests.support.commands import needs, studyroom
from tests.support.probe import exporter
from tests.support.processes import EmbeddedStack, ServiceProcess, embedded_stack, running, service
from tests.support.python_client import within_deadline
from tests.support.tokens import SECRET, token_of
from tests.support.waiting import wait_until

NOBODY = "ws://127.0.0.1:9/ws"
"""An address at which nobody listens."""
STEPS = [step.value for step in Step]
LABELS = {"generation", "implementation", "le", "major", "minor", "patchlevel", "result", "side", "step", "version"}


@pytest.fixture(scope="module")
def strict(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A gateway that lets no guests in."""
    settings = {"STUDYROOM_GATEWAY_GUESTS": "false", "STUDYROOM_GATEWAY_JWT_SECRET": SECRET}
    with running(service("gateway", tmp_path_factory.mktemp("strict"), stack.nats_url, **settings)) as ready:
        yield ready


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """A system with one replica of presence, which a test may freeze."""
    with running(embedded_stack(tmp_path_factory.mktemp("small"), gateways=1, presence=1)) as ready:
        yield ready


def no_token(_role: str, _rooms: object) -> None:
    """Returns None, so the probe is a guest."""


def signed() -> TokenOf:
    return token_source(ProbeSettings(), GatewayTokens.model_validate({"jwt_secret": SECRET}))


def probe_of(
    url: str, room: str, source: TokenOf = no_token, *, deadline_seconds: float = 20, left_over_seconds: float = 60
) -> Probe:
    return Probe(
        url, token_of=source, deadline_seconds=deadline_seconds, rooms=[room], left_over_seconds=left_over_seconds
    )


async def left_in(url: str, room: str) -> tuple[list[str], list[str]]:
    """The names of the others in a room, and the texts of its messages, as a newcomer sees them."""
    async with Client(url, username="Ada") as ada:
        await ada.join(room)
        return [member.username for member in ada.members], [message.content for message in ada.messages]


# --- a pass ------------------------------------------------------------------------------------------------


async def test_a_pass_measures_every_step_and_leaves_no_member_and_no_text(stack: EmbeddedStack, room: str):
    done = await probe_of(stack.gateways[0], room).once()
    assert (done.failed, done.reason) == (None, "")
    assert list(done.seconds) == list(Step)
    assert all(0 < seconds < 20 for seconds in done.seconds.values())
    assert await left_in(stack.gateways[1], room) == ([], [])


async def test_a_probe_has_two_users_who_are_the_same_in_each_pass(stack: EmbeddedStack, room: str):
    probe = probe_of(stack.gateways[0], room)
    seen = set[tuple[str, str]]()
    async with Client(stack.gateways[0], username="Ada") as ada:

        def both_are_there() -> bool:
            seen.update((member.username, member.user_id) for member in ada.members)
            return len(ada.members) == 2

        await ada.join(room)
        for _ in range(2):
            passing = asyncio.create_task(probe.once())
            await within_deadline(ada, both_are_there)
            assert (await passing).succeeded
            await within_deadline(ada, lambda: not ada.members)
    assert sorted(name for name, _ in seen) == [f"Probe ({READER})", f"Probe ({WRITER})"]


async def test_probes_in_one_room_at_the_same_time_do_not_disturb_each_other(strict: ServiceProcess, room: str):
    probes = [probe_of(strict.url, room, signed()) for _ in range(3)]
    for done in await asyncio.gather(*(probe.once() for probe in probes)):
        assert done.succeeded, done.reason


async def test_a_later_pass_deletes_the_text_of_one_that_was_cut_short_and_no_other(strict: ServiceProcess, room: str):
    async with Client(strict.url, token=signed()(WRITER, [room])) as cut_short:
        await cut_short.join(room)
        await cut_short.chat(TEXT)
    async with Client(strict.url, token=token_of("Ada")) as ada:
        await ada.join(room)
        await ada.chat("mine")
        # It may be that of another probe.
        assert (await probe_of(strict.url, room, signed()).once()).succeeded
        await within_deadline(ada, lambda: [one.content for one in ada.messages] == [TEXT, "mine"])
        assert (await probe_of(strict.url, room, signed(), left_over_seconds=-60).once()).succeeded
        await within_deadline(ada, lambda: [one.content for one in ada.messages] == ["mine"])


async def test_where_members_cannot_delete_a_pass_succeeds_without_that_step(
    stack: EmbeddedStack, room: str, tmp_path: Path
):
    with running(service("gateway", tmp_path, stack.nats_url, STUDYROOM_GATEWAY_LIVING_CHAT="false")) as gateway:
        done = await probe_of(gateway.url, room).once()
    assert done.succeeded, done.reason
    assert list(done.seconds) == [step for step in Step if step is not Step.DELETE]


async def test_a_pass_that_is_late_names_its_step_and_leaves_nobody(small: EmbeddedStack, room: str):
    (gateway,) = small.gateways
    (replica,) = small.of("presence")
    os.kill(replica["pid"], signal.SIGSTOP)
    try:
        async with asyncio.timeout(15):
            done = await probe_of(gateway, room, deadline_seconds=1).once()
    finally:
        os.kill(replica["pid"], signal.SIGCONT)
    assert (done.failed, list(done.seconds)) == (Step.JOIN, [Step.CONNECT])
    assert done.reason.startswith("not within 1 s")
    async with Client(gateway, username="Ada") as ada:
        await ada.join(room)
        await within_deadline(ada, lambda: not ada.members)


async def test_a_pass_that_is_cancelled_leaves_nobody(stack: EmbeddedStack, room: str):
    async with Client(stack.gateways[0], username="Ada") as ada:
        await ada.join(room)
        passing = asyncio.create_task(probe_of(stack.gateways[1], room).once())
        await within_deadline(ada, lambda: ada.members)
        passing.cancel()
        await asyncio.wait({passing})
        await within_deadline(ada, lambda: not ada.members)


# --- who it is ---------------------------------------------------------------------------------------------


async def test_where_guests_may_not_connect_it_needs_the_secret_of_tokens(strict: ServiceProcess, room: str):
    refused = await probe_of(strict.url, room).once()
    assert (refused.failed, refused.reason.partition(":")[0]) == (Step.CONNECT, "unauthorized")
    assert (await probe_of(strict.url, room, signed()).once()).succeeded


async def test_a_token_from_a_file_is_read_for_each_pass_and_may_be_of_one_user(
    strict: ServiceProcess, room: str, tmp_path: Path
):
    file = tmp_path / "token"
    file.write_text(token_of("probe", rooms=[room]) + "\n")
    source = token_source(ProbeSettings(token_file=file), GatewayTokens())
    probe = probe_of(strict.url, room, source)
    assert (await probe.once()).succeeded
    file.write_text("expired")
    assert (await probe.once()).reason.startswith("unauthorized")
    file.unlink()
    missing = await probe.once()
    assert (missing.failed, missing.reason.startswith("no token")) == (Step.CONNECT, True)


# --- the command -------------------------------------------------------------------------------------------


def test_a_single_pass_prints_its_steps_and_succeeds(stack: EmbeddedStack, tmp_path: Path):
    status, report, errors = studyroom("probe", stack.gateways[0], cwd=tmp_path)
    assert (status, errors) == (0, "")
    assert [line.split()[0] for line in report.splitlines()] == STEPS


def test_a_single_pass_that_fails_ends_with_status_1_and_gives_the_reason(tmp_path: Path):
    settings = {"STUDYROOM_PROBE_URL": NOBODY, "STUDYROOM_PROBE_DEADLINE_SECONDS": "1"}
    status, output, _ = studyroom("probe", "--json", cwd=tmp_path, **settings)
    report = json.loads(output)
    assert report["room"] in ROOMS
    assert (status, report["succeeded"], report["failed"], report["seconds"]) == (1, False, "connect", {})
    assert "connection_lost" in report["reason"]


def test_bad_settings_end_the_command_with_status_2_and_are_named_at_once(tmp_path: Path):
    (tmp_path / "ca.crt").write_text("no certificate")
    bad = {
        "STUDYROOM_PROBE_URL": "https://rooms.example.com",
        "STUDYROOM_PROBE_DEADLINE_SECONDS": "0",
        "STUDYROOM_PROBE_TOKEN_FILE": str(tmp_path / "missing"),
        "STUDYROOM_PROBE_TLS_CA_FILE": str(tmp_path / "ca.crt"),
    }
    status, _, errors = studyroom("probe", cwd=tmp_path, **bad)
    assert status == 2
    assert re.findall(r"^  (STUDYROOM_\w+): ", errors, re.MULTILINE) == sorted(bad)


# --- the exporter ------------------------------------------------------------------------------------------


@pytest.mark.prometheus
def test_the_exporter_counts_passes_and_stops_when_it_is_asked_to(stack: EmbeddedStack, tmp_path: Path):
    needs("promtool")
    with running(exporter(tmp_path, stack.gateways[0], every="0.2s")) as probe:
        wait_until(lambda: probe.metric('studyroom_probe_passes_total{result="success"}') >= 3, "it has made passes")
        text = probe.metrics()
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")
        assert probe.metric("studyroom_probe_success") == 1
        assert probe.metric("studyroom_probe_last_success_timestamp_seconds") > 1.7e9
        assert probe.metric('studyroom_probe_passes_total{result="failure"}') == 0
        for step in STEPS:
            assert probe.metric(f'studyroom_probe_failures_total{{step="{step}"}}') == 0
            assert probe.metric(f'studyroom_probe_step_duration_seconds_count{{step="{step}"}}') >= 3
        assert set(re.findall(r'[{,](\w+)="', text)) <= LABELS
        # Only processes of an installation have this, and a probe may run anywhere.
        assert "studyroom_event_loop_tasks" not in text
        probe.signal(signal.SIGTERM)
        assert probe.wait() == 0
    assert '"event": "stopped"' in probe.output()


def test_a_failed_pass_is_counted_by_its_step_and_logged_with_its_reason(tmp_path: Path):
    with running(exporter(tmp_path, NOBODY, every="0.1s", STUDYROOM_PROBE_DEADLINE_SECONDS="0.5")) as probe:
        wait_until(lambda: probe.metric('studyroom_probe_failures_total{step="connect"}') >= 2, "passes have failed")
        assert probe.metric("studyroom_probe_success") == 0
        assert probe.metric("studyroom_probe_last_success_timestamp_seconds") == 0
    logged = [json.loads(line) for line in probe.output().splitlines()]
    failed = next(line for line in logged if line["event"] == "a pass failed")
    assert (failed["step"], "connection_lost" in failed["reason"]) == ("connect", True)


async def test_a_probe_that_is_killed_leaves_no_ghosts(stack: EmbeddedStack, tmp_path: Path):
    async with Client(stack.gateways[1], username="Ada") as ada:
        await ada.join(ROOMS[0])
        with running(exporter(tmp_path, stack.gateways[0], every="0.05s")) as probe:
            await within_deadline(ada, lambda: ada.members)
            probe.signal(signal.SIGKILL)
            await within_deadline(ada, lambda: not ada.members)


# --- TLS ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def encrypted(url: str, certificate: trustme.LeafCert) -> AsyncIterator[str]:
    """The address of a load balancer that ends TLS."""

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        except OSError:
            pass  # the client or the gateway has gone
        finally:
            sink.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_gateway, to_gateway = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        await asyncio.gather(pump(reader, to_gateway), pump(from_gateway, writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    async with await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context) as server:
        yield f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"


async def test_over_tls_it_verifies_the_certificate_and_knows_when_it_expires(stack: EmbeddedStack, room: str):
    authority = trustme.CA()
    expires = dt.datetime.now(dt.UTC) + dt.timedelta(days=3)
    issued = authority.issue_cert("127.0.0.1", not_after=expires)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with encrypted(stack.gateways[0], issued) as address:
        good = Probe(address, token_of=no_token, deadline_seconds=20, tls=trusting, rooms=[room])
        assert (await good.once()).succeeded
        assert await good.certificate_expires() == pytest.approx(expires.timestamp(), abs=2)
        wary = Probe(address, token_of=no_token, deadline_seconds=1, rooms=[room])
        refused = await wary.once()
        assert (refused.failed, "certificate verify failed" in refused.reason) == (Step.CONNECT, True)
        assert await wary.certificate_expires() is None
    assert await probe_of(stack.gateways[0], room).certificate_expires() is None
