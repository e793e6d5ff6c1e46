"""Sockets that are accepted at a port of ours."""

import asyncio
import socket

from studyroom.gateway.wire.transport import use_fast_transports
from studyroom.shared.chassis.listening import listen


async def test_what_is_sent_on_an_accepted_socket_waits_for_no_acknowledgement():
    use_fast_transports()
    loop = asyncio.get_running_loop()
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = await loop.sock_accept(listener)
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, accepted)
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        transport.close()
