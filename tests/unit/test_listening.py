"""Sockets that a listening port accepts."""

import asyncio
import socket

from studyroom.gateway.transport.socket_transport import use_fast_transports
from studyroom.shared.chassis.listening import listen


async def test_data_sent_on_an_accepted_socket_waits_for_no_acknowledgement():
    use_fast_transports()
    loop = asyncio.get_running_loop()
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = await loop.sock_accept(listener)
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, accepted)
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        transport.close()


async def test_neither_does_data_sent_without_an_event_loop():
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        accepted.close()
