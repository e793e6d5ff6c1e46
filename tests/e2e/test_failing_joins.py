"""A client gets an answer for every end of a join on the gateway's side."""

import sys
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.client import clients
from tests.support.processes import nats_server, running, service

FAILING_GATEWAY = Path(__file__).parent / "failing_joins.py"
INTERNAL_ERROR = 1011
UNEXPECTED = ["an exception", "a cancelled task", "a membership that has ended"]


@pytest.mark.faulty
async def test_a_join_that_ends_unexpectedly_is_answered_and_messages_waiting_after_it_are_carried_out(
    tmp_path: Path, room: str
):
    nats = nats_server(tmp_path)
    others = [service(name, tmp_path, nats.url) for name in ("provisioner", "presence")]
    gateway = service("gateway", tmp_path, nats.url)
    gateway.command = [sys.executable, str(FAILING_GATEWAY), "gateway"]
    with ExitStack() as processes:
        processes.enter_context(running(nats))
        for process in (*others, gateway):
            processes.enter_context(running(process))
        async with clients(gateway.url) as (client,):
            for end in UNEXPECTED:
                message = str(uuid4())
                await client.send("JoinRoom", {"room_id": room})
                await client.chat("hello", id=message)
                assert await client.error() == "internal", end
                assert await client.error() == "not_in_room", end
                assert client.log[-1]["payload"]["id"] == message, end
            assert gateway.metric('studyroom_gateway_join_duration_seconds_count{result="failed"}') == len(UNEXPECTED)
            await client.send("JoinRoom", {"room_id": room})
            await client.chat("a message whose handling fails")
            await client.expect("JoinedRoom")
            assert await client.ended() == INTERNAL_ERROR
        assert "a join ended without an outcome" in gateway.output()
        assert "a fault in the code of joins" in gateway.output()
