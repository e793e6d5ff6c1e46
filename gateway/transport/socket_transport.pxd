# The types of `transport.py` for the compiled data path.

from studyroom.gateway.transport.native cimport receive, send
from studyroom.gateway.transport.poller cimport Poller

cdef class SocketTransport:
    cdef object _backlog, _loop, _reader, _socket
    cdef Poller _poller
    cdef Py_ssize_t _backlog_bytes, _taken_bytes
    cdef int _events, _fd
    cdef bint _closing, _ended, _paused, _reading

    cpdef pause_reading(self)
    cpdef resume_reading(self)
    cdef _watch(self)
    cpdef ready(self, int events)
    cdef _readable(self)
    cpdef write(self, bytes data)
    cdef _writable(self)
    cpdef close(self)
    cdef _end(self, error)
