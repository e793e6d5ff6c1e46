# The types of `websocket.py` for the compiled data path.

cimport cython

from studyroom.gateway.transport.socket_transport cimport SocketTransport as _Transport
from studyroom.gateway.wire.protocol cimport WebSocketProtocol as _Protocol

cdef class ClientSocket:
    cdef object _client, _connections
    cdef _Transport open_transport
    cdef _Protocol _protocol
    cdef object _transport
    cdef public object close_reason, closing_since, write
    cdef public bint paused

    cpdef data_received(self, bytes data)
    cdef _carry_out(self, event)
    cdef _notify(self, call)
    cdef _begin_closing(self)
    cdef _end_soon(self)

@cython.locals(client=ClientSocket, transport=_Transport)
cpdef write_frames(socket, bytes frames)
