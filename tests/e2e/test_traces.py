"""Traces reach a collector whole, from the author's gateway to the others and to presence, and cost nothing if off."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import TRACEPARENT
from studyroom.shared.contract.ids import RoomId
from tests.support.client import Client, clients
from tests.support.collector import Collector, Received, collector
from tests.support.editor import editors
from tests.support.presence import connected
from tests.support.processes import EmbeddedStack, NatsServer, embedded_stack, running, service
from tests.support.waiting import eventually

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5
"""The kinds of spans in OTLP."""
SECRET = "Bearer the secret of the collector"
NAMES = {
    "ask presence: join", "ask presence: leave", "ask the documents service", "deliver chat", "documents sync", "join",
    "presence join", "presence leave", "read chat", "send chat", "store", "sync a document", "wait for the change",
}  # fmt: skip


@pytest.fixture(scope="module")
def traced() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture(scope="module")
def traced_stack(traced: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """Two gateways, one presence and one documents service, of which all is traced and exported at once."""
    settings: dict[str, Any] = {
        "STUDYROOM_TRACES_ENDPOINT": traced.url,
        "STUDYROOM_TRACES_SAMPLE_RATIO": "1",
        "STUDYROOM_TRACES_AUTHORIZATION": SECRET,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
    }
    with running(embedded_stack(tmp_path_factory.mktemp("traced"), presence=1, documents=1, **settings)) as ready:
        yield ready


async def the_span(traced: Collector, name: str, **attributes: object) -> Received:
    """The first one of this name with these attributes, once it has come."""
    found = await eventually(lambda: traced.named(name, **attributes), f"the collector has a span {name!r}")
    return first_of(found)


def first_of(spans: list[Received]) -> Received:
    return min(spans, key=lambda span: span.start)


async def test_a_chat_message_is_one_trace_across_two_gateways(
    traced_stack: EmbeddedStack, traced: Collector, room: str
):
    message = str(uuid4())
    async with clients(*traced_stack.gateways) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        await ann.chat("hello", id=message)
        chat = await bob.expect("Chat", id=message)
        sent = await the_span(traced, "send chat", messaging_message_id=message)
        delivered = await eventually(
            lambda: two if len(two := traced.below(sent)) == 2 else None, "both gateways have delivered it"
        )
    assert sent.parent == ""
    assert (sent.kind, {span.kind for span in delivered}) == (PRODUCER, {CONSUMER})
    assert {span.name for span in delivered} == {"deliver chat"}
    assert sent.attributes["studyroom.chat.sequence"] == chat["seq"]
    instances = {span.process["service.instance.id"] for span in delivered}
    assert len(instances) == 2
    assert sent.process["service.instance.id"] in instances
    for span in delivered:
        assert sent.start <= span.start <= span.end
        assert (span.attributes["studyroom.chat.verdict"], span.attributes["studyroom.members"]) == ("next", 1)


async def test_a_join_is_one_trace_from_the_gateway_to_presence_and_its_store(
    traced_stack: EmbeddedStack, traced: Collector, room: str
):
    async with clients(traced_stack.gateways[0]) as (ann,):
        await ann.join(room)
        join = await the_span(traced, "join", studyroom_connection=ann.welcome["connection_id"])
        asked = await the_child(traced, join, "ask presence: join")
        served = await the_child(traced, asked, "presence join")
        stored = await the_child(traced, served, "store")
        parts = {span.name for span in traced.below(join)}
    assert (join.parent, join.kind, join.attributes["studyroom.result"]) == ("", SERVER, "joined")
    assert (asked.kind, served.kind, stored.kind) == (CLIENT, SERVER, CLIENT)
    assert served.attributes["studyroom.outcome"] == "ok"
    assert [span.process["service.name"] for span in (join, served)] == ["studyroom-gateway", "studyroom-presence"]
    assert parts == {"ask presence: join", "wait for the change", "read chat"}
    assert join.start <= asked.start <= served.start <= stored.start
    assert stored.end <= served.end <= join.end


async def the_child(traced: Collector, parent: Received, name: str) -> Received:
    def found() -> list[Received]:
        return [span for span in traced.below(parent) if span.name == name]

    return first_of(await eventually(found, f"{name!r} is below {parent.name!r}"))


async def test_the_opening_of_a_document_is_one_trace_to_the_documents_service(
    traced_stack: EmbeddedStack, traced: Collector, room: str
):
    async with editors(room, traced_stack.gateways[0]):
        root = await the_span(traced, "sync a document", studyroom_room=room)
        asked = await the_child(traced, root, "ask the documents service")
        served = await the_child(traced, asked, "documents sync")
    assert served.process["service.name"] == "studyroom-documents"


async def test_cursors_and_typing_have_no_spans(traced_stack: EmbeddedStack, traced: Collector, room: str):
    async with clients(*traced_stack.gateways) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        for step in range(20):
            await ann.send("CursorMove", {"x": step, "y": step})
        await ann.send("Typing", {"is_typing": True})
        await eventually(lambda: {"CursorUpdate", "TypingStatus"} <= set(bob.types()), "Bob sees both")
        await ann.chat("after all that")
        await bob.expect("Chat")
        await the_span(traced, "send chat", studyroom_room=room)
    assert {span.name for span in traced.spans} <= NAMES


async def test_no_span_names_a_user_or_has_contents(traced_stack: EmbeddedStack, traced: Collector, room: str):
    async with clients(traced_stack.gateways[0], username="Lovelace") as (ann,):
        await ann.join(room)
        await ann.chat("the analytical engine")
        await ann.expect("Chat")
        await the_span(traced, "send chat", studyroom_room=room)
        shown = repr(traced.spans)
        assert [text for text in (ann.user, "Lovelace", "analytical") if text in shown] == []


async def test_the_collector_gets_its_secret_and_the_attributes_of_the_environment(
    traced_stack: EmbeddedStack, traced: Collector, room: str
):
    async with clients(traced_stack.gateways[0]) as (ann,):
        await ann.join(room)
        join = await the_span(traced, "join", studyroom_room=room)
    assert {(one["path"], one["authorization"]) for one in traced.requests} == {("/v1/traces", SECRET)}
    assert join.process["deployment.environment.name"] == "tests"


# --- other settings -----------------------------------------------------------------------------------------


def started(opened: ExitStack, name: str, tmp_path: Path, nats: NatsServer, **environment: str):
    return opened.enter_context(running(service(name, tmp_path, nats.url, **environment)))


async def stored_headers(nats_url: str, room: str, client: Client) -> dict[str, str]:
    """The headers of a chat message as all gateways get it."""
    async with connected(nats_url) as connection:
        events = await connection.subscribe(f"{subjects.room_events(RoomId(room))[:-1]}chat")
        await connection.flush()
        await client.chat("with which headers?")
        headers = (await events.next_msg(timeout=5)).headers
    assert headers is not None
    return headers


@pytest.mark.parametrize("ratio", [None, "0"])
async def test_messages_have_no_header_more_unless_they_are_sampled(
    own_nats: NatsServer, tmp_path: Path, room: str, ratio: str | None
):
    given = {"STUDYROOM_TRACES_ENDPOINT": "http://127.0.0.1:1", "STUDYROOM_TRACES_SAMPLE_RATIO": ratio} if ratio else {}
    with ExitStack() as opened:
        for name in ("provisioner", "presence"):
            started(opened, name, tmp_path, own_nats)
        gateway = started(opened, "gateway", tmp_path, own_nats, **given)
        async with clients(gateway.url) as (ann,):
            await ann.join(room)
            assert TRACEPARENT not in await stored_headers(own_nats.url, room, ann)


async def test_without_its_collector_and_without_presence_a_gateway_works_logs_the_trace_and_stops_in_time(
    own_nats: NatsServer, tmp_path: Path, room: str
):
    with ExitStack() as opened:
        for name in ("provisioner", "presence"):
            process = started(opened, name, tmp_path, own_nats)
        gateway = started(
            opened, "gateway", tmp_path, own_nats,
            STUDYROOM_TRACES_ENDPOINT="http://127.0.0.1:1",
            STUDYROOM_TRACES_SAMPLE_RATIO="1",
            STUDYROOM_GATEWAY_JOIN_DEADLINE_SECONDS="0.5",
        )  # fmt: skip
        async with clients(gateway.url) as (ann,):
            await ann.join(room)
            assert TRACEPARENT in await stored_headers(own_nats.url, room, ann)
            process.stop()
            await ann.send("JoinRoom", {"room_id": str(uuid4())})
            assert await ann.error() == "presence_unavailable"
        lines = [json.loads(line) for line in gateway.output().splitlines() if line.startswith("{")]
        (failed,) = [line for line in lines if line["event"] == "join failed"]
        assert (len(failed["trace_id"]), len(failed["span_id"])) == (32, 16)
        assert all("trace_id" not in line for line in lines if line["event"] in {"connected", "disconnected"})
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        assert await asyncio.to_thread(gateway.wait) == 0
        assert time.monotonic() - began < 20
