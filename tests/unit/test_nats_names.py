"""Names of NATS servers that do not resolve yet."""

import asyncio
import socket
from typing import Any

import pytest

from studyroom.shared.chassis.nats.names import Names, NameUnknown
from studyroom.shared.chassis.sharing import result_of


class Answers:
    """A name server that answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def __call__(self, host: str) -> Any:
        self.asked.append(host)
        return await result_of(self.answer)


async def test_a_name_without_an_address_is_named_with_the_reason():
    server = Answers()
    server.answer.set_exception(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    with pytest.raises(NameUnknown, match=r"nats-0\.nats has no address: name or service not known"):
        await Names(server).check("nats-0.nats", 5)


async def test_a_lookup_that_fails_after_its_attempt_is_over_is_reported_by_the_next_one_only():
    unhandled: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    server = Answers()
    names = Names(server)
    for _ in range(3):
        with pytest.raises(NameUnknown, match=r"nats-0\.nats has no address: the name server does not answer"):
            await names.check("nats-0.nats", 0)
    assert server.asked == ["nats-0.nats"]  # The later attempts wait for the same lookup.
    waiting = asyncio.ensure_future(names.check("nats-0.nats", 5))
    await asyncio.sleep(0)
    server.answer.set_exception(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"))
    with pytest.raises(NameUnknown, match="temporary failure"):
        await waiting
    assert unhandled == []


async def test_a_name_with_an_address_and_an_address_are_accepted_and_addresses_are_not_looked_up():
    server = Answers()
    server.answer.set_result([])
    names = Names(server)
    for host in ("nats-0.nats", "10.0.0.7", "fd00::7"):
        await names.check(host, 5)
    assert server.asked == ["nats-0.nats"]


async def test_a_closed_client_leaves_no_lookup_behind():
    server = Answers()
    names = Names(server)
    with pytest.raises(NameUnknown):
        await names.check("nats-0.nats", 0)
    names.close()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1
