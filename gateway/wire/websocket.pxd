# The types of `websocket.py` for the compiled data path.

from studyroom.gateway.wire.protocol cimport WebSocketProtocol as _Protocol

cdef class ClientSocket:
    cdef object _client, _connections
    cdef _Protocol _protocol
    cdef object _transport
    cdef public object closing_since, write
    cdef public bint paused

    cpdef data_received(self, bytes data)
    cdef _carry_out(self, event)
    cdef _notify(self, call)
    cdef _begin_closing(self)
    cdef _end_soon(self)
