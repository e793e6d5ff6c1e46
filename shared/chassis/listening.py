"""Listening on a port of this machine."""

import socket

BACKLOG = 4096


class AddressUnavailable(Exception):
    """The port is in use, or this machine does not have the address."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening, non-blocking socket. Raises AddressUnavailable."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Accepted sockets inherit it. Without it a small message may wait for the acknowledgement of the one before it, for
    # 40 ms. Event loops set it themselves, but the gateway accepts most sockets without them.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise AddressUnavailable(f"cannot listen on {host}:{port}: {error.strerror}") from error
    listener.setblocking(False)
    return listener
